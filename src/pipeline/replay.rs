//! What a session without transactions has left on Kafka behind its checkpoint, before the stream brings it again.
//!
//! The checkpoint says how far each partition was acknowledged. From there to the end is read once the stream runs, and what
//! of the connector's events is found there is left out of the replay (`checkpoint::repeats`). Until the replay is past it
//! the offsets stay as they are, so that the next start finds it too. Where the offsets mean nothing (none are there, or the
//! replay may yield other events than the session before) nothing is left out, and all partitions count from their present
//! ends: written down before the first record, whatever lies before is never taken for a repeat.

use std::collections::BTreeMap;

use super::recovery::World;
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, Delivery, Offsets};
use crate::checkpoint::repeats::{Place, Repeats};
use crate::connector::{Plan, TopicPlan};
use crate::encode::headers::ID_HEADER;
use crate::error::Result;
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::kafka::{Bounds, Found, Tail};
use crate::map::Identity;
use crate::model::Lsn;

/// A checkpoint of this many partitions would grow too long.
const PARTITIONS_MAX: usize = 20_000;

/// What a session begins with.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) repeats: Repeats,
    /// Where each partition of the connector's topics ended; None: acknowledgements are not noted.
    pub(super) ends: Option<Offsets>,
}

impl Replay {
    /// The ends by the plan's topic indexes.
    pub(super) fn ends_by(&self, plan: &Plan) -> Option<Vec<(String, Vec<i64>)>> {
        let ends = self.ends.as_ref()?;
        let of = |topic: &TopicPlan| (topic.name.clone(), ends.get(&topic.name).cloned().unwrap_or_default());
        Some(plan.topics.iter().map(of).collect())
    }
}

/// The bounds of each partition.
pub(super) type AllBounds = BTreeMap<String, Vec<Bounds>>;

/// Finds out what the stream from this checkpoint on will repeat. `recorded` is what was found at the start, `checkpoint`
/// the one to go on with, of which the offsets are set here. None: the stop came first.
pub(super) fn prepare<W: World>(
    world: &mut W,
    fenced: &mut W::Fenced,
    recorded: Option<&Checkpoint>,
    checkpoint: &mut Checkpoint,
) -> Result<Option<Replay>> {
    let is_noted = checkpoint.delivery == Delivery::AtLeastOnce;
    if !is_noted && recorded.is_none_or(|recorded| recorded.acknowledged.is_none()) {
        return Ok(Some(Replay::default()));
    }
    let bounds = world.bounds(checkpoint)?;
    let ends = if is_noted { ends(&bounds, world.writes_ids()) } else { None };
    let from = recorded.and_then(|recorded| from(recorded, checkpoint, &bounds));
    let from = from.filter(|_| !mutated(Mutation::RepeatsSent));
    let mut repeats = Repeats::default();
    if let (Some(from), Some(recorded)) = (&from, recorded) {
        let forked = recorded.timeline != checkpoint.timeline;
        if !world.read_behind(&tails(from, &bounds), checkpoint, forked, &mut repeats)? {
            return Ok(None);
        }
        say(&repeats);
    }
    faults::pass(Failpoint::RepeatsRead);
    checkpoint.acknowledged = from.or_else(|| ends.clone());
    let says_as_much = |recorded: &Checkpoint| {
        let of = |checkpoint: &Checkpoint| (checkpoint.mapping.clone(), checkpoint.acknowledged.clone());
        of(recorded) == of(checkpoint) && recorded.partitions == checkpoint.partitions
    };
    if is_noted && !recorded.is_some_and(says_as_much) {
        world.write(fenced, &[(CHECKPOINT, Some(&checkpoint.to_json()?))])?;
    }
    Ok(Some(Replay { repeats, ends }))
}

/// Where the partitions end; None, said aloud, where it is of no use to note it.
fn ends(bounds: &AllBounds, writes_ids: bool) -> Option<Offsets> {
    let again = "what lies on Kafka behind the checkpoint after a crash is published again";
    if !writes_ids {
        tracing::warn!("headers = \"none\": events cannot be told by their ids, so {again}");
        return None;
    }
    let partitions: usize = bounds.values().map(Vec::len).sum();
    if partitions > PARTITIONS_MAX {
        tracing::warn!(partitions, max = PARTITIONS_MAX, "too many partitions for one checkpoint: {again}");
        return None;
    }
    Some(bounds.iter().map(|(topic, bounds)| (topic.clone(), bounds.iter().map(|one| one.high).collect())).collect())
}

