//! What happens and when, drawn from the seed: the same seed gives the same faults in the same order.

use std::fmt;
use std::time::Duration;

use walwright::faults::Failpoint;

use super::Arguments;
use super::ways::{Server, Sides};
use crate::support::fault::{Deed, Fault};
use crate::support::oms::workload::random::Random;
use crate::support::proxy::Side;

/// Of so many kills one happens while rows are read.
const SNAPSHOT_SHARE: u32 = 3;
/// Kills of one snapshot.
const SNAPSHOT_KILLS: u32 = 20;

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

/// A trouble, and how long after the last recovery it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blow {
    pub(super) after: Duration,
    pub(super) trouble: Trouble,
}

/// What happens to the servers, the ways and the daemon while no process of it is killed. Each lasts so long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    PostgresCrash(Duration),
    /// A fast shutdown, which waits for the walsender's client.
    PostgresRestart(Duration),
    BrokerKill(Duration),
    /// The connection that brings this byte ends.
    Cut {
        server: Server,
        side: Side,
        bytes: usize,
        by_reset: bool,
    },
    /// `pg_terminate_backend`
    WalsenderTerminated,
    /// Nothing passes, and it arrives afterwards.
    BlackHole(Server, Sides, Duration),
    /// Nothing passes until the daemon has said so.
    DeadPath(Server, Sides),
    Delay(Server, Duration, Duration),
    Slices(Server, usize, Duration),
    /// SIGSTOP, then SIGCONT.
    Frozen(Duration),
}

impl Trouble {
    /// As the report counts it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::PostgresCrash(_) => "postgres crashed".to_owned(),
            Self::PostgresRestart(_) => "postgres restarted".to_owned(),
            Self::BrokerKill(_) => "broker killed".to_owned(),
            Self::Cut { server, by_reset: false, .. } => format!("connection to {} cut", server.name()),
            Self::Cut { server, by_reset: true, .. } => format!("connection to {} reset", server.name()),
            Self::WalsenderTerminated => "walsender terminated".to_owned(),
            Self::BlackHole(server, Sides::Both, _) => format!("{} in a black hole", server.name()),
            Self::BlackHole(server, Sides::One(_), _) => format!("{} in a black hole, one way", server.name()),
            Self::DeadPath(server, Sides::Both) => format!("dead path to {}", server.name()),
            Self::DeadPath(server, Sides::One(_)) => format!("dead path to {}, one way", server.name()),
            Self::Delay(server, ..) => format!("way to {} slow", server.name()),
            Self::Slices(server, ..) => format!("way to {} in slices", server.name()),
            Self::Frozen(_) => "daemon frozen".to_owned(),
        }
    }
}

/// What a daemon meets at its start.
#[derive(Clone, Copy, Debug)]
pub(super) enum RegistryTrouble {
    /// It is away, for so long.
    Away(Duration),
    Cut {
        side: Side,
        bytes: usize,
        by_reset: bool,
    },
    Silent(Duration),
}

impl RegistryTrouble {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Away(_) => "registry restarted",
            Self::Cut { by_reset: false, .. } => "connection to registry cut",
            Self::Cut { by_reset: true, .. } => "connection to registry reset",
            Self::Silent(_) => "registry in a black hole",
        }
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) kills: Vec<Moment>,
    pub(super) registry: Vec<RegistryTrouble>,
    pub(super) blows: Vec<Blow>,
    /// Kills of each snapshot.
    pub(super) snapshots: Vec<u32>,
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
        let random = &mut Random::new(seed, 0x746f_7274);
        let in_snapshots = if arguments.reads_snapshots() { arguments.cycles / SNAPSHOT_SHARE } else { 0 };
        let kills = (0..arguments.cycles - in_snapshots).map(|_| moment(random)).collect();
        let registry = (0..arguments.cuts.div_ceil(50).max(3)).filter(|_| arguments.cuts > 0);
        let registry = registry.map(|number| registry_trouble(number, random)).collect();
        let crashes = (0..arguments.postgres_cycles).map(|_| Trouble::PostgresCrash(between(random, 0, 1_500)));
        let mut troubles: Vec<_> = crashes.collect();
        troubles.extend((0..arguments.broker_cycles).map(|_| Trouble::BrokerKill(between(random, 0, 3_000))));
        troubles.extend((0..arguments.cuts).map(|_| cut(random)));
        troubles.extend((0..arguments.cuts / 4).map(|number| other(number, random)));
        troubles.extend((0..arguments.cuts.div_ceil(400)).map(|_| Trouble::DeadPath(server(random), sides(random))));
        shuffle(&mut troubles, random);
        let blows = troubles.into_iter().map(|trouble| Blow { after: between(random, 0, 700), trouble }).collect();
        let rounds = in_snapshots.div_ceil(SNAPSHOT_KILLS);
        let snapshots = (0..rounds).map(|round| (in_snapshots + round) / rounds).collect();
        Self { kills, registry, blows, snapshots }
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

/// One connection of ten is ended by the server, three by a reset. How many bytes pass before is about what the workload
/// sends in a second or two.
fn cut(random: &mut Random) -> Trouble {
    if random.percent(10) {
        return Trouble::WalsenderTerminated;
    }
    let (server, side) = (server(random), side(random));
    let most = match (server, side) {
        (Server::Postgres, Side::Client) => 300,
        (Server::Kafka, Side::Server) => 8_000,
        _ => 40_000,
    };
    Trouble::Cut { server, side, bytes: bytes(random, most), by_reset: random.percent(33) }
}

/// Each kind in turn, so that a short run has all.
fn other(number: u32, random: &mut Random) -> Trouble {
    match number % 7 {
        0 => Trouble::BlackHole(Server::Postgres, sides(random), between(random, 1_000, 8_000)),
        1 => Trouble::BlackHole(Server::Kafka, sides(random), between(random, 1_000, 8_000)),
        2 => Trouble::Frozen(between(random, 500, 8_000)),
        3 => Trouble::PostgresRestart(between(random, 0, 1_500)),
        4 => Trouble::Delay(server(random), between(random, 5, 60), between(random, 1_000, 4_000)),
        5 => Trouble::Slices(Server::Postgres, bytes(random, 40), between(random, 1_000, 4_000)),
        _ => Trouble::Slices(Server::Kafka, bytes(random, 40), between(random, 1_000, 4_000)),
    }
}

fn registry_trouble(number: u32, random: &mut Random) -> RegistryTrouble {
    match number % 3 {
        0 => RegistryTrouble::Away(between(random, 0, 2_000)),
        1 => RegistryTrouble::Cut { side: side(random), bytes: bytes(random, 400), by_reset: random.percent(33) },
        _ => RegistryTrouble::Silent(between(random, 1_000, 8_000)),
    }
}

fn server(random: &mut Random) -> Server {
    *random.pick(&[Server::Postgres, Server::Kafka])
}

fn side(random: &mut Random) -> Side {
    *random.pick(&[Side::Client, Side::Server])
}

fn sides(random: &mut Random) -> Sides {
    if random.percent(50) { Sides::Both } else { Sides::One(side(random)) }
}

fn bytes(random: &mut Random, most: u64) -> usize {
    1 + usize::try_from(random.below(most)).unwrap_or_default()
}

fn count(random: &mut Random, most: u64) -> u32 {
    1 + u32::try_from(random.below(most)).unwrap_or_default()
}

fn between(random: &mut Random, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random.below(most_ms - least_ms + 1))
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}
