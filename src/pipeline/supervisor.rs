//! One connector's life: attempts, backoff, halts. A halted connector stays halted until a reload or a restart; the others
//! go on. A panic in an attempt is a halt too.

use std::time::{Duration, Instant};

use super::connector::{Connector, End};
use super::health::Phase;
use super::task::{Stop, guarded};
use crate::error::{At, Disposition, Error, Kind};
use crate::model::Lsn;

/// First and longest pause between attempts.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// A slot that someone holds is asked for again after this.
const SLOT_HELD_PAUSE: Duration = Duration::from_secs(1);
/// An attempt that lasted so long has worked, as has one that committed: the next failure starts from the first pause.
const STEADY: Duration = Duration::from_secs(10);

/// Runs the connector until `stop`.
pub(super) fn supervise(connector: &mut Connector, stop: &Stop) {
    let mut retries = Retries::default();
    // The cause of the last failure stays in sight until the connector streams again.
    connector.health().enter(Phase::Starting);
    while !stop.is_set() {
        let (begun, commits) = (Instant::now(), connector.metrics().commits());
        let error = match guarded(|| connector.attempt(stop)) {
            Ok(End::Stopped) => break,
            Ok(End::Again) => continue,
            Err(error) => error.at(At::connector(connector.name())),
        };
        connector.metrics().unknown();
        let committed = connector.metrics().commits() > commits;
        match retries.judge(&error, begun.elapsed(), committed, random()) {
            Some(pause) => {
                connector.metrics().retry(error.kind());
                retries.log(&error, pause);
                connector.health().fail(Phase::Retrying, &error);
                stop.wait(pause);
            }
            None => {
                tracing::error!(error = %error.chain(), remedy = error.remedy(), more = error.more(), "connector halted");
                connector.health().fail(Phase::Halted, &error);
                while !stop.wait(Duration::from_secs(3600)) {}
                return;
            }
        }
    }
    connector.health().enter(Phase::Stopped);
}

/// What is remembered from attempt to attempt.
#[derive(Default)]
pub(super) struct Retries {
    count: u32,
    logged: Option<String>,
    /// The source transaction that did not fit into its Kafka transaction last time.
    too_long: Option<Lsn>,
}

impl Retries {
    /// The pause before the next attempt, after one that lasted so long, may have committed, and ended with `error`;
    /// None: halt. `random` spreads connectors that failed together.
    pub(super) fn judge(&mut self, error: &Error, lasted: Duration, committed: bool, random: u64) -> Option<Duration> {
        if lasted >= STEADY || committed {
            (self.count, self.logged) = (0, None);
        }
        let pause = match error.disposition() {
            Disposition::Halt if error.kind() == Kind::TransactionTooLong => {
                // Rows that were read have no position: the next attempt takes fewer at once, so it is not the same.
                let Some(lsn) = error.place().position.map(|position| position.lsn) else {
                    self.count += 1;
                    return Some(jittered(self.count, random));
                };
                if self.too_long == Some(lsn) {
                    return None;
                }
                self.too_long = Some(lsn);
                BACKOFF_FIRST
            }
            Disposition::Halt | Disposition::Bug => return None,
            Disposition::Retry if error.kind() == Kind::SlotHeld => SLOT_HELD_PAUSE,
            Disposition::Retry => jittered(self.count, random),
        };
        self.count += 1;
        Some(pause)
    }

    /// Logs a failure once, not at every attempt.
    fn log(&mut self, error: &Error, pause: Duration) {
        let text = error.chain();
        if self.logged.as_ref() != Some(&text) {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(error = %text, remedy = error.remedy(), more = error.more(), pause_ms, "connector retries");
            self.logged = Some(text);
        }
    }
}

/// Doubles with each attempt up to the longest pause; between half and all of it, so that many connectors spread.
fn jittered(count: u32, random: u64) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << count.min(10)).min(BACKOFF_LAST);
    full / 2 + (full / 2).mul_f64((random % 1000) as f64 / 1000.0)
}

fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    #[test]
    fn pauses_grow_to_their_limit_and_never_vanish() {
        for count in 0..40 {
            let pause = jittered(count, 999 * u64::from(count));
            assert!(pause >= BACKOFF_FIRST / 2 && pause <= BACKOFF_LAST, "{count}: {pause:?}");
        }
        assert!(jittered(30, 0) >= BACKOFF_LAST / 2);
    }

    #[test]
    fn a_transaction_that_is_too_long_halts_the_second_time() {
        let too_long = |lsn| {
            let position = Position { epoch: 0, lsn: Lsn(lsn), n: 0, r: 0 };
            Error::new(Kind::TransactionTooLong, "t").at(At::position(position))
        };
        let mut retries = Retries::default();
        let mut judge = |error: &Error| retries.judge(error, Duration::ZERO, false, 0);
        assert!(judge(&too_long(5)).is_some());
        assert!(judge(&too_long(7)).is_some(), "another transaction");
        assert!(judge(&too_long(7)).is_none());
    }

    #[test]
    fn rows_that_are_too_many_at_once_do_not_halt() {
        let mut retries = Retries::default();
        let error = Error::new(Kind::TransactionTooLong, "t");
        assert!((0..20).all(|_| retries.judge(&error, Duration::ZERO, false, 0).is_some()));
    }

    #[test]
    fn facts_halt_and_failures_of_the_world_do_not() {
        let mut retries = Retries::default();
        let mut judge = |kind| retries.judge(&Error::new(kind, "e"), Duration::ZERO, false, 0);
        assert_eq!(judge(Kind::SlotAhead), None);
        assert_eq!(judge(Kind::Bug), None);
        assert_eq!(judge(Kind::SlotHeld), Some(SLOT_HELD_PAUSE));
    }
}