/// From where on each partition is read; None, said aloud where it matters: nothing is left out.
fn from(recorded: &Checkpoint, checkpoint: &Checkpoint, bounds: &AllBounds) -> Option<Offsets> {
    let old = recorded.acknowledged.as_ref()?;
    let changed = match recorded {
        _ if recorded.mapping != checkpoint.mapping => Some("the mapping has changed"),
        _ if recorded.partitions != checkpoint.partitions => Some("partition counts have changed"),
        _ => None,
    };
    let of = |(topic, bounds): (&String, &Vec<Bounds>)| {
        let recorded = old.get(topic).map_or(&[][..], Vec::as_slice);
        let offset = |(partition, bounds): (usize, &Bounds)| {
            let recorded = recorded.get(partition).copied().unwrap_or(bounds.high);
            start_of(topic, partition, recorded, *bounds)
        };
        (topic.clone(), bounds.iter().enumerate().map(offset).collect())
    };
    let from: Offsets = bounds.iter().map(of).collect();
    match changed {
        None => Some(from),
        Some(why) => {
            if !tails(&from, bounds).is_empty() {
                tracing::warn!(
                    "{why} since the checkpoint: what lies on Kafka behind it is published again, if it is ours"
                );
            }
            None
        }
    }
}

/// Where the partition is read from that was acknowledged up to `recorded`.
fn start_of(topic: &str, partition: usize, recorded: i64, bounds: Bounds) -> i64 {
    let Bounds { low, high } = bounds;
    if recorded > high {
        tracing::warn!(
            topic,
            partition,
            recorded,
            high,
            "the topic ends before what was acknowledged, so it was made anew or has lost records: all that is in it is looked at"
        );
        return low;
    }
    if recorded < low {
        tracing::info!(
            topic,
            partition,
            recorded,
            low,
            "records behind the checkpoint are deleted: if they were ours they are published again"
        );
    }
    recorded
}

/// What is there from these offsets on.
fn tails(from: &Offsets, bounds: &AllBounds) -> Vec<Tail> {
    let of_topic = |(topic, from): (&String, &Vec<i64>)| {
        let all = from.iter().zip(&bounds[topic]).zip(0..);
        let tail = |((from, bounds), partition): ((&i64, &Bounds), i32)| {
            let from = (*from).max(bounds.low);
            (from < bounds.high).then(|| Tail { topic: topic.clone(), partition, from, to: bounds.high })
        };
        all.filter_map(tail).collect::<Vec<_>>()
    };
    from.iter().filter(|(topic, _)| bounds.contains_key(*topic)).flat_map(of_topic).collect()
}

fn say(repeats: &Repeats) {
    if let Some(last) = repeats.last() {
        tracing::info!(%last, "events of transactions up to this one lie on Kafka behind the checkpoint: they are not sent again");
    }
    if repeats.is_full() {
        tracing::warn!(
            "more events lie on Kafka behind the checkpoint than are kept in mind: the others are published again"
        );
    }
}

/// The connector's events by topic, as their ids tell them.
pub(super) struct Recognition {
    by_topic: BTreeMap<String, Vec<(usize, Identity)>>,
    next_lsn: Lsn,
    forked: bool,
}

impl Recognition {
    /// For this checkpoint; `forked`: another timeline has gone on since the records may have been written.
    pub(super) fn new(plan: &Plan, checkpoint: &Checkpoint, forked: bool) -> Recognition {
        let mut by_topic: BTreeMap<String, Vec<(usize, Identity)>> = BTreeMap::new();
        let mut put = |topic: usize, number: usize, table, rule: &str| {
            let identity = Identity::new(&plan.source_id, checkpoint.epoch, table, rule);
            by_topic.entry(plan.topics[topic].name.clone()).or_default().push((number, identity));
        };
        for (number, event) in plan.events.iter().enumerate() {
            put(event.topic, number, &event.table, &event.contract.path);
        }
        for (number, tombstone) in plan.tombstones.iter().enumerate() {
            let topic = tombstone.topic;
            put(topic, plan.events.len() + number, &tombstone.table, &plan.topics[topic].name);
        }
        Recognition { by_topic, next_lsn: checkpoint.next_lsn, forked }
    }

    /// Notes a record, if it is an event of the stream that a replay would bring again.
    pub(super) fn note(&self, topic: &str, id: &[u8], time_ms: Option<i64>, repeats: &mut Repeats) {
        if self.forked && time_ms.is_none() {
            // What the two servers have committed at the same LSN could not be told apart.
            return;
        }
        for (number, identity) in self.by_topic.get(topic).into_iter().flatten() {
            let Some((commit_lsn, k)) = identity.read(id) else { continue };
            if commit_lsn >= self.next_lsn {
                repeats.note(&Place { commit_lsn, time_ms, number: *number, k });
            }
        }
    }

    /// The same for a record as Kafka has it.
    pub(super) fn note_found(&self, found: &Found<'_>, repeats: &mut Repeats) {
        if let Some(id) = found.header(ID_HEADER) {
            self.note(found.topic(), id, found.time_ms(), repeats);
        }
    }
}

#[cfg(test)]
mod tests;
