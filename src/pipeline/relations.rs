//! The tables of the stream by the decoder's index: enriched from the catalog, their programs compiled anew with each
//! version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::metrics::ConnectorMetrics;
use super::programs::{ContractIds, TablePrograms};
use crate::connector::{NewColumns, Plan};
use crate::decode::Decoder;
use crate::error::{At, Error, Kind, Result};
use crate::model::{Relation, TableName};

/// Fills in what a Relation message does not say: types that are not built in, the primary key under FULL.
pub(super) type Enrich = Box<dyn FnMut(&mut Relation) -> Result<()> + Send>;

/// The compiled tables of one session.
pub(super) struct Relations {
    plan: Arc<Plan>,
    ids: ContractIds,
    epoch: u32,
    enrich: Enrich,
    metrics: Arc<ConnectorMetrics>,
    tables: Vec<Option<TablePrograms>>,
    /// By the decoder's index: the number of the table's name in `names`. Two OIDs can bear one name in a transaction (a
    /// table that is dropped and created again), and ids count changes by name.
    numbers: Vec<usize>,
    names: HashMap<TableName, usize>,
    reported: HashSet<(TableName, String)>,
}

impl Relations {
    pub(super) fn new(
        plan: Arc<Plan>,
        ids: ContractIds,
        epoch: u32,
        enrich: Enrich,
        metrics: Arc<ConnectorMetrics>,
    ) -> Relations {
        Relations {
            plan,
            ids,
            epoch,
            enrich,
            metrics,
            tables: Vec::new(),
            numbers: Vec::new(),
            names: HashMap::new(),
            reported: HashSet::new(),
        }
    }

    /// The programs of a table as the catalog describes it.
    pub(super) fn compile(&self, relation: &Arc<Relation>) -> Result<TablePrograms> {
        TablePrograms::compile(&self.plan, relation, &self.ids, self.epoch)
    }

    /// The programs of the table with this index.
    pub(super) fn table(&self, index: usize) -> Result<&TablePrograms> {
        let table = self.tables.get(index).and_then(Option::as_ref);
        table.ok_or_else(|| Error::new(Kind::Bug, "a row came before its table was compiled"))
    }

    /// A number that all tables of one name share.
    pub(super) fn number(&self, index: usize) -> usize {
        self.numbers.get(index).copied().unwrap_or_default()
    }

    fn number_of(&mut self, name: &TableName) -> usize {
        let next = self.names.len();
        *self.names.entry(name.clone()).or_insert(next)
    }

    /// A Relation message arrived: this version of the table is valid from here on.
    pub(super) fn define(&mut self, index: usize, decoder: &mut Decoder) -> Result<()> {
        let received =
            decoder.relation(index).ok_or_else(|| Error::new(Kind::Bug, "an unknown relation was defined"))?;
        let mut relation = Relation::clone(received);
        let at = At::table(relation.name.clone());
        (self.enrich)(&mut relation).map_err(|error| error.at(at.clone()))?;
        decoder.set_relation(index, relation.clone());
        let programs = TablePrograms::compile(&self.plan, &Arc::new(relation), &self.ids, self.epoch)?;
        self.report_unknown(&programs).map_err(|error| error.at(at))?;
        if self.tables.len() <= index {
            self.tables.resize_with(index + 1, || None);
            self.numbers.resize(index + 1, 0);
        }
        self.numbers[index] = self.number_of(&programs.relation.name);
        self.tables[index] = Some(programs);
        Ok(())
    }

    /// A column that no rule names is never published by itself: it is counted and said once, or halts.
    fn report_unknown(&mut self, programs: &TablePrograms) -> Result<()> {
        let name = &programs.relation.name;
        let Some(table) = self.plan.table(name) else { return Ok(()) };
        self.metrics.unnamed_columns(&name.to_string(), programs.unknown_columns.len());
        for column in &programs.unknown_columns {
            if table.new_columns == NewColumns::Halt {
                let detail = format!("column {column} is neither used nor in unpublished, and new_columns = \"halt\"");
                return Err(Error::new(Kind::Unmapped, detail).at(At::column(column)));
            }
            if self.reported.insert((name.clone(), column.clone())) {
                tracing::warn!(table = %name, column, "column is neither used by a rule nor named in unpublished: it is not published");
            }
        }
        Ok(())
    }
}
