//! One change to records: map says which, identity names them, encode writes them, the partitioner places them.

use std::sync::Arc;

use super::programs::TablePrograms;
use super::snapshot::Halves;
use super::unit::{FilterRule, Tally};
use crate::checkpoint::repeats::{self, Repeats};
use crate::connector::Plan;
use crate::encode::headers::{HeaderMode, HeaderNames, HeaderPlan};
use crate::encode::{Capture, Meta};
use crate::error::{At, Result};
use crate::faults::{Mutation, mutated};
use crate::map::{Filter, Identity, Outcome, Yields, write_sequence};
use crate::model::{Batch, Change, Lsn, Operation, PG_EPOCH_UNIX_MICROS, Position, Record};
use crate::publish::partition;

/// Where the change that is being emitted stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) position: Position,
    pub(super) origin: Origin<'a>,
    /// Commit time, for a read the time of its snapshot; microseconds since 2000-01-01.
    pub(super) time_us: i64,
}

/// What names the version of the row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// A change of the stream: how many changes of the same table came before it in the transaction.
    Change { k: u64 },
    /// A row that was read: its version, as `write_version` names it.
    Read { version: &'a [u8], capture: Capture },
}

impl Origin<'_> {
    fn write_id(&self, identity: &Identity, lsn: Lsn, out: &mut Vec<u8>) {
        match *self {
            Origin::Change { k } => identity.write(lsn, k, out),
            Origin::Read { version, .. } => identity.write_read(version, out),
        }
    }
}

/// Writes records into a batch. Its buffers are reused from change to change.
pub(super) struct Emitter {
    plan: Arc<Plan>,
    /// By index of `Plan::events` and `Plan::tombstones`.
    events: Vec<HeaderPlan>,
    tombstones: Vec<HeaderPlan>,
    names: HeaderNames,
    /// By index of `Plan::topics`: the recorded partition counts.
    partitions: Vec<i32>,
    /// What a replay leaves out.
    repeats: Option<Repeats>,
    yields: Yields,
    id: Vec<u8>,
    sequence: Vec<u8>,
}

impl Emitter {
    /// `schema_uris` are those of the events' contracts, for `ce_dataschema`.
    pub(super) fn new(plan: Arc<Plan>, mode: HeaderMode, schema_uris: &[String], partitions: Vec<i32>) -> Emitter {
        let mut names = HeaderNames::default();
        let events = plan.events.iter().zip(schema_uris);
        let events = events.map(|(event, uri)| HeaderPlan::event(mode, event, uri, &mut names)).collect();
        let tombstones = plan.tombstones.iter().map(|_| HeaderPlan::tombstone(mode)).collect();
        let (id, sequence) = (Vec::with_capacity(256), Vec::with_capacity(64));
        let (repeats, yields) = Default::default();
        Emitter { plan, events, tombstones, names, partitions, repeats, yields, id, sequence }
    }

    /// What is on Kafka behind the checkpoint: the stream will bring it again.
    pub(super) fn leave_out(&mut self, repeats: Repeats) {
        self.repeats = repeats.last().is_some().then_some(repeats);
    }

    /// The names that `Header::name` indexes.
    pub(super) fn header_names(&self) -> Vec<String> {
        self.names.all().to_vec()
    }

    /// Appends the change's records to the batch, tombstones first, and counts what became of it.
    pub(super) fn emit(
        &mut self,
        table: &TablePrograms,
        change: &Change<'_>,
        place: &Place<'_>,
        batch: &mut Batch,
        tally: &mut Tally,
    ) -> Result<()> {
        let routed = table.rules.route(change, &mut self.yields)?;
        match routed.outcome {
            Outcome::Filtered(_) if mutated(Mutation::FilteredAsPublished) => {
                tally.received += 1;
                tally.published += 1;
                return Ok(());
            }
            Outcome::Filtered(filter) => {
                tally.filter(rule(filter));
                return Ok(());
            }
            Outcome::Published => {
                tally.received += 1;
                tally.published += 1;
            }
        }
        let change = Change { operation: routed.operation, ..*change };
        self.sequence.clear();
        write_sequence(&place.position, &mut self.sequence);
        for i in 0..self.yields.tombstones.len() {
            self.tombstone(self.yields.tombstones[i], table, &change, place, batch, tally)?;
        }
        for i in 0..self.yields.events.len() {
            self.event(self.yields.events[i], table, &change, place, batch, tally)?;
        }
        Ok(())
    }

