//! What each connector is doing, for `/readyz`, `status` and the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Kind};

/// How long work may wait without a commit before the connector counts as stalled.
const STALL_AFTER: Duration = Duration::from_secs(20);

/// What a connector is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Checking, fencing, waiting for the first connection.
    Starting,
    /// Receiving changes.
    Streaming,
    /// After a failure of the world: it tries again by itself.
    Retrying,
    /// A person must act.
    Halted,
    /// Asked to stop.
    Stopped,
}

impl Phase {
    /// All, in the order of a connector's life.
    pub const ALL: [Phase; 5] = [Phase::Starting, Phase::Streaming, Phase::Retrying, Phase::Halted, Phase::Stopped];

    /// As `/readyz` and the metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Streaming => "streaming",
            Phase::Retrying => "retrying",
            Phase::Halted => "halted",
            Phase::Stopped => "stopped",
        }
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Kind and text of the error, where there is one.
    failure: Option<(Kind, String)>,
    /// Since when received work has waited for a commit; None when nothing waits.
    waiting_since: Option<Instant>,
}

/// One connector's health, shared between its threads and the HTTP side.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

/// What `/readyz` says of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True while the connector streams and received work gets committed.
    pub ready: bool,
    /// What it does.
    pub state: Phase,
    /// The error's kind, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What a person can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
    /// The command that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<&'static str>,
}

impl Default for Health {
    fn default() -> Health {
        let state = State { phase: Phase::Starting, failure: None, waiting_since: None };
        Health(Arc::new(Mutex::new(state)))
    }
}

impl Health {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters a phase that has no error: starting, streaming or stopped.
    pub fn enter(&self, phase: Phase) {
        self.with(|state| *state = State { phase, failure: None, waiting_since: None });
    }

    /// Enters `Retrying` or `Halted` with its cause.
    pub fn fail(&self, phase: Phase, error: &Error) {
        let failure = Some((error.kind(), error.chain()));
        self.with(|state| *state = State { phase, failure, waiting_since: None });
    }

    /// Received work waits for a commit (true) or none does (false); called once a batch.
    pub fn work_waits(&self, waits: bool) {
        self.with(|state| state.waiting_since = waits.then(|| state.waiting_since.unwrap_or_else(Instant::now)));
    }

    /// Received work was committed; if more waits, its wait begins now.
    pub fn committed(&self, more_waits: bool) {
        self.with(|state| state.waiting_since = more_waits.then(Instant::now));
    }

    /// The state as `/readyz` tells it.
    pub fn report(&self) -> Report {
        self.with(|state| {
            let stalled = state.waiting_since.is_some_and(|since| since.elapsed() > STALL_AFTER);
            let ready = state.phase == Phase::Streaming && !stalled;
            let mut report = Report { ready, state: state.phase, kind: None, cause: None, remedy: None, more: None };
            if let Some((kind, cause)) = &state.failure {
                report.kind = Some(kind.name());
                report.cause = Some(cause.clone());
                (report.remedy, report.more) = (Some(kind.remedy()), Some(kind.more()));
            } else if stalled {
                report.cause = Some("received changes wait for a commit on Kafka".to_owned());
                report.remedy = Some("check the brokers and the daemon's log");
            }
            report
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_streaming_connector_is_ready() {
        let health = Health::default();
        assert!(!health.report().ready);
        health.enter(Phase::Streaming);
        assert!(health.report().ready);
        health.fail(Phase::Retrying, &Error::new(Kind::KafkaUnreachable, "no broker answers"));
        let report = health.report();
        assert_eq!((report.ready, report.kind), (false, Some("kafka-unreachable")));
        assert_eq!(report.more, Some("walwright explain kafka-unreachable"));
        assert!(report.cause.unwrap().contains("no broker answers") && report.remedy.is_some());
    }

    #[test]
    fn work_that_waits_too_long_is_a_stall_until_it_is_committed() {
        let health = Health::default();
        health.enter(Phase::Streaming);
        health.with(|state| state.waiting_since = Instant::now().checked_sub(STALL_AFTER * 2));
        health.work_waits(true);
        assert!(!health.report().ready, "the first wait counts, not the last");
        health.committed(true);
        assert!(health.report().ready);
    }
}
