//! Threads with a name and an owner. A panic in one is an error of its connector, never a silent end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::{Error, Kind, Result};

/// A running thread; joined by its owner.
pub(super) struct Task<T> {
    thread: JoinHandle<Result<T>>,
    /// Disconnects when the work is over.
    over: Receiver<()>,
}

impl<T: Send + 'static> Task<T> {
    /// Runs `work` on a thread called `name` (cut to 15 bytes by Linux).
    pub(super) fn spawn(name: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Task<T>> {
        let (running, over) = bounded(0);
        let work = move || {
            let _running: Sender<()> = running;
            guarded(work)
        };
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let failed = |error| Error::new(Kind::Bug, format!("cannot start thread {name}")).because(error);
        Ok(Task { thread: spawned.map_err(failed)?, over })
    }

    /// Waits for the end of the thread.
    pub(super) fn join(self) -> Result<T> {
        self.thread.join().unwrap_or_else(|panic| Err(of_panic(panic.as_ref())))
    }

    /// The same, but the task itself where the thread still runs at `until`.
    pub(super) fn join_until(self, until: Instant) -> std::result::Result<Result<T>, Task<T>> {
        match self.over.recv_deadline(until) {
            Err(RecvTimeoutError::Timeout) => Err(self),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(self.join()),
        }
    }
}

/// Does `work`; a panic in it is its error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(of_panic(panic.as_ref())))
}

fn of_panic(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::new(Kind::Bug, format!("a thread panicked: {}", text.as_deref().unwrap_or("no message")))
}

/// Tells any number of threads to stop, once.
pub(super) struct Stopper(#[allow(dead_code, reason = "dropping it is the signal")] Sender<()>);

/// Becomes ready when its `Stopper` is dropped.
#[derive(Clone)]
pub(super) struct Stop(Receiver<()>);

/// A new pair.
pub(super) fn stop_signal() -> (Stopper, Stop) {
    let (sender, receiver) = bounded(0);
    (Stopper(sender), Stop(receiver))
}

impl Stop {
    /// Whether the stopper is gone.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.0.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// Waits so long or until the stop; true when stopped.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        !matches!(self.0.recv_timeout(timeout), Err(RecvTimeoutError::Timeout))
    }

    /// For `select!`: ready (disconnected) when stopped.
    pub(super) fn channel(&self) -> &Receiver<()> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let task = Task::<()>::spawn("t", || panic!("boom {}", 7)).unwrap();
        let error = task.join().unwrap_err();
        assert_eq!((error.kind(), error.detail()), (Kind::Bug, "a thread panicked: boom 7"));
    }

    #[test]
    fn dropping_the_stopper_stops_all_clones() {
        let (stopper, stop) = stop_signal();
        let other = stop.clone();
        assert!(!stop.is_set() && !other.wait(Duration::from_millis(1)));
        drop(stopper);
        assert!(stop.is_set() && other.wait(Duration::from_secs(60)));
    }
}
