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

/// The least `max.message.bytes` of the connector's topics. Brokers hold it against a whole batch, so that a batch may
/// not be larger; a topic that is yet to be created counts with what the file gives it.
pub(super) fn batch_bytes_max(plan: &Plan, admin: &Admin) -> Result<Option<u64>> {
    let mut least = None;
    for topic in &plan.topics {
        let found = admin.topic(&topic.name)?.map(|found| found.settings);
        let limit = found.as_ref().unwrap_or(&topic.config).get("max.message.bytes");
        let limit = limit.and_then(|bytes| bytes.parse::<u64>().ok());
        least = [least, limit].into_iter().flatten().min();
    }
    Ok(least)
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
