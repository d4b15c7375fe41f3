//! Partitioned tables: the ranges of one that is divided belong each to one leaf.
//!
//! A leaf stands for its keys, those for which its condition holds. The leaves of a table are listed once, as of a snapshot
//! that might be read with. So the list is a reading too, of all other keys: there is none of them. Leaf 0 is what it has
//! read. The list is never changed, whatever is attached, detached or dropped: the keys of a leaf are read wherever they
//! lie then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::range::{self, Chain, Phase, Range};
use super::record::{self, Entry, LeavesRecord, Of, RangeRecord, ReadRecord, Variant, unreadable};
use super::table::Table;
use super::tables::Snapshot;
use super::visibility::PgSnapshot;
use super::{Offer, Ordinal, Part, RangeId};
use crate::error::Result;
use crate::model::{Leaf, Lsn};

/// So often, at most, `parts` drops leaves that are done: what is asked of Postgres stays the same in between.
const STEPS: u32 = 8;

impl Snapshot {
    /// A worker that has all of a table has locked it, taken a snapshot, and listed the leaves as of that; `lsn` is
    /// `pg_current_wal_insert_lsn()`, asked after that, and the server has flushed its log up to there. Accepted: the
    /// worker has nothing any more, and each leaf is a range of its own.
    pub fn divide(
        &mut self,
        id: RangeId,
        snapshot: PgSnapshot,
        lsn: Lsn,
        leaves: Vec<Leaf>,
    ) -> Result<(Offer, Vec<Entry>)> {
        let (horizon, passed) = (self.horizon.clone(), self.passed);
        let Some(table) = self.get_mut(id.table).filter(|table| table.chain.len() == 1 && !leaves.is_empty()) else {
            return Ok((Offer::Discard, Vec::new()));
        };
        let offer = table.admit(id.ordinal, &snapshot, horizon.as_deref());
        if offer != Offer::Accepted {
            return Ok((offer, Vec::new()));
        }
        // What a backfill has published is published; it remembers no snapshot.
        let remembers = table.request.variant == Variant::Initial && passed < lsn;
        let entries = table.divide(leaves, remembers.then(|| ReadRecord { snapshot: snapshot.clone(), lsn }))?;
        self.take_horizon(Arc::new(snapshot));
        self.settle();
        Ok((offer, entries))
    }
}

impl Table {
    /// The leaf that a range is of.
    pub(super) fn leaf(&self, ordinal: Ordinal) -> Option<&Arc<Leaf>> {
        self.leaves.get(usize::try_from(ordinal.leaf.checked_sub(1)?).ok()?)
    }

    fn divide(&mut self, leaves: Vec<Leaf>, read: Option<ReadRecord>) -> Result<Vec<Entry>> {
        let record = LeavesRecord { version: LeavesRecord::VERSION, leaves };
        self.version += 1;
        let (others, whole) = range::whole(0, self.version);
        let whole = Range { phase: Phase::Done { read }, ..whole };
        let entries = vec![
            record::entry(&self.key, Of::Leaves, &record)?,
            record::entry(&self.key, Of::Range(others), &whole.record())?,
        ];
        self.chain = numbers(record.leaves.len()).map(|leaf| range::whole(leaf, self.version)).collect();
        self.chain.insert(others, whole);
        self.leaves = record.leaves.into_iter().map(Arc::new).collect();
        Ok(entries)
    }

    /// The ranges by leaf, from the first one on of which a change need be asked for, or some leaves before.
    pub(super) fn parts(&self, table: usize) -> Vec<Part> {
        let asked = self.chain.iter().find(|(_, range)| !range.is_forgotten());
        let first = match asked.and_then(|(ordinal, _)| ordinal.leaf.checked_sub(1)) {
            Some(first) => {
                let step = u32::try_from(self.leaves.len()).unwrap_or(u32::MAX).div_ceil(STEPS);
                1 + first / step.max(1) * step
            }
            None => 0,
        };
        let mut parts: Vec<(u32, Part)> = Vec::new();
        for (ordinal, range) in self.chain.range(Ordinal { leaf: first, nth: 0 }..) {
            if parts.last().is_none_or(|(leaf, _)| *leaf != ordinal.leaf) {
                parts.push((ordinal.leaf, Part { leaf: self.leaf(*ordinal).cloned(), ranges: Vec::new() }));
            }
            // What is forgotten as a whole is one range.
            let is_whole = range.lower.is_none() && range.upper.is_none();
            if let Some((_, part)) = parts.last_mut().filter(|_| !(is_whole && range.is_forgotten())) {
                part.ranges.push((RangeId { table, ordinal: *ordinal }, range.lower.clone()));
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

/// The records of a table beside its own.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) leaves: Vec<Leaf>,
    ranges: BTreeMap<u32, BTreeMap<u64, RangeRecord>>,
}

impl Records {
    pub(super) fn insert(&mut self, ordinal: Ordinal, record: RangeRecord) {
        self.ranges.entry(ordinal.leaf).or_default().insert(ordinal.nth, record);
    }

    /// The leaves, and the ranges that are done with what is pending between them. Leaves without the range that their
    /// list has read were never divided: without transactions a crash may come between the two.
    pub(super) fn restore(mut self, table: &str) -> Result<(Vec<Leaf>, Chain)> {
        if self.ranges.is_empty() {
            self.leaves.clear();
        }
        let mut chain = Chain::new();
        for leaf in Some(0).into_iter().chain(numbers(self.leaves.len())) {
            chain.append(&mut range::restore(table, leaf, self.ranges.remove(&leaf).unwrap_or_default())?);
        }
        match self.ranges.pop_first() {
            Some((leaf, _)) => Err(unreadable(table, &format!("ranges of leaf {leaf}, which it does not have"))),
            None => Ok((self.leaves, chain)),
        }
    }
}

/// The numbers of so many leaves.
fn numbers(leaves: usize) -> impl Iterator<Item = u32> {
    (1..=u32::MAX).take(leaves)
}
