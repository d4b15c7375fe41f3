//! Whether the stream can supply the column that a rule names, on every operation that the rule fires on.

use crate::connector::{ColumnRef, Side};
use crate::error::Kind;
use crate::model::{Column, Operation, OperationSet, Relation, ReplicaIdentity};

/// What is wrong with a rule: the error's kind and the words for it.
#[derive(Debug)]
pub(super) struct Objection {
    pub(super) kind: Kind,
    pub(super) message: String,
}

impl Objection {
    pub(super) fn mismatch(message: impl Into<String>) -> Objection {
        Objection { kind: Kind::SchemaMismatch, message: message.into() }
    }

    fn identity(message: String) -> Objection {
        Objection { kind: Kind::ReplicaIdentity, message }
    }
}

/// The column as expressions spell it.
pub(super) fn spelled(column: &ColumnRef) -> String {
    let name = &column.name;
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let plain = is_name(name) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty();
    match (column.side, plain) {
        (Side::Row, true) => name.clone(),
        (Side::Old, true) => format!("old.{name}"),
        (Side::New, true) => format!("new.{name}"),
        (Side::Old, false) => format!("old['{name}']"),
        (Side::Row | Side::New, false) => format!("new['{name}']"),
    }
}

/// Why a rule that fires on these operations cannot use `wanted`, which is the relation's `column`.
pub(super) fn object(wanted: &ColumnRef, column: &Column, on: OperationSet, relation: &Relation) -> Option<Objection> {
    let (lacking, row): (&[Operation], _) = match wanted.side {
        Side::Old => (&[Operation::Insert, Operation::Read, Operation::Truncate], "no old row"),
        Side::New => (&[Operation::Delete, Operation::Truncate], "no new row"),
        Side::Row => (&[Operation::Truncate], "no row"),
    };
    if let Some(operation) = on.iter().find(|operation| lacking.contains(operation)) {
        let message = format!("{}: {} has {row}; give it a rule of its own", spelled(wanted), a(operation));
        return Some(Objection::mismatch(message));
    }
    let of_old_row = match wanted.side {
        Side::Old => true,
        Side::New => false,
        Side::Row => on.contains(Operation::Delete),
    };
    (of_old_row && !column.in_identity).then(|| {
        let (spelled, sql) = (spelled(wanted), full(relation));
        let why = match wanted.side {
            Side::Old => "the old row is sent with",
            Side::Row | Side::New => "on delete the row is sent with",
        };
        Objection::identity(format!("{spelled}: {why} the replica identity's columns only ({}); {sql}", keys(relation)))
    })
}

/// Why `changed(column)` cannot be asked by a rule that fires on these operations.
pub(super) fn object_changed(column: &Column, on: OperationSet, relation: &Relation) -> Option<Objection> {
    let name = &column.name;
    let one_row = on.iter().find(|operation| !matches!(operation, Operation::Update | Operation::Rekey));
    if let Some(operation) = one_row {
        let message = format!("changed({name}): {} has no old row and new row to compare", a(operation));
        return Some(Objection::mismatch(format!("{message}; give it a rule of its own")));
    }
    (!column.in_identity).then(|| {
        let keys = keys(relation);
        Objection::identity(format!(
            "changed({name}): the old row is sent with the replica identity's columns only ({keys}); {}",
            full(relation)
        ))
    })
}

/// Why a key change of this table's rows cannot be seen.
pub(super) fn object_rekey(relation: &Relation) -> Option<Objection> {
    if relation.columns.iter().any(|column| column.in_key) {
        return None;
    }
    let name = &relation.name;
    Some(Objection::identity(match relation.identity {
        ReplicaIdentity::Full => format!("a change of key cannot be seen: {name} has no primary key; add one"),
        _ => format!("a change of key cannot be seen: {name} has no replica identity; add a primary key"),
    }))
}

fn a(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "an insert",
        Operation::Update => "an update",
        Operation::Rekey => "a rekey",
        Operation::Delete => "a delete",
        Operation::Truncate => "a truncate",
        Operation::Read => "a read",
    }
}

fn keys(relation: &Relation) -> String {
    let keys: Vec<_> = relation.columns.iter().filter(|column| column.in_identity).map(|c| c.name.as_str()).collect();
    if keys.is_empty() { "there are none".to_owned() } else { keys.join(", ") }
}

fn full(relation: &Relation) -> String {
    let quoted = |name: &str| {
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
    };
    let (schema, table) = (quoted(&relation.name.schema), quoted(&relation.name.table));
    match relation.identity {
        ReplicaIdentity::Partial => format!(
            "not all partitions of {schema}.{table} have its identity: ALTER TABLE <partition> REPLICA IDENTITY FULL sends all \
             of them"
        ),
        _ => format!("ALTER TABLE {schema}.{table} REPLICA IDENTITY FULL sends all of them"),
    }
}
