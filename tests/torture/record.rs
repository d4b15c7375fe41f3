//! What was done, and how long it took to come back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Faults that went by, and what they led to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// How many of each kind.
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) kills: Vec<Kill>,
    pub(super) recoveries: Vec<Recovery>,
    /// Until a path that was dead was seen in `/readyz`.
    pub(super) dead_paths: Vec<Recovery>,
}

/// Where the daemon was killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kill {
    /// A failpoint with its count, or a moment in time.
    pub(super) at: String,
    /// False: it did not come by in time and was killed as it stood.
    pub(super) reached: bool,
}

/// How long something took after a fault of this kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Recovery {
    pub(super) fault: String,
    pub(super) seconds: f64,
}

impl Recovery {
    pub(super) fn new(fault: &str, took: Duration) -> Self {
        Self { fault: fault.to_owned(), seconds: took.as_secs_f64() }
    }
}

impl Record {
    /// A line now and then, so that a log shows where a run is.
    pub(super) fn count(&mut self, fault: &str) {
        *self.faults.entry(fault.to_owned()).or_default() += 1;
        let all: u64 = self.faults.values().sum();
        if all.is_multiple_of(10) {
            println!("{all} faults, the last one: {fault}");
        }
    }

    /// All is well again since the fault was cleared.
    pub(super) fn recovered(&mut self, fault: &str, cleared: Instant) {
        self.recoveries.push(Recovery::new(fault, cleared.elapsed()));
    }
}

/// Of how many, the middle, the one that 99 of 100 are not above, and the longest with its fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) count: usize,
    pub(super) p50_s: f64,
    pub(super) p99_s: f64,
    pub(super) max_s: f64,
    pub(super) longest: String,
}

impl Times {
    pub(super) fn of(recoveries: &[Recovery]) -> Self {
        let mut sorted: Vec<_> = recoveries.iter().collect();
        sorted.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1));
        let seconds = |percent| rank(percent).map_or(0.0, |recovery| recovery.seconds);
        Self {
            count: sorted.len(),
            p50_s: seconds(50),
            p99_s: seconds(99),
            max_s: seconds(100),
            longest: rank(100).map(|recovery| recovery.fault.clone()).unwrap_or_default(),
        }
    }
}
