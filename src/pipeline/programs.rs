//! Everything compiled for one version of one table: its rules and, for each event that it feeds, the encoder program.

use std::sync::Arc;

use crate::connector::Plan;
use crate::encode::{EventProgram, SchemaIds, TombstoneProgram};
use crate::error::{At, Error, Result};
use crate::faults::{Mutation, mutated};
use crate::map::{Identity, TableRules, unknown_columns};
use crate::model::Relation;

/// The registry's ids for what a connector publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContractIds {
    /// By index of `Plan::events`.
    pub(super) values: Vec<u32>,
    /// By index of `Plan::topics`; None for string keys.
    pub(super) keys: Vec<Option<u32>>,
}

/// The programs of one relation version.
pub(super) struct TablePrograms {
    pub(super) relation: Arc<Relation>,
    pub(super) rules: TableRules,
    events: Own<EventProgram>,
    tombstones: Own<TombstoneProgram>,
    /// Columns that neither a rule nor `unpublished` names.
    pub(super) unknown_columns: Vec<String>,
}

/// What a table has of all that is in the plan, by the index there. Short, and as long as the table's part of the plan: each
/// of a thousand tables has its own.
type Own<Program> = Vec<(usize, Program, Identity)>;

fn own<Program>(all: &Own<Program>, index: usize) -> Option<(&Program, &Identity)> {
    all.iter().find(|(of, ..)| *of == index).map(|(_, program, identity)| (program, identity))
}

impl TablePrograms {
    /// The program of the plan's event with this index; None: it is another table's.
    pub(super) fn event(&self, index: usize) -> Option<(&EventProgram, &Identity)> {
        own(&self.events, index)
    }

    /// The same of the plan's tombstones.
    pub(super) fn tombstone(&self, index: usize) -> Option<(&TombstoneProgram, &Identity)> {
        own(&self.tombstones, index)
    }

    /// Compiles all that the plan does with this version of the table.
    pub(super) fn compile(
        plan: &Plan,
        relation: &Arc<Relation>,
        ids: &ContractIds,
        epoch: u32,
    ) -> Result<TablePrograms> {
        let at = |error: Error| error.at(At::table(relation.name.clone()));
        let rules = TableRules::compile(plan, relation).map_err(at)?;
        let identity = |rule: &str| Identity::new(&plan.source_id, epoch, &relation.name, rule);
        let events = plan.events_of(&relation.name).map(|(index, event)| {
            let ids = SchemaIds { value: ids.values[index], key: ids.keys[event.topic] };
            let program = EventProgram::compile(event, &plan.topics[event.topic], relation, ids)?;
            let by_order = mutated(Mutation::IdByRuleOrder).then(|| index.to_string());
            Ok((index, program, identity(by_order.as_ref().unwrap_or(&event.contract.path))))
        });
        let events = events.collect::<Result<_>>().map_err(at)?;
        let tombstones = plan.tombstones_of(&relation.name).map(|(index, tombstone)| {
            let topic = &plan.topics[tombstone.topic];
            let program = TombstoneProgram::compile(tombstone, topic, relation, ids.keys[tombstone.topic])?;
            Ok((index, program, identity(&topic.name)))
        });
        let tombstones = tombstones.collect::<Result<_>>().map_err(at)?;
        let unknown_columns = unknown_columns(plan, relation);
        Ok(TablePrograms { relation: relation.clone(), rules, events, tombstones, unknown_columns })
    }
}
