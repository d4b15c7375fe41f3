//! What the integration tests, the demo, the kill tests and the benchmarks stand on: real servers in a sandbox.
//!
//! ```text
//! cache     packages by pinned version and checksum -> the user's cache folder
//! sandbox   one folder, one loopback address and one log folder for a set of servers
//! process   a child that ends with its owner (reaper: also where the owner is killed)
//! certificates, proxy, tls_proxy     what stands between: TLS' authority, a network that stalls, a front with TLS
//! postgres, kafka, registry, daemon     one server each, over process
//! stack     all three servers: shared by a test binary, or a test's own
//! fault     a point at which a daemon kills itself, or stands still
//! oms       the worked example: a database, a workload, and a daemon on it
//! order     one row of it as a server sends it, and what the stages make of it
//! subscriber, event     what a read_committed consumer sees, decoded
//! oracle    was everything published once, in order, whole and right? slot_watch: did the slot stay behind it?
//! scene     one connector on a small database, its files, daemons on it, and what a subscriber sees
//! seen, event           what a read_committed consumer sees, decoded
//! hazard                rows that are read while the worst happens, on a Postgres of their own
//! slot_watch            did the slot stay behind the checkpoint?
//! session_watch         what do the daemon's sessions hold at the source?
//! health_watch          did the daemon say so when it was behind, and stop only with a reason?
//! process_watch         do the daemon's memory and file descriptors grow?
//! wall_clock            a wall clock of the daemon's own, which a test sets
//! canary                does the daemon say what it must keep to itself?
//! ```
#![allow(dead_code, reason = "each test target uses its own part")]

pub(crate) mod cache;
pub(crate) mod canary;
pub(crate) mod certificates;
pub(crate) mod daemon;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod hazard;
pub(crate) mod health_watch;
pub(crate) mod kafka;
pub(crate) mod oms;
pub(crate) mod oracle;
pub(crate) mod order;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod process_watch;
pub(crate) mod proxy;
pub(crate) mod reaper;
pub(crate) mod registry;
pub(crate) mod sandbox;
pub(crate) mod scene;
pub(crate) mod seen;
pub(crate) mod session_watch;
pub(crate) mod slot_watch;
pub(crate) mod sql;
pub(crate) mod stack;
pub(crate) mod subscriber;
pub(crate) mod tls_proxy;
pub(crate) mod wall_clock;

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A fault of the stack is a sentence for the person who runs it.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Says what was being done when an error came up.
pub(crate) trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Into<Fault>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {}", chain(&*error.into())).into())
    }
}

/// An error with its causes: tokio-postgres, for one, says "db error" and leaves the rest to the cause.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The runtime that drives SQL connections and admin requests, for callers that are themselves not async.
pub(crate) fn runtime() -> Result<&'static tokio::runtime::Runtime> {
    static RUNTIME: LazyLock<std::io::Result<tokio::runtime::Runtime>> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build());
    RUNTIME.as_ref().context("start the tests' runtime")
}

/// Asks `probe` until it has an answer. `None` when `within` is over.
#[allow(clippy::disallowed_methods, reason = "a server announces to nobody that it is ready: it must be asked again")]
pub(crate) fn poll<T>(within: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = probe()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
