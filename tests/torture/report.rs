//! What came of it: a table for people and `target/torture/report.json` for machines.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Delivery;
use crate::support::oms::workload::journal::{Journal, Outcome};
use crate::support::oracle::Verdict;
use crate::support::{Context, Result, health_watch, slot_watch};

/// Faulty lines of the daemon's log that are shown.
const LINES_MAX: usize = 10;

/// Kills and recoveries that were gone through.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cycles {
    pub(super) daemon: u32,
    pub(super) postgres: u32,
    pub(super) broker: u32,
    #[serde(skip)]
    pub(super) kills: Vec<Kill>,
}

/// Where the daemon was killed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kill {
    /// A failpoint with its count, or a moment in time.
    pub(super) at: String,
    /// False: it did not come by in time and was killed as it stood.
    pub(super) reached: bool,
}

impl Cycles {
    /// A line now and then, so that a log shows where a run is.
    pub(super) fn show(&self) {
        let Self { daemon, postgres, broker, .. } = self;
        if (daemon + postgres + broker).is_multiple_of(10) {
            println!("cycles: daemon {daemon}, postgres {postgres}, broker {broker}");
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// With `--resume` several runs in a row make one report.
    runs: u32,
    seed: u64,
    seeds: Vec<u64>,
    delivery: &'static str,
    cycles: Cycles,
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
    liveness: u64,
    /// Times that the daemon was behind and told of no lag.
    honesty: u64,
    health_samples: u64,
    /// Panics and errors in the daemon's log.
    log_errors: u64,
    pub(super) seconds: f64,
    /// What was found, in words.
    notes: Vec<String>,
    kills: Vec<Kill>,
}

impl Report {
    pub(super) fn new(seed: u64, delivery: Delivery, mut cycles: Cycles, slot: &slot_watch::Report) -> Self {
        Self {
            runs: 1,
            seed,
            seeds: vec![seed],
            delivery: delivery.name(),
            kills: std::mem::take(&mut cycles.kills),
            cycles,
            committed: 0,
            unsure: 0,
            due_by_sql: 0,
            verdict: Verdict::default(),
            slot_ahead: slot.slot_ahead,
            slot_samples: slot.samples,
            slot_settled_ms: u64::try_from(slot.settled_after.as_millis()).unwrap_or(u64::MAX),
            liveness: 0,
            honesty: 0,
            health_samples: 0,
            log_errors: 0,
            seconds: 0.0,
            notes: slot.first.iter().cloned().collect(),
        }
    }

    pub(super) fn worked(&mut self, journal: &Journal) {
        self.committed = journal.count(Outcome::Committed);
        self.unsure = journal.count(Outcome::Unsure);
    }

    pub(super) fn watched(&mut self, health: health_watch::Report) {
        self.liveness += health.stalled + health.halted;
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
            ("slot_ahead", self.slot_ahead),
            ("liveness", self.liveness),
            ("honesty", self.honesty),
            ("log_errors", self.log_errors),
        ];
        self.verdict.counters().into_iter().chain(watched)
    }

    /// No mistake, and something to have made mistakes with. The oracle's count agrees with that of plain SQL, so that
    /// no single judge has to be believed.
    pub(super) fn is_clean(&self) -> bool {
        let granted = |name: &str| name.ends_with("duplicates") && self.delivery == Delivery::AtLeastOnce.name();
        self.counters().all(|(name, count)| count == 0 || granted(name))
            && self.unsure == 0
            && self.verdict.events > 0
            && self.verdict.events == self.due_by_sql + self.verdict.duplicates
            && self.slot_samples > 0
            && self.health_samples > 0
    }

    /// Writes `target/torture/report.json` of this checkout and says so; `resume`: added to what is there.
    pub(super) fn write(&self, resume: bool) -> Result<String> {
        let file = report_file("report.json")?;
        let mut report = serde_json::to_value(self)?;
        if resume && file.exists() {
            let earlier: Value = serde_json::from_slice(&std::fs::read(&file).context(file.display())?)?;
            if earlier["delivery"] != report["delivery"] {
                return Err(format!("{} is of another delivery mode; this run was not added", file.display()).into());
            }
            report = added(earlier, report);
        }
        std::fs::write(&file, serde_json::to_vec_pretty(&report)?).context(file.display())?;
        let (runs, cycles, seconds) = (&report["runs"], &report["cycles"], &report["seconds"]);
        Ok(format!("report: {}: {runs} runs, {cycles}, {seconds} s", file.display()))
    }
}

/// A file in `target/torture` of this checkout.
pub(crate) fn report_file(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/torture");
    std::fs::create_dir_all(&folder).context(folder.display())?;
    Ok(folder.join(name))
}

/// Two runs as one: counts add up, lists follow each other, of words, the seed and the longest wait the one that counts.
fn added(earlier: Value, later: Value) -> Value {
    match (earlier, later) {
        (Value::Object(mut sum), Value::Object(later)) => {
            for (name, value) in later {
                let before = sum.remove(&name);
                let value = match (name.as_str(), before) {
                    ("seed", _) | (_, None) => value,
                    ("slot_settled_ms", Some(before)) if before.as_u64() > value.as_u64() => before,
                    ("slot_settled_ms", Some(_)) => value,
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
        let Cycles { daemon, postgres, broker, .. } = self.cycles;
        let missed = self.kills.iter().filter(|kill| !kill.reached).count();
        writeln!(
            f,
            "killed: daemon {daemon} times ({missed} by the clock, their failpoint was not reached), postgres {postgres}, \
             broker {broker}; seed {}",
            self.seed
        )?;
        writeln!(
            f,
            "{} transactions committed, {} unsure, {} events due by SQL, {} seen, {} behind the checkpoint, {} commits adjacent, {:.0} s",
            self.committed,
            self.unsure,
            self.due_by_sql,
            self.verdict.events,
            self.verdict.unpublished,
            self.verdict.adjacent_commits,
            self.seconds
        )?;
        for (name, count) in self.counters() {
            writeln!(f, "  {name:<20}{count:>8}{}", if count == 0 { "" } else { "  <--" })?;
        }
        let findings = self.verdict.findings.iter().map(|finding| format!("{}: {}", finding.counter, finding.what));
        findings.chain(self.notes.iter().cloned()).try_for_each(|note| writeln!(f, "  {note}"))?;
        write!(f, "{}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}
