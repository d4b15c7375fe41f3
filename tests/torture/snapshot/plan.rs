//! How fast the rows are read, and how far the snapshot is when the daemon is killed.

use std::time::Duration;

use super::Arguments;
use crate::support::oms::workload::random::Random;

/// The time that the rows between two kills are to take, at least.
const PER_KILL: u64 = 3;
/// What two cores read, publish and write beside, with some room.
const ROWS_PER_SECOND_MAX: u64 = 20_000;
const ROWS_PER_SECOND_MIN: u64 = 1_000;

/// When the daemon is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// So long after so many rows were published: what is published is seen just after a commit.
    Rows(u64, Duration),
    /// So long after it was started, ready or not.
    AfterStart(Duration),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rows_per_second: u64,
    pub(super) kills: Vec<Moment>,
}

impl Plan {
    /// Every fourth kill hits the start behind the third.
    pub(super) fn new(arguments: &Arguments, seed: u64) -> Self {
        let mut random = Random::new(seed, 0x736e_6170);
        let kills = u64::from(arguments.kills);
        let lasts = (PER_KILL * kills).max(1);
        let rows_per_second = (arguments.rows / lasts).clamp(ROWS_PER_SECOND_MIN, ROWS_PER_SECOND_MAX);
        // The last rows are published in a moment: a kill must come before it.
        let spread = arguments.rows * 95 / 100;
        let mut moment = |number: u64| {
            if number % 4 == 3 {
                return Moment::AfterStart(Duration::from_millis(50 + random.below(1_000)));
            }
            let rows = (number * 1_000 + random.below(1_000)) * spread / (kills * 1_000);
            Moment::Rows(rows, Duration::from_millis(random.below(150)))
        };
        Self { rows_per_second, kills: (0..kills).map(&mut moment).collect() }
    }
}
