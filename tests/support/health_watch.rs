//! The watchdog of what the daemon says of itself: its `/readyz` and its lag beside the truth, twice a second.
//!
//! The truth is a position that was flushed some time ago and is not in a committed checkpoint yet: the daemon is behind
//! at least since then. It may be so for long (servers are away, there is much to catch up), but it may not keep quiet
//! about it. Servers and daemon may be down.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use walwright::model::Lsn;

use super::Result;
use super::oms::site::metric;
use super::registry::{get, get_any};
use super::slot_watch::{self, Checkpoints, LsnQuery};

const PERIOD: Duration = Duration::from_millis(500);
/// How long it may be behind and yet tell of no lag: an idle connector writes its checkpoint every 10 s, and asks the
/// server for the end of its WAL every 5 s.
const HONEST: Duration = Duration::from_secs(20);
/// How long a connector that is behind may make no progress without a cause in `/readyz`, while all servers answer.
const STALLED: Duration = Duration::from_secs(45);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) samples: u64,
    /// Times that it told of no lag and was behind, for [`HONEST`].
    pub(crate) dishonest: u64,
    /// Times that it stood still without saying why, for [`STALLED`].
    pub(crate) stalled: u64,
    /// Halts; none is due where this watchdog is used.
    pub(crate) halted: u64,
    /// Each of these in words.
    pub(crate) found: Vec<String>,
}

pub(crate) struct HealthWatch {
    stop: Sender<()>,
    thread: JoinHandle<Report>,
}

impl HealthWatch {
    /// `admin` is where the daemon and each of its successors answer.
    pub(crate) fn start(watched: &slot_watch::Watched, admin: SocketAddr, connector: &str) -> Result<Self> {
        let mut servers = Servers {
            flushed: LsnQuery::new(&watched.postgres, "SELECT pg_current_wal_flush_lsn()::text".to_owned()),
            checkpoints: Checkpoints::new(watched)?,
            readyz: format!("http://{admin}/readyz/{connector}"),
            metrics: format!("http://{admin}/metrics"),
        };
        let (stop, stopped) = channel();
        let thread = Builder::new().name("health-watch".to_owned()).spawn(move || servers.watch(&stopped))?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn finish(self) -> Result<Report> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the watchdog of the health panicked".into())
    }
}

struct Servers {
    flushed: LsnQuery,
    checkpoints: Checkpoints,
    readyz: String,
    metrics: String,
}

impl Servers {
    fn watch(&mut self, stop: &Receiver<()>) -> Report {
        let mut judge = Judge::default();
        while matches!(stop.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout)) {
            // What is read first can only be too old: then it is too lenient.
            let (flushed, health) = (self.flushed.ask(), self.health());
            let sample = Sample { flushed, next_lsn: self.checkpoints.newest(), health };
            judge.look(Instant::now(), &sample);
        }
        judge.report
    }

    /// None where nobody answers.
    fn health(&self) -> Option<Health> {
        let report: Value = serde_json::from_str(&get_any(&self.readyz).ok()?).ok()?;
        let metrics = get(&self.metrics).ok()?;
        let lag = ["walwright_lag_seconds", "walwright_lag_bytes"].map(|name| metric(&metrics, name).unwrap_or(0.0));
        Some(Health { lags: lag.iter().any(|lag| *lag > 0.0), report })
    }
}

/// What the daemon says.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) lags: bool,
    /// `/readyz/<connector>`
    pub(crate) report: Value,
}

impl Health {
    fn gives_a_cause(&self) -> bool {
        self.report["ready"] == false && self.report["cause"].is_string()
    }
}

/// One look; what does not answer is None.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) flushed: Option<Lsn>,
    pub(crate) next_lsn: Option<Lsn>,
    pub(crate) health: Option<Health>,
}

/// What follows from the samples; it has no clock of its own.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) report: Report,
    next_lsn: Option<Lsn>,
    /// Positions that are not in the checkpoint yet, with the time at which they were seen, oldest first.
    behind: VecDeque<(Instant, Lsn)>,
    /// Since when every look found: behind, and no lag told of.
    lagless_since: Option<Instant>,
    /// Since when every look found: behind, no progress, all servers there, no cause given.
    still_since: Option<Instant>,
    halt: Option<Value>,
}

impl Judge {
    pub(crate) fn look(&mut self, now: Instant, sample: &Sample) {
        let moved = sample.next_lsn.is_some() && sample.next_lsn != self.next_lsn;
        self.next_lsn = sample.next_lsn.or(self.next_lsn);
        // Before the first checkpoint there is nothing to compare with.
        let Some(next_lsn) = self.next_lsn else { return };
        self.report.samples += 1;
        self.behind.extend(sample.flushed.map(|flushed| (now, flushed)));
        while self.behind.pop_front_if(|(_, flushed)| *flushed <= next_lsn).is_some() {}
        self.halted(sample.health.as_ref());

        let lagless = sample.health.as_ref().is_some_and(|health| !health.lags);
        if self.lasts(now, HONEST, lagless, |judge| &mut judge.lagless_since) {
            self.report.dishonest += 1;
            self.found(format!("behind for {} s without any lag: {sample:?}", HONEST.as_secs()));
        }
        let servers = sample.flushed.is_some() && sample.next_lsn.is_some();
        let cause = sample.health.as_ref().is_some_and(Health::gives_a_cause);
        if self.lasts(now, STALLED, servers && !moved && !cause, |judge| &mut judge.still_since) {
            self.report.stalled += 1;
            self.found(format!("no progress for {} s, and no cause: {sample:?}", STALLED.as_secs()));
        }
    }

    /// Whether it has been so, and behind, for `limit`; then the time begins anew.
    fn lasts(
        &mut self,
        now: Instant,
        limit: Duration,
        is_so: bool,
        since: fn(&mut Self) -> &mut Option<Instant>,
    ) -> bool {
        let behind = self.behind.front().map(|(seen, _)| *seen);
        let Some(behind) = behind.filter(|_| is_so) else {
            *since(self) = None;
            return false;
        };
        let begun = *since(self).get_or_insert(now);
        let lasts = now - begun.max(behind) >= limit;
        if lasts {
            *since(self) = None;
        }
        lasts
    }

    fn halted(&mut self, health: Option<&Health>) {
        let Some(health) = health else { return };
        let halt = (health.report["state"] == "halted").then(|| health.report["cause"].clone());
        if let Some(cause) = halt.as_ref().filter(|_| halt != self.halt) {
            self.report.halted += 1;
            self.found(format!("halted: {cause}"));
        }
        self.halt = halt;
    }

    fn found(&mut self, what: String) {
        self.report.found.push(what);
    }
}
