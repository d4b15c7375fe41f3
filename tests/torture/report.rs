//! What came of it: a table for people and `target/torture/report.json` for machines.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Delivery;
use super::record::{Record, Recovery, Times};
use super::snapshot::Round;
use crate::support::canary::Search;
use crate::support::oms::workload::journal::{Journal, Outcome};
use crate::support::oracle::Verdict;
use crate::support::process_watch::Life;
use crate::support::{Context, Result, health_watch, slot_watch};

/// Faulty lines of the daemon's log that are shown.
const LINES_MAX: usize = 10;
/// What 99 recoveries of 100 may take, where there are enough of them to say so.
const RECOVERY_P99_S_MAX: f64 = 10.0;
const RECOVERIES_MIN: usize = 1_000;
/// In which a dead path is to be seen in `/readyz`.
const NOTICED_S_MAX: f64 = 30.0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// With `--resume` several runs in a row make one report.
    runs: u32,
    seeds: Vec<u64>,
    delivery: Delivery,
    #[serde(flatten)]
    record: Record,
    /// Transactions that the workload knows to be committed.
    committed: usize,
    /// Transactions whose end the workload could not find out.
    unsure: usize,
    /// Events that the tables call for, by SQL.
    pub(super) due_by_sql: u64,
    /// What the oracle says of the events that the independent reader found.
    #[serde(flatten)]
    verdict: Verdict,
    /// Positions of the slot that no committed checkpoint covered, and comparisons of the two.
    slot_ahead: u64,
    slot_samples: u64,
    /// The longest that the slot seemed ahead because a commit was not visible yet.
    slot_settled_ms: u64,
    /// What did not come back, catch up, end or let itself be judged in time; and each time that the connector stood
    /// still without a cause, or halted.
    stalls: u64,
    /// Times that the daemon was behind and told of no lag.
    honesty: u64,
    health_samples: u64,
    /// Panics and errors in the daemon's log.
    log_errors: u64,
    /// Lines with a secret or a row's value, in what the daemon said; and how much that was.
    canary_hits: u64,
    canary_bytes: u64,
    /// Of all daemons the one that lived longest.
    longest_life: Life,
    /// Runs in which the daemon was killed while rows were read.
    snapshots: Vec<Round>,
    seconds: f64,
    /// What was found, in words.
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(seed: u64, delivery: Delivery, record: Record, slot: &slot_watch::Report) -> Self {
        Self {
            runs: 1,
            seeds: vec![seed],
            delivery,
            record,
            committed: 0,
            unsure: 0,
            due_by_sql: 0,
            verdict: Verdict::default(),
            slot_ahead: slot.slot_ahead,
            slot_samples: slot.samples,
            slot_settled_ms: u64::try_from(slot.settled_after.as_millis()).unwrap_or(u64::MAX),
            stalls: 0,
            honesty: 0,
            health_samples: 0,
            log_errors: 0,
            canary_hits: 0,
            canary_bytes: 0,
            longest_life: Life::default(),
            snapshots: Vec::new(),
            seconds: 0.0,
            notes: slot.first.iter().cloned().collect(),
        }
    }

    pub(super) fn worked(&mut self, journal: &Journal) {
        self.committed = journal.count(Outcome::Committed);
        self.unsure = journal.count(Outcome::Unsure);
    }

    pub(super) fn watched(&mut self, health: health_watch::Report) {
        self.stalls += health.stalled + health.halted;
        self.honesty = health.dishonest;
        self.health_samples = health.samples;
        self.notes.extend(health.found);
    }

    pub(super) fn judged(&mut self, verdict: Result<Verdict>) {
        match verdict {
            Ok(verdict) => self.verdict = verdict,
            Err(fault) => self.ended(Err(fault)),
        }
    }

    pub(super) fn ended(&mut self, ended: Result<()>) {
        if let Err(fault) = ended {
            self.stalls += 1;
            self.notes.push(fault.to_string());
        }
    }

    pub(super) fn logged(&mut self, faults: Vec<String>) {
        self.log_errors = faults.len() as u64;
        self.notes.extend(faults.into_iter().take(LINES_MAX).map(|line| format!("log: {line}")));
    }

    /// `flown`: the values that were searched for are in the rows that were written.
    pub(super) fn searched(&mut self, search: &Search, flown: bool) {
        (self.canary_hits, self.canary_bytes) = (search.hits, if flown { search.bytes } else { 0 });
        self.notes.extend(search.found.iter().map(|found| format!("canary: {found}")));
    }

    pub(super) fn lived(&mut self, life: Life) {
        self.longest_life = life;
    }

    pub(super) fn read_snapshots(&mut self, round: Round) {
        self.snapshots.push(round);
    }

    pub(super) fn lasted(&mut self, time: Duration) {
        self.seconds = time.as_secs_f64();
    }

    fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let watched = [
            ("slot_ahead", self.slot_ahead),
            ("stalls", self.stalls),
            ("dead_paths_unseen", self.dead_paths().filter(|path| path.seconds > NOTICED_S_MAX).count() as u64),
            ("slow_recovery", u64::from(self.is_slow())),
            ("honesty", self.honesty),
            ("log_errors", self.log_errors),
            ("canary_hits", self.canary_hits),
            ("snapshots", self.snapshots.iter().map(|round| round.mistakes).sum()),
        ];
        self.verdict.counters().into_iter().chain(watched)
    }

    /// A stopped process of the server is a lag, not a dead path.
    fn dead_paths(&self) -> impl Iterator<Item = &Recovery> {
        self.record.dead_paths.iter()
    }

    /// Judged where there are enough recoveries.
    fn is_slow(&self) -> bool {
        let times = Times::of(&self.record.recoveries);
        times.count >= RECOVERIES_MIN && times.p99_s > RECOVERY_P99_S_MAX
    }

    /// With `at_least_once` transactions are not whole.
    fn grants(&self, counter: &str) -> bool {
        self.delivery == Delivery::AtLeastOnce && counter == "torn"
    }

    /// No mistake, and something to have made mistakes with. The oracle's count agrees with that of plain SQL, so that
    /// no single judge has to be believed.
    pub(super) fn is_clean(&self) -> bool {
        self.counters().all(|(name, count)| count == 0 || self.grants(name))
            && self.unsure == 0
            && self.verdict.events > 0
            && self.verdict.events == self.due_by_sql + self.verdict.duplicates
            && [self.slot_samples, self.health_samples, self.canary_bytes].iter().all(|count| *count > 0)
    }

    /// `target/torture/report.json` of this checkout; each delivery mode has a file of its own.
    fn file(&self) -> Result<PathBuf> {
        report_file(match self.delivery {
            Delivery::ExactlyOnce => "report.json",
            Delivery::AtLeastOnce => "report-at-least-once.json",
        })
    }

    /// With what the file says of the runs before, where there is one.
    pub(super) fn added_to_the_last(self) -> Result<Self> {
        let file = self.file()?;
        if !file.exists() {
            return Ok(self);
        }
        let last: Value = serde_json::from_slice(&std::fs::read(&file).context(file.display())?)?;
        serde_json::from_value(added(last, serde_json::to_value(self)?)).context(file.display())
    }

    /// Writes the file and says which.
    pub(super) fn write(&self) -> Result<PathBuf> {
        let file = self.file()?;
        let mut report = serde_json::to_value(self)?;
        report["recovery"] = serde_json::to_value(Times::of(&self.record.recoveries))?;
        report["clean"] = self.is_clean().into();
        std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n").context(file.display())?;
        Ok(file)
    }
}

