//! What the assembler hands to the publisher.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::Answered;
use super::spares::Spares;
use crate::model::{Batch, Lsn, TableName};
use crate::snapshot::Entry;

/// Encoded records with the position that they lead to.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) kind: UnitKind,
    pub(super) batch: Batch,
    pub(super) tally: Tally,
    /// Commit time of its first transaction, if it has records (server clock, microseconds since 2000-01-01).
    pub(super) oldest_us: Option<i64>,
    /// Records of the progress of snapshots.
    pub(super) progress: Vec<Entry>,
    /// None: what pends is as before.
    pub(super) pending: Option<Pending>,
    /// The table of which it has rows that were read.
    pub(super) read_of: Option<TableName>,
    /// To be told once it is on Kafka.
    pub(super) answers: Vec<Answered>,
    /// The source sent it long after its commit, and more of that kind follows.
    pub(super) behind: bool,
    /// Take the batch back, for other records, once Kafka's client has copied it.
    pub(super) spares: Option<Spares>,
}

/// What pends of snapshots once a unit is on Kafka, for the checkpoint: by table, the transactions that their reads must
/// see. None: nothing pends.
pub(super) type Pending = Option<Arc<BTreeMap<String, Vec<u64>>>>;

impl Unit {
    /// A unit that says nothing of snapshots.
    pub(super) fn new(kind: UnitKind, batch: Batch, tally: Tally, oldest_us: Option<i64>) -> Unit {
        let (progress, answers) = (Vec::new(), Vec::new());
        let (pending, read_of, behind, spares) = (None, None, false, None);
        Unit { kind, batch, tally, oldest_us, progress, pending, read_of, answers, behind, spares }
    }

    /// Its batch is copied.
    pub(super) fn spend(self) {
        if let Some(spares) = self.spares {
            spares.give(self.batch);
        }
    }
}

/// How a unit joins Kafka transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// Whole source transactions.
    Whole {
        /// The next LSN once the records are on Kafka.
        next_lsn: Lsn,
    },
    /// A piece of a transaction that is too long to gather: it gets a Kafka transaction of its own.
    Piece {
        /// The transaction's commit LSN.
        commit_lsn: Lsn,
        /// Changes of the transaction up to and including this piece.
        changes: u64,
        /// With the last piece: the next LSN.
        end: Option<Lsn>,
    },
    /// Rows that a snapshot has read, at this place of the stream, also between the pieces of a transaction.
    Chunk {
        /// Changes come too: few rows are to be before them.
        beside: bool,
        /// How often reading a table has begun anew in this session. Chunks between which it has not have no key in common.
        anew: u64,
    },
    /// No records: everything before `next_lsn` was received, and is on Kafka once the units before this one are.
    Progress {
        /// The next LSN.
        next_lsn: Lsn,
        /// The server waits for an answer (it may want to shut down).
        reply_requested: bool,
    },
}

/// Counts that become metrics when the unit is on Kafka: every change received is published, filtered or covered.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Changes received.
    pub(super) received: u64,
    /// Changes that at least one event or tombstone took.
    pub(super) published: u64,
    /// Events (and tombstones) by index: the plan's events first, then its tombstones.
    pub(super) events: Counts,
    /// Events and tombstones among them that are on Kafka since before this session, and are not sent again.
    pub(super) repeated: u64,
    /// Changes that a snapshot's read holds.
    pub(super) covered: u64,
    /// Changes filtered, by `FilterRule` as index.
    pub(super) filtered: [u64; FilterRule::COUNT],
    /// The source transactions that end in this unit.
    pub(super) transactions: Vec<Ended>,
}

/// Counts by index. Adding and clearing them costs what the counted ones do, of a thousand tables those of a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    all: Vec<u64>,
    /// Of which there are any.
    counted: Vec<usize>,
}

impl Counts {
    /// Counts `count` more.
    pub(super) fn add(&mut self, index: usize, count: u64) {
        if self.all.len() <= index {
            self.all.resize(index + 1, 0);
        }
        let sum = &mut self.all[index];
        if *sum == 0 {
            self.counted.push(index);
        }
        *sum += count;
    }

    /// Each index of which there are any, with its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counted.iter().map(|index| (*index, self.all[*index]))
    }

    fn clear(&mut self) {
        self.counted.drain(..).for_each(|index| self.all[index] = 0);
    }
}

/// A source transaction that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Microseconds since 2000-01-01, the server's clock.
    pub(super) commit_us: i64,
    /// Changes received in it.
    pub(super) changes: u64,
}

/// The named rules by which a change is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterRule {
    /// `unmatched = "filter"` of the table
    Unmatched,
    /// `truncate = "filter"` of the table
    Truncate,
    /// `[tables] unnamed = "filter"`
    Unnamed,
    /// Logical decoding messages: no rule takes them yet.
    Message,
}

impl FilterRule {
    /// How many there are.
    pub(super) const COUNT: usize = 4;
    /// All, in the order of the indexes.
    pub(super) const ALL: [FilterRule; FilterRule::COUNT] =
        [FilterRule::Unmatched, FilterRule::Truncate, FilterRule::Unnamed, FilterRule::Message];

    /// The label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            FilterRule::Unmatched => "unmatched",
            FilterRule::Truncate => "truncate",
            FilterRule::Unnamed => "unnamed",
            FilterRule::Message => "message",
        }
    }
}

impl Tally {
    /// Adds what `other` counted.
    pub(super) fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.published += other.published;
        self.repeated += other.repeated;
        self.covered += other.covered;
        other.events.iter().for_each(|(index, count)| self.events.add(index, count));
        self.filtered.iter_mut().zip(&other.filtered).for_each(|(sum, count)| *sum += count);
        self.transactions.extend_from_slice(&other.transactions);
    }

    /// Adds what `other` counted and leaves it at zero, with its memory.
    pub(super) fn take(&mut self, other: &mut Tally) {
        self.add(other);
        (other.received, other.published, other.repeated, other.covered) = (0, 0, 0, 0);
        other.filtered = [0; FilterRule::COUNT];
        other.events.clear();
        other.transactions.clear();
    }

    /// A change was received that a snapshot's read holds.
    pub(super) fn cover(&mut self) {
        self.received += 1;
        self.covered += 1;
    }

    /// A change was received and filtered by `rule`.
    pub(super) fn filter(&mut self, rule: FilterRule) {
        self.received += 1;
        self.filtered[rule as usize] += 1;
    }
}
