//! What the writers know about each of their transactions.

use super::operation::Operation;

/// How a transaction ended, as far as its writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server confirmed the commit, or its witness row was found later.
    Committed,
    /// Rolled back on purpose, refused by the server, or its witness row was missing later.
    Aborted,
    /// The connection was lost during the commit, and the database could not be asked before the workload ended.
    Unsure,
}

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) writer: u16,
    /// Counts the transactions of a writer, from 1, those that did not commit too.
    pub(crate) sequence: u64,
    pub(crate) operation: Operation,
    pub(crate) outcome: Outcome,
    /// Row changes of the published tables and others; 0 unless committed.
    pub(crate) rows: u64,
}

/// All transactions of one run, by writer, in the order in which each writer made them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) seed: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Journal {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// Row changes of all committed transactions.
    pub(crate) fn rows(&self) -> u64 {
        self.entries.iter().map(|entry| entry.rows).sum()
    }

    /// The request id that the transaction put into each of its rows, and so the correlation id of its events.
    pub(crate) fn request_id(&self, entry: &Entry) -> String {
        request_id(self.seed, entry.writer, entry.sequence)
    }
}

pub(super) fn request_id(seed: u64, writer: u16, sequence: u64) -> String {
    format!("s{seed:x}w{writer}-{sequence}")
}
