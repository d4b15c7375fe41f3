//! What came of it: a table for people and `target/torture/snapshot.json` for machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::writers::Written;
use crate::support::oracle::snapshot::Verdict;
use crate::support::session_watch::Sessions;
use crate::support::{Context, Result};
use crate::torture::report_file;

/// A chunk is read in about 50 ms. A transaction as long as the run would be far above this, a busy machine stays below.
const TRANSACTION_S_MAX: f64 = 10.0;
/// Faulty lines of the daemon's log that are shown.
const LINES_MAX: usize = 10;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    /// Of the table when the daemon was started first.
    rows: u64,
    kills: u32,
    /// More kills, while the table was read again.
    backfill_kills: u32,
    /// Kills, those in backfills, and backfills.
    #[serde(skip)]
    due: (usize, usize, usize),
    rows_per_second: u64,
    transactions: u64,
    aborted: u64,
    /// Row changes per second that were committed.
    changes_per_s: f64,
    /// What the judge says of what the independent reader found.
    #[serde(flatten)]
    verdict: Verdict,
    /// As the sessions were sampled.
    longest_transaction_s: f64,
    locks_above_access_share: u64,
    samples: u64,
    /// What did not come, catch up, end or let itself be judged; a slot that passed the checkpoint.
    liveness: u64,
    /// Panics and errors in the daemon's log.
    log_errors: u64,
    /// From the first change to the last one.
    written_s: f64,
    pub(super) wall_s: f64,
    /// What was found, in words.
    notes: Vec<String>,
}

/// A run as a part of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) seed: u64,
    pub(crate) kills: u32,
    pub(crate) events: u64,
    /// 0 where it is clean.
    pub(crate) mistakes: u64,
    pub(crate) seconds: f64,
}

impl Report {
    pub(crate) fn round(&self) -> Round {
        let counted: u64 = self.counters().map(|(_, count)| count).sum();
        Round {
            seed: self.seed,
            kills: self.kills + self.backfill_kills,
            events: self.verdict.events,
            mistakes: if self.is_clean() { 0 } else { counted.max(1) },
            seconds: self.wall_s,
        }
    }

    pub(super) fn new(seed: u64, rows: u64, (kills, backfill_kills): (u32, u32), plan: &Plan) -> Self {
        Self {
            seed,
            rows,
            kills,
            backfill_kills,
            due: (plan.kills.len(), plan.backfill_kills(), plan.backfills.len()),
            rows_per_second: plan.rows_per_second,
            transactions: 0,
            aborted: 0,
            changes_per_s: 0.0,
            verdict: Verdict::default(),
            longest_transaction_s: 0.0,
            locks_above_access_share: 0,
            samples: 0,
            liveness: 0,
            log_errors: 0,
            written_s: 0.0,
            wall_s: 0.0,
            notes: Vec::new(),
        }
    }

    pub(super) fn written(&mut self, written: &Written) {
        (self.transactions, self.aborted) = (written.transactions, written.aborted);
        self.written_s = written.lasted.as_secs_f64();
    }

    pub(super) fn sessions(&mut self, sessions: &Sessions) {
        self.longest_transaction_s = sessions.longest_s;
        self.locks_above_access_share = sessions.locked;
        self.samples = sessions.samples;
        self.notes.push(format!("the longest transaction: {}", sessions.longest));
        self.notes.extend(sessions.locks.iter().map(|lock| format!("locks_above_access_share: {lock}")));
    }

    pub(super) fn judged(&mut self, verdict: Result<Verdict>) {
        match verdict {
            Ok(verdict) => self.verdict = verdict,
            Err(fault) => self.alive(Err(fault)),
        }
        self.changes_per_s = self.verdict.changes as f64 / self.written_s;
    }

    pub(super) fn alive(&mut self, ended: Result<()>) {
        if let Err(fault) = ended {
            self.liveness += 1;
            self.notes.push(fault.to_string());
        }
    }

    pub(super) fn logged(&mut self, faults: Vec<String>) {
        self.log_errors = faults.len() as u64;
        self.notes.extend(faults.into_iter().take(LINES_MAX).map(|line| format!("log: {line}")));
    }

    fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let watched = [
            ("locks_above_access_share", self.locks_above_access_share),
            ("liveness", self.liveness),
            ("log_errors", self.log_errors),
        ];
        self.verdict.counters().into_iter().chain(watched)
    }

    /// No mistake, and something to have made mistakes with.
    pub(crate) fn is_clean(&self) -> bool {
        let Verdict { reads, changes, ranges, chunks, backfills, backfill_rows, .. } = self.verdict;
        let done = (self.kills as usize, self.backfill_kills as usize, backfills as usize);
        self.counters().all(|(_, count)| count == 0)
            && self.longest_transaction_s <= TRANSACTION_S_MAX
            && done == self.due
            && (backfill_rows > 0) == (backfills > 0)
            && [reads, changes, ranges, chunks, self.samples].iter().all(|count| *count > 0)
    }

    /// Writes `target/torture/snapshot.json` of this checkout and says so.
    pub(super) fn write(&self) -> Result<String> {
        let file = report_file("snapshot.json")?;
        std::fs::write(&file, serde_json::to_string_pretty(self)? + "\n").context(file.display())?;
        Ok(format!("report: {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.verdict;
        writeln!(
            f,
            "{} rows, at most {} a second, the daemon killed {} of {} times, {} transactions ({} aborted), \
             {:.0} changes a second for {:.0} s; {:.0} s in all; seed {}",
            self.rows,
            self.rows_per_second,
            self.kills,
            self.due.0,
            self.transactions,
            self.aborted,
            self.changes_per_s,
            self.written_s,
            self.wall_s,
            self.seed
        )?;
        writeln!(
            f,
            "{} events seen, {} of them reads of {} ranges ({} with their S, {} changes compared with one); {} chunks \
             read, {} in flight when the daemon was killed (at most {} at once), {} read again; {} changes of {} keys; \
             {} rows in the end; the longest transaction {:.3} s ({} samples)",
            of.events,
            of.reads,
            of.ranges,
            of.ranges_with_s,
            of.s_judged,
            of.chunks,
            of.in_flight,
            of.in_flight_max,
            of.chunks_reread,
            of.changes,
            of.keys_changed,
            of.rows_at_end,
            self.longest_transaction_s,
            self.samples
        )?;
        writeln!(
            f,
            "{} of {} backfills, {} rows read again, the daemon killed {} of {} times meanwhile",
            of.backfills, self.due.2, of.backfill_rows, self.backfill_kills, self.due.1
        )?;
        for (name, count) in self.counters() {
            writeln!(f, "  {name:<26}{count:>8}{}", if count == 0 { "" } else { "  <--" })?;
        }
        let findings = of.findings.iter().map(|finding| format!("{}: {}", finding.counter, finding.what));
        findings.chain(self.notes.iter().cloned()).try_for_each(|note| writeln!(f, "  {note}"))?;
        write!(f, "{}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}
