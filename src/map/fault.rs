//! Objections to rules as faults with their place in the connector file, and all of a table's as one error.

use super::supply::Objection;
use crate::connector::{Expression, Place};
use crate::error::{At, Error, Fault, Faults, Kind, Result};
use crate::model::TableName;

/// The faults found in one table's rules.
#[derive(Default)]
pub(super) struct Findings {
    faults: Faults,
    kinds: Vec<Kind>,
}

impl Findings {
    /// An objection to the rule that stands at `place`; `rule` names it.
    pub(super) fn at_place(&mut self, place: &Place, rule: &str, objection: Objection) {
        let Place { file, line, column } = place.clone();
        let message = objection.message;
        self.faults.push(Fault { file, line, column, path: rule.to_owned(), message, excerpt: None });
        self.kinds.push(objection.kind);
    }

    /// An objection to the node at this offset of an expression.
    pub(super) fn at_node(&mut self, expression: &Expression, at: usize, rule: &str, objection: Objection) {
        let fault = expression.fault(at, objection.message);
        self.faults.push(Fault { path: rule.to_owned(), ..fault });
        self.kinds.push(objection.kind);
    }

    /// All of them as one error: of kind `ReplicaIdentity` if that is what all are about, else `SchemaMismatch`.
    pub(super) fn into_result(self, table: &TableName) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let only_identity = self.kinds.iter().all(|kind| *kind == Kind::ReplicaIdentity);
        let kind = if only_identity { Kind::ReplicaIdentity } else { Kind::SchemaMismatch };
        let count = match self.kinds.len() {
            1 => "1 fault".to_owned(),
            n => format!("{n} faults"),
        };
        Err(Error::new(kind, format!("{count}\n{}", self.faults)).at(At::table(table.clone())))
    }
}
