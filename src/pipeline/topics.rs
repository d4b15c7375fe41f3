//! The topics of a connector before its first record.

use std::collections::{BTreeMap, BTreeSet};

use super::connector::Connector;
use crate::checkpoint::record::Checkpoint;
use crate::connector::Plan;
use crate::error::Result;
use crate::kafka::Admin;
use crate::publish::topics::{Wanted, ensure, partitions_to_use};

/// What the plan needs of each topic; a topic that no event feeds carries state alone and may be compacted.
pub(crate) fn wanted(plan: &Plan, recorded: Option<&Checkpoint>) -> Vec<Wanted> {
    let state: BTreeSet<usize> = plan.tombstones.iter().map(|tombstone| tombstone.topic).collect();
    let of = |(index, topic): (usize, &crate::connector::TopicPlan)| Wanted {
        name: topic.name.clone(),
        create: topic.create.map(|create| (create.partitions, create.replication)),
        config: topic.config.clone(),
        facts: !state.contains(&index),
        recorded: recorded.and_then(|checkpoint| checkpoint.partitions.get(&topic.name).copied()),
    };
    plan.topics.iter().enumerate().map(of).collect()
}

/// Creates and checks the topics; the partition count to use by topic name.
pub(super) fn prepare(
    connector: &Connector,
    admin: &Admin,
    recorded: Option<&Checkpoint>,
) -> Result<BTreeMap<String, i32>> {
    let mut partitions = BTreeMap::new();
    for wanted in wanted(&connector.plan, recorded) {
        let topic = ensure(admin, &wanted)?;
        partitions.insert(wanted.name.clone(), partitions_to_use(&topic, &wanted));
    }
    Ok(partitions)
}
