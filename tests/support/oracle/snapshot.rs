//! The judge of a snapshot: snapshot.py over what Kafka's own client reads, without a file in between.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::{Finding, python, reader};
use crate::support::sql::Sql;
use crate::support::{Context, Result, runtime};

/// What is compared with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// `bootstrap.servers`
    pub(crate) brokers: &'a str,
    /// Base of the registry's REST API.
    pub(crate) registry: &'a str,
    /// The topics of the table's state, of the orders' announcements, and of updates.
    pub(crate) topics: &'a [String; 3],
    /// The rows that were there before the witness: those with the even ids up to twice as much.
    pub(crate) initial: u64,
    /// The greatest id that there can be.
    pub(crate) keys: u64,
    /// As [`super::take_witness`] wrote it.
    pub(crate) witness: &'a Path,
    /// As [`take_table`] wrote it.
    pub(crate) table: &'a Path,
    /// The checkpoint topic, as [`super::read_committed`] wrote it.
    pub(crate) progress: &'a Path,
    /// The server's log, with the statements of the daemon's role.
    pub(crate) log: &'a Path,
    /// When daemons were started, in milliseconds since 1970, each after the end of the one before.
    pub(crate) starts: &'a [i64],
}

/// snapshot.py's answer. From `differences` on they count mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) events: u64,
    /// Of the state's events.
    pub(crate) reads: u64,
    /// Of the table in the end.
    pub(crate) rows_at_end: u64,
    pub(crate) changes: u64,
    pub(crate) keys_changed: u64,
    pub(crate) ranges: u64,
    /// Those whose progress record has the snapshot: the stream had not passed it.
    pub(crate) ranges_with_s: u64,
    /// Changes that were compared with the snapshot of their range.
    pub(crate) s_judged: u64,
    pub(crate) chunks: u64,
    pub(crate) chunks_reread: u64,
    /// Chunks that were read and not published when their daemon was killed: all, and the most of one daemon.
    pub(crate) in_flight: u64,
    pub(crate) in_flight_max: u64,
    /// Backfills that came to their end, and what was read in all of them.
    pub(crate) backfills: u64,
    pub(crate) backfill_rows: u64,
    pub(crate) differences: u64,
    pub(crate) history_wrong: u64,
    pub(crate) facts_missing: u64,
    pub(crate) facts_doubled: u64,
    pub(crate) updates_wrong: u64,
    pub(crate) snapshots_wrong: u64,
    pub(crate) done_reread: u64,
    pub(crate) backfill_missing: u64,
    pub(crate) backfill_doubled: u64,
    pub(crate) backfill_wrong: u64,
    pub(crate) schema: u64,
    /// The first mistakes of each counter.
    pub(crate) findings: Vec<Finding>,
}

impl Verdict {
    /// Every counter of mistakes by its name.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 11] {
        [
            ("differences", self.differences),
            ("history_wrong", self.history_wrong),
            ("facts_missing", self.facts_missing),
            ("facts_doubled", self.facts_doubled),
            ("updates_wrong", self.updates_wrong),
            ("snapshots_wrong", self.snapshots_wrong),
            ("done_reread", self.done_reread),
            ("backfill_missing", self.backfill_missing),
            ("backfill_doubled", self.backfill_doubled),
            ("backfill_wrong", self.backfill_wrong),
            ("schema", self.schema),
        ]
    }
}

/// Writes the table's rows to a file, in the form of `COPY` and in the columns' order that snapshot.py knows.
pub(crate) fn take_table(sql: &Sql, into: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(into).context(into.display())?);
    runtime()?.block_on(async {
        let rows = sql.client().copy_out("COPY orders (id, mark, status, amount, note) TO STDOUT").await?;
        let mut rows = pin!(rows);
        while let Some(bytes) = rows.try_next().await? {
            file.write_all(&bytes)?;
        }
        Ok(file.flush()?)
    })
}

/// Compares; mistakes are in the verdict, a fault is when nothing can be said.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Result<Verdict> {
    let mut reader = reader()?;
    let mut records = reader.args(["read", evidence.brokers]).args(evidence.topics).stdout(Stdio::piped()).spawn()?;
    let seen = records.stdout.take().ok_or("the reader has no standard output")?;
    let starts: Vec<String> = evidence.starts.iter().map(i64::to_string).collect();
    let mut command = python()?;
    command.arg("snapshot.py").args(["--registry", evidence.registry, "--topics", &evidence.topics.join(",")]);
    command.args(["--initial", &evidence.initial.to_string(), "--keys", &evidence.keys.to_string()]);
    command.args(["--starts", &starts.join(",")]).arg("--witness").arg(evidence.witness);
    command.arg("--table").arg(evidence.table).arg("--progress").arg(evidence.progress);
    let output = command.arg("--log").arg(evidence.log).stdin(seen).output().context("run snapshot.py")?;
    let read = records.wait()?;
    let fault = || format!("snapshot.py failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    let verdict: Verdict = serde_json::from_slice(&output.stdout).context(fault())?;
    if !read.success() {
        return Err(format!("the reader failed ({read})").into());
    }
    let clean = verdict.counters().iter().all(|(_, count)| *count == 0);
    if output.status.success() == clean { Ok(verdict) } else { Err(fault().into()) }
}