/// A file in `target/torture` of this checkout.
pub(crate) fn report_file(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/torture");
    std::fs::create_dir_all(&folder).context(folder.display())?;
    Ok(folder.join(name))
}

/// Two runs as one: counts add up, lists follow each other, of words the later ones count, and the longer life.
fn added(earlier: Value, later: Value) -> Value {
    match (earlier, later) {
        (Value::Object(mut sum), Value::Object(later)) => {
            for (name, value) in later {
                let value = match (name.as_str(), sum.remove(&name)) {
                    (_, None) => value,
                    ("slot_settled_ms", Some(before)) if before.as_u64() > value.as_u64() => before,
                    ("slot_settled_ms", Some(_)) => value,
                    ("longest_life", Some(before)) if before["seconds"].as_f64() > value["seconds"].as_f64() => before,
                    ("longest_life", Some(_)) => value,
                    (_, Some(before)) => added(before, value),
                };
                sum.insert(name, value);
            }
            Value::Object(sum)
        }
        (Value::Array(mut all), Value::Array(later)) => {
            all.extend(later);
            Value::Array(all)
        }
        (Value::Number(before), Value::Number(more)) => match (before.as_u64(), more.as_u64()) {
            (Some(before), Some(more)) => (before + more).into(),
            _ => (before.as_f64().unwrap_or_default() + more.as_f64().unwrap_or_default()).into(),
        },
        (_, later) => later,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = if self.runs == 1 { "1 run".to_owned() } else { format!("{} runs", self.runs) };
        writeln!(f, "torture: {}, {runs}, {:.0} s, seeds {:?}", self.delivery.name(), self.seconds, self.seeds)?;
        self.faults(f)?;
        self.times(f)?;
        let Verdict { unpublished, adjacent_commits, .. } = self.verdict;
        writeln!(
            f,
            "{} transactions committed, {} unsure; {} events due by SQL, {unpublished} behind the checkpoint, \
             {adjacent_commits} commits adjacent",
            self.committed, self.unsure, self.due_by_sql,
        )?;
        writeln!(f, "verdict\n  {:<20}{:>10}", "events checked", self.verdict.events)?;
        for (name, count) in self.counters() {
            let remark = match count {
                0 => "",
                _ if self.grants(name) => "  (not judged)",
                _ => "  <--",
            };
            writeln!(f, "  {name:<20}{count:>10}{remark}")?;
        }
        let findings = self.verdict.findings.iter().map(|finding| format!("{}: {}", finding.counter, finding.what));
        findings.chain(self.notes.iter().cloned()).try_for_each(|note| writeln!(f, "  {note}"))?;
        write!(f, "{}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}

impl Report {
    fn faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.record.kills.iter().filter(|kill| !kill.reached).count();
        writeln!(f, "faults injected ({missed} kills by the clock, their failpoint was not reached)")?;
        for (fault, count) in &self.record.faults {
            writeln!(f, "  {fault:<40}{count:>6}")?;
        }
        if !self.snapshots.is_empty() {
            let kills: u32 = self.snapshots.iter().map(|round| round.kills).sum();
            writeln!(f, "  {:<40}{kills:>6}", "daemon killed while rows are read")?;
        }
        Ok(())
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { count, p50_s, p99_s, max_s, longest } = Times::of(&self.record.recoveries);
        let judged = if count >= RECOVERIES_MIN { "" } else { ", too few to be judged" };
        writeln!(
            f,
            "{count} recoveries: p50 {p50_s:.2} s, p99 {p99_s:.2} s, at most {max_s:.2} s ({longest}){judged}"
        )?;
        for path in self.dead_paths() {
            writeln!(f, "{}: /readyz was red after {:.1} s", path.fault, path.seconds)?;
        }
        let life = &self.longest_life;
        writeln!(
            f,
            "the longest life of a daemon, {:.0} s: {:.1} MB at most, {:+.1} MB an hour behind its first quarter; \
             {:.0} file descriptors at most, {:+.1} an hour; {:.1} MB that were said searched for canaries",
            life.seconds,
            life.resident_bytes_max / 1e6,
            life.resident_bytes_per_hour / 1e6,
            life.descriptors_max,
            life.descriptors_per_hour,
            self.canary_bytes as f64 / 1e6,
        )
    }
}
