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

/// The rows are read again.
#[derive(Debug)]
pub(super) struct Backfill {
    /// Those for which this holds, as snapshot.py understands it; None: all.
    pub(super) condition: Option<&'static str>,
    /// It is paused for a moment, and goes on.
    pub(super) paused: bool,
    pub(super) kills: Vec<Moment>,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rows_per_second: u64,
    pub(super) kills: Vec<Moment>,
    pub(super) backfills: Vec<Backfill>,
    /// For the backfills, which are to be over soon.
    pub(super) backfill_rows_per_second: u64,
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
        let kills = (0..kills).map(&mut moment).collect();
        let backfills = (0..arguments.backfills).map(|number| backfill(number, arguments.rows, &mut random)).collect();
        let backfill_rows_per_second = (arguments.rows / 4).max(rows_per_second);
        Self { rows_per_second, kills, backfills, backfill_rows_per_second }
    }

    pub(super) fn backfill_kills(&self) -> usize {
        self.backfills.iter().map(|backfill| backfill.kills.len()).sum()
    }
}

/// Every other one is of half of the rows that are there in the beginning, all of which have even ids, and hits a start too.
fn backfill(number: u32, rows: u64, random: &mut Random) -> Backfill {
    let is_part = number % 2 == 1;
    let rows = if is_part { rows / 2 } else { rows };
    let mut kills =
        vec![Moment::Rows(rows * (100 + random.below(400)) / 1_000, Duration::from_millis(random.below(100)))];
    if is_part {
        kills.push(Moment::AfterStart(Duration::from_millis(50 + random.below(700))));
    }
    Backfill { condition: is_part.then_some("id % 4 = 2"), paused: !is_part, kills }
}

impl Backfill {
    /// The command's arguments.
    pub(super) fn arguments(&self) -> Vec<&'static str> {
        let condition = self.condition.into_iter().flat_map(|condition| ["--where", condition]);
        ["--table", "public.orders"].into_iter().chain(condition).collect()
    }
}