    /// The same for a change of which a snapshot's reads hold a part: where only the new key's row is news, it is a read;
    /// where only the old key's is gone, its tombstones are left to say so.
    pub(super) fn emit_halves(
        &mut self,
        table: &TablePrograms,
        change: &Change<'_>,
        halves: Halves,
        place: &Place<'_>,
        batch: &mut Batch,
        tally: &mut Tally,
    ) -> Result<()> {
        if halves.is_covered() {
            tally.cover();
            return Ok(());
        }
        if halves.is_new_only() {
            let read = Change { operation: Operation::Read, old: None, ..*change };
            return self.emit(table, &read, place, batch, tally);
        }
        if !halves.is_old_only() {
            return self.emit(table, change, place, batch, tally);
        }
        let gone = Change { operation: Operation::Delete, new: None, ..*change };
        table.rules.route(&gone, &mut self.yields)?;
        self.sequence.clear();
        write_sequence(&place.position, &mut self.sequence);
        if self.yields.tombstones.is_empty() {
            tally.cover();
            return Ok(());
        }
        (tally.received, tally.published) = (tally.received + 1, tally.published + 1);
        for i in 0..self.yields.tombstones.len() {
            self.tombstone(self.yields.tombstones[i], table, &gone, place, batch, tally)?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        index: usize,
        table: &TablePrograms,
        change: &Change<'_>,
        place: &Place<'_>,
        batch: &mut Batch,
        tally: &mut Tally,
    ) -> Result<()> {
        let (Some((program, identity)), event) = (table.event(index), &self.plan.events[index]) else {
            return Ok(());
        };
        let repeats = &mut self.repeats;
        let mut write = |batch: &mut Batch, id: &mut Vec<u8>| {
            let start = batch.bytes.len();
            program.key(change, &mut batch.bytes)?;
            let key = start..batch.bytes.len();
            let partition = partition(&batch.bytes[key.clone()], self.partitions[event.topic]);
            if is_repeated(repeats, place, index, (event.topic, partition)) {
                batch.bytes.truncate(start);
                return Ok(true);
            }
            id.clear();
            place.origin.write_id(identity, place.position.lsn, id);
            if mutated(Mutation::IdRandom) {
                let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
                id.extend_from_slice(random.to_string().as_bytes());
            }
            let meta = meta(&self.plan, id, &self.sequence, change.operation, place);
            let text = program.key_is_text().then_some(&key);
            let headers = self.events[index].append(program, change, &meta, text, batch)?;
            let start = batch.bytes.len();
            program.value(change, &meta, &mut batch.bytes)?;
            let value = Some(start..batch.bytes.len());
            let timestamp_ms = unix_ms(place.time_us);
            batch.records.push(Record { topic: event.topic, partition, key, value, headers, timestamp_ms });
            Ok(false)
        };
        let repeated = write(batch, &mut self.id)
            .map_err(|error: crate::error::Error| error.at(At::contract(&event.contract.path)))?;
        tally.events.add(index, 1);
        tally.repeated += u64::from(repeated);
        Ok(())
    }

    fn tombstone(
        &mut self,
        index: usize,
        table: &TablePrograms,
        change: &Change<'_>,
        place: &Place<'_>,
        batch: &mut Batch,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some((program, identity)) = table.tombstone(index) else { return Ok(()) };
        let topic = self.plan.tombstones[index].topic;
        let number = self.plan.events.len() + index;
        let start = batch.bytes.len();
        program.key(change, &mut batch.bytes).map_err(|error| error.at(At::topic(&self.plan.topics[topic].name)))?;
        if mutated(Mutation::TombstoneWithoutKey) {
            batch.bytes.truncate(start);
        }
        let key = start..batch.bytes.len();
        let partition = partition(&batch.bytes[key.clone()], self.partitions[topic]);
        tally.events.add(number, 1);
        if is_repeated(&mut self.repeats, place, number, (topic, partition)) {
            batch.bytes.truncate(start);
            tally.repeated += 1;
            return Ok(());
        }
        self.id.clear();
        place.origin.write_id(identity, place.position.lsn, &mut self.id);
        let meta = meta(&self.plan, &self.id, &self.sequence, change.operation, place);
        let text = program.key_is_text().then_some(&key);
        let headers = self.tombstones[index].append_tombstone(&meta, text, batch);
        let timestamp_ms = unix_ms(place.time_us);
        batch.records.push(Record { topic, partition, key, value: None, headers, timestamp_ms });
        Ok(())
    }
}

fn meta<'a>(plan: &'a Plan, id: &'a [u8], sequence: &'a [u8], operation: Operation, place: &Place<'_>) -> Meta<'a> {
    // A row does not know when it came to be as it is.
    let (occurred_at, capture) = match place.origin {
        Origin::Change { .. } => (Some(place.time_us + PG_EPOCH_UNIX_MICROS), Capture::Stream),
        Origin::Read { capture, .. } => (None, capture),
    };
    Meta { id, occurred_at, source: &plan.source_id, sequence, operation, capture }
}

/// Whether this event, for this partition of the topic with this number, is on Kafka since before this session.
#[inline]
fn is_repeated(repeats: &mut Option<Repeats>, place: &Place<'_>, number: usize, partition: (usize, i32)) -> bool {
    let (Some(found), Origin::Change { k }) = (repeats.as_mut(), place.origin) else { return false };
    let commit_lsn = place.position.lsn;
    if found.last() < Some(commit_lsn) {
        *repeats = None;
        return false;
    }
    found.has(&repeats::Place { commit_lsn, time_ms: Some(unix_ms(place.time_us)), number, k }, partition)
}

fn unix_ms(pg_us: i64) -> i64 {
    if mutated(Mutation::RecordTimeEpoch) {
        return pg_us / 1000;
    }
    (pg_us + PG_EPOCH_UNIX_MICROS) / 1000
}

fn rule(filter: Filter) -> FilterRule {
    match filter {
        Filter::Unmatched => FilterRule::Unmatched,
        Filter::Truncate => FilterRule::Truncate,
        Filter::Unnamed => FilterRule::Unnamed,
    }
}
