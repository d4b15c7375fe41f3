//! The moments of all kills, drawn from the seed.

use std::time::Duration;

use super::Arguments;
use crate::support::oms::workload::random::Random;

/// When the daemon is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// So long after its process was started, ready or not.
    AfterStart(Duration),
    /// So long after it was ready.
    AfterReady(Duration),
}

/// When a server is stopped, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// After the last recovery.
    pub(super) after: Duration,
    pub(super) lasts: Duration,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) daemon: Vec<Moment>,
    pub(super) postgres: Vec<Outage>,
    pub(super) broker: Vec<Outage>,
}

impl Plan {
    pub(super) fn new(arguments: &Arguments, seed: u64) -> Self {
        // The workload's streams are numbered from 1 on.
        let mut random = Random::new(seed, 0x746f_7274);
        let daemon = (0..arguments.cycles).map(|_| moment(&mut random)).collect();
        let postgres = (0..arguments.postgres_cycles).map(|_| outage(&mut random, 1_500)).collect();
        let broker = (0..arguments.broker_cycles).map(|_| outage(&mut random, 3_000)).collect();
        Self { daemon, postgres, broker }
    }
}

/// A third of the kills hits the start itself, wherever it then is; the others hit it at work.
fn moment(random: &mut Random) -> Moment {
    if random.percent(33) {
        Moment::AfterStart(between(random, 10, 1_500))
    } else {
        Moment::AfterReady(between(random, 0, 1_500))
    }
}

fn outage(random: &mut Random, longest_ms: u64) -> Outage {
    Outage { after: between(random, 50, 2_000), lasts: between(random, 0, longest_ms) }
}

fn between(random: &mut Random, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random.below(most_ms - least_ms + 1))
}
