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
    /// By index of `Plan::events`; None for other tables' events.
    pub(super) events: Vec<Option<(EventProgram, Identity)>>,
    /// By index of `Plan::tombstones`.
    pub(super) tombstones: Vec<Option<(TombstoneProgram, Identity)>>,
    /// Columns that neither a rule nor `unpublished` names.
    pub(super) unknown_columns: Vec<String>,
}

impl TablePrograms {
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
        let events = plan.events.iter().enumerate().map(|(index, event)| {
            if event.table != relation.name {
                return Ok(None);
            }
            let ids = SchemaIds { value: ids.values[index], key: ids.keys[event.topic] };
            let program = EventProgram::compile(event, &plan.topics[event.topic], relation, ids)?;
            let by_order = mutated(Mutation::IdByRuleOrder).then(|| index.to_string());
            Ok(Some((program, identity(by_order.as_ref().unwrap_or(&event.contract.path)))))
        });
        let events = events.collect::<Result<_>>().map_err(at)?;
        let tombstones = plan.tombstones.iter().map(|tombstone| {
            if tombstone.table != relation.name {
                return Ok(None);
            }
            let topic = &plan.topics[tombstone.topic];
            let program = TombstoneProgram::compile(tombstone, topic, relation, ids.keys[tombstone.topic])?;
            Ok(Some((program, identity(&topic.name))))
        });
        let tombstones = tombstones.collect::<Result<_>>().map_err(at)?;
        let unknown_columns = unknown_columns(plan, relation);
        Ok(TablePrograms { relation: relation.clone(), rules, events, tombstones, unknown_columns })
    }
}
