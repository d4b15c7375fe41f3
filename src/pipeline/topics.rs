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
    let names: Vec<_> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    let found = admin.topics(&names)?;
    let limits = plan.topics.iter().zip(&found).filter_map(|(topic, found)| {
        let settings = found.as_ref().map_or(&topic.config, |found| &found.settings);
        settings.get("max.message.bytes")?.parse::<u64>().ok()
    });
    Ok(limits.min())
}

/// Creates and checks the topics; the partition count to use by topic name.
pub(super) fn prepare(
    connector: &Connector,
    admin: &Admin,
    recorded: Option<&Checkpoint>,
) -> Result<BTreeMap<String, i32>> {
    let wanted = wanted(&connector.plan, recorded);
    let topics = ensure(admin, &wanted)?;
    Ok(topics.iter().zip(&wanted).map(|(topic, of)| (of.name.clone(), partitions_to_use(topic, of))).collect())
}
