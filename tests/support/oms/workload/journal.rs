//! What the writers know about each of their transactions.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::operation::Operation;
use crate::support::{Context, Result};

/// How a transaction ended, as far as its writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The server confirmed the commit, or its witness row was found later.
    Committed,
    /// Rolled back on purpose, refused by the server, or its witness row was missing later.
    Aborted,
    /// The connection was lost during the commit, and the database could not be asked before the workload ended.
    Unsure,
}

/// Events of one type that a transaction calls for, by what it did in the business: connector files are not asked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Due {
    /// The type as subscribers see it, without its version.
    pub(crate) event: &'static str,
    pub(crate) count: u64,
    /// What these events show of where they come from: the request id that their row carries, or a tombstone's key.
    pub(crate) mark: String,
}

/// One transaction.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// The request id that it puts into each row that it changes, so that events show it: writer and sequence in one.
    pub(crate) request: String,
    pub(crate) writer: u16,
    /// Counts the transactions of a writer, from 1, those that did not commit too.
    pub(crate) sequence: u64,
    pub(crate) operation: Operation,
    pub(crate) outcome: Outcome,
    /// Row changes of the published tables and others, if it is committed; 0 where it is aborted.
    pub(crate) rows: u64,
    /// What it calls for, if it is committed; empty where it is aborted.
    pub(crate) due: Vec<Due>,
}

/// All transactions of one run, by writer, in the order in which each writer made them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
}

impl Journal {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// Writes one JSON object a line, as the oracle reads it.
    pub(crate) fn write(&self, into: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(into).context(into.display())?);
        for entry in &self.entries {
            writeln!(file, "{}", serde_json::to_string(entry)?)?;
        }
        Ok(file.flush()?)
    }
}
