//! The moments of all kills, drawn from the seed.

use std::fmt;
use std::time::Duration;

use walwright::faults::Failpoint;

use super::Arguments;
use crate::support::fault::{Deed, Fault};
use crate::support::oms::workload::random::Random;

/// When the daemon is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// So long after its process was started, ready or not.
    AfterStart(Duration),
    /// So long after it was ready.
    AfterReady(Duration),
    /// Where it then is in its own work.
    At(Fault),
}

impl Moment {
    /// What the daemon is started with.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Self::At(fault) => Some(*fault),
            Self::AfterStart(_) | Self::AfterReady(_) => None,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterStart(wait) => write!(f, "{} ms after its start", wait.as_millis()),
            Self::AfterReady(wait) => write!(f, "{} ms after it was ready", wait.as_millis()),
            Self::At(fault) => fault.fmt(f),
        }
    }
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

/// The creation of slot, topics and first checkpoint, each cut off somewhere.
pub(super) const FIRST_STARTS: [Moment; 5] = [
    Moment::AfterStart(Duration::from_millis(250)),
    Moment::At(Fault { point: Failpoint::FencedRead, count: 1, deed: Deed::Kill }),
    Moment::At(Fault { point: Failpoint::IntentWritten, count: 1, deed: Deed::Kill }),
    Moment::At(Fault { point: Failpoint::SlotCreated, count: 1, deed: Deed::Kill }),
    Moment::At(Fault { point: Failpoint::CheckpointWritten, count: 1, deed: Deed::Kill }),
];

/// Points that each start with a checkpoint passes, once but for the fenced ids.
const OF_A_START: &[Failpoint] = &[
    Failpoint::StateRead,
    Failpoint::ServerIdentified,
    Failpoint::JudgedUnfenced,
    Failpoint::ControlFenced,
    Failpoint::DataFenced,
    Failpoint::FencedRead,
    Failpoint::TakeoverWritten,
    Failpoint::Judged,
    Failpoint::TopicsPrepared,
    Failpoint::StreamStarted,
    Failpoint::SlotRead,
];

/// Points that a daemon at work passes, and how often at most before it is killed there.
const OF_THE_WORK: &[(Failpoint, u64)] = &[
    (Failpoint::BeginReceived, 60),
    (Failpoint::RelationReceived, 6),
    (Failpoint::RowReceived, 300),
    (Failpoint::CommitReceived, 60),
    (Failpoint::KeepaliveReceived, 8),
    (Failpoint::GroupBegun, 30),
    (Failpoint::RecordsSent, 30),
    (Failpoint::CheckpointSent, 30),
    (Failpoint::Delivered, 30),
    (Failpoint::CommitSent, 30),
    (Failpoint::CommitAcknowledged, 30),
    (Failpoint::Confirmed, 30),
    (Failpoint::StatusSent, 3),
];

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

/// Two kills of three are at a failpoint, the others at no point of ours. A third of each hits the start.
fn moment(random: &mut Random) -> Moment {
    match random.below(9) {
        0 => Moment::AfterStart(between(random, 10, 1_500)),
        1 | 2 => Moment::AfterReady(between(random, 0, 1_500)),
        3 | 4 => {
            let point = *random.pick(OF_A_START);
            let most = if point == Failpoint::DataFenced { 8 } else { 1 };
            Moment::At(Fault::kill(point, count(random, most)))
        }
        _ => {
            let (point, most) = *random.pick(OF_THE_WORK);
            let count = count(random, most);
            // What is sent is somewhere on its way for a few milliseconds.
            let deed = match point {
                Failpoint::CommitSent => Deed::KillAfter(Duration::from_micros(random.below(5_000))),
                _ => Deed::Kill,
            };
            Moment::At(Fault { point, count, deed })
        }
    }
}

fn count(random: &mut Random, most: u64) -> u32 {
    1 + u32::try_from(random.below(most)).unwrap_or_default()
}

fn outage(random: &mut Random, longest_ms: u64) -> Outage {
    Outage { after: between(random, 50, 2_000), lasts: between(random, 0, longest_ms) }
}

fn between(random: &mut Random, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random.below(most_ms - least_ms + 1))
}
