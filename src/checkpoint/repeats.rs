//! What a session without transactions has left on Kafka behind its checkpoint: which events of the replay are there
//! already. Pure: what was found goes in, then each event of the replay is asked about, in its order.
//!
//! An event is left out only if it was found itself, by its id: so none is lost, whatever else was found. And in each
//! partition only up to the first one that was not: what comes behind it is sent again even where it was found, since a
//! partition ends with the newest value of each key, or a reader who folds it is left with an older one.

use std::collections::{HashMap, HashSet};

use crate::model::Lsn;

/// More than this is not kept in mind but sent again: some 40 MB. What is found in 64 changes of a table takes one.
const BLOCKS_MAX: usize = 1 << 19;
const BLOCK: u64 = u64::BITS as u64;

/// An event by the parts of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of its transaction.
    pub commit_lsn: Lsn,
    /// When that was committed, in milliseconds: servers that part can have the same LSN twice. None: not known.
    pub time_ms: Option<i64>,
    /// Which of the connector's events it is, which also says its table and its topic.
    pub number: usize,
    /// The how-manieth change of its table in the transaction.
    pub k: u64,
}

/// The events that were found.
#[derive(Debug, Default)]
pub struct Repeats {
    /// A bit for each of a block of changes.
    found: HashMap<(Lsn, Option<i64>, usize, u64), u64>,
    last: Option<Lsn>,
    /// The partitions in which an event came that was not found.
    ended: HashSet<(usize, i32)>,
    is_full: bool,
}

impl Repeats {
    /// An event was found on Kafka.
    pub fn note(&mut self, event: &Place) {
        let (block, bit) = block_of(event);
        if self.found.len() >= BLOCKS_MAX && !self.found.contains_key(&block) {
            self.is_full = true;
            return;
        }
        *self.found.entry(block).or_default() |= bit;
        self.last = self.last.max(Some(event.commit_lsn));
    }

    /// Whether the next event of the replay, which belongs into this partition of the topic with this number, is there.
    pub fn has(&mut self, event: &Place, partition: (usize, i32)) -> bool {
        if self.last < Some(event.commit_lsn) || self.ended.contains(&partition) {
            return false;
        }
        let is_there = [event.time_ms, None].into_iter().any(|time_ms| {
            let (block, bit) = block_of(&Place { time_ms, ..*event });
            self.found.get(&block).is_some_and(|found| found & bit > 0)
        });
        if !is_there {
            self.ended.insert(partition);
        }
        is_there
    }

    /// The last transaction of which something was found. A replay that is past it repeats nothing.
    pub fn last(&self) -> Option<Lsn> {
        self.last
    }

    /// Whether more was found than is kept in mind.
    pub fn is_full(&self) -> bool {
        self.is_full
    }
}

fn block_of(event: &Place) -> ((Lsn, Option<i64>, usize, u64), u64) {
    ((event.commit_lsn, event.time_ms, event.number, event.k / BLOCK), 1 << (event.k % BLOCK))
}

#[cfg(test)]
mod tests;
