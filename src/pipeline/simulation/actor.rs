//! Who can do something, in which order, and what may happen instead.

use std::time::Duration;

use super::choice::Subject;
use super::cluster::Cluster;
use super::kafka::PARTITIONS;

const SOON: Duration = Duration::from_secs(1);
/// Until everybody else waits.
pub(super) const MOMENT: Duration = Duration::from_millis(1);
/// A good part of what a transaction may last.
const SLOW: Duration = Duration::from_secs(4);
/// Longer than a transaction or a silent replication connection lives.
const LONG: Duration = Duration::from_secs(15);
/// Longer than the committer bears Kafka's absence.
const OUTAGE: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// The coordinator writes a transaction's marker to a partition.
    Mark(usize),
    /// Acknowledgements reach a producer.
    Acknowledge,
    /// A partition takes what a producer sends.
    Append(usize),
    /// A standby status update reaches the server.
    Report,
    /// The server sees that a connection is gone.
    HangUp,
    PostgresStart,
    /// The walsender sends.
    Send,
    /// An instance goes on.
    Go(usize),
    /// The source's next commit.
    Write,
    /// An instance is started.
    Start(usize),
    /// The coordinator ends a transaction that has lasted too long.
    TimeOut,
}

/// In the order in which they run.
pub(super) const ACTORS: [Actor; 17] = [
    Actor::Mark(0),
    Actor::Mark(1),
    Actor::Mark(2),
    Actor::Acknowledge,
    Actor::Append(0),
    Actor::Append(1),
    Actor::Append(2),
    Actor::Report,
    Actor::HangUp,
    Actor::PostgresStart,
    Actor::Send,
    Actor::Start(0),
    Actor::Start(1),
    Actor::Go(0),
    Actor::Go(1),
    Actor::Write,
    Actor::TimeOut,
];

/// What may happen instead of an actor's next step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deviation {
    Stall(Duration),
    /// The process dies; it is started again soon, or much later.
    Crash(Duration),
    /// The process is told to stop, and is started again later.
    Stop,
    /// The replication connection breaks.
    Disconnect,
    /// The second instance is started.
    StartOther,
    /// The source commits first.
    WriteFirst,
    KafkaAway(Duration),
    /// The broker refuses the records.
    Refuse,
    /// The records wait a moment, and those that another producer sends meanwhile come first.
    Overtake,
    /// Only the beginning of a transaction is sent.
    Cut,
    /// The server asks for a reply.
    Ask,
    /// A standby is promoted; the last record may be missing there.
    Promote {
        behind: bool,
    },
    /// The server dies; the slot is where it was, or far back.
    PostgresCrash {
        far_back: bool,
    },
}

pub(super) type Menu = &'static [(&'static str, Deviation)];

const WAITS: (&str, Deviation) = ("waits a moment", Deviation::Stall(MOMENT));
const IS_SLOW: (&str, Deviation) = ("is slow", Deviation::Stall(SLOW));
const STALLS: (&str, Deviation) = ("stalls", Deviation::Stall(LONG));
const AWAY: (&str, Deviation) = ("kafka is away", Deviation::KafkaAway(OUTAGE));

const OVERTAKEN: (&str, Deviation) = ("is overtaken by another producer's", Deviation::Overtake);

const HELD: Menu = &[WAITS, IS_SLOW, STALLS];
const LATE: Menu = &[STALLS];
const WRITE: Menu = &[WAITS];
const APPEND: Menu = &[WAITS, IS_SLOW, STALLS, ("is refused", Deviation::Refuse), AWAY, OVERTAKEN];
const SEND: Menu = &[
    WAITS,
    IS_SLOW,
    STALLS,
    ("is cut", Deviation::Cut),
    ("asks for a reply", Deviation::Ask),
    ("crashes", Deviation::PostgresCrash { far_back: false }),
    ("crashes, and the slot is far back", Deviation::PostgresCrash { far_back: true }),
];
const GO: Menu = &[
    WAITS,
    IS_SLOW,
    STALLS,
    ("dies", Deviation::Crash(SOON)),
    ("dies for long", Deviation::Crash(LONG)),
    ("is told to stop", Deviation::Stop),
    ("loses its connection", Deviation::Disconnect),
    AWAY,
    ("is overtaken by a commit", Deviation::WriteFirst),
    ("is joined by the other", Deviation::StartOther),
    ("sees a standby promoted", Deviation::Promote { behind: false }),
    ("sees a standby promoted that lacks the last record", Deviation::Promote { behind: true }),
];

impl Actor {
    pub(super) fn menu(self) -> Menu {
        match self {
            Actor::Mark(_) | Actor::Acknowledge | Actor::Report => HELD,
            Actor::Append(_) => APPEND,
            Actor::HangUp | Actor::PostgresStart | Actor::Start(_) | Actor::TimeOut => LATE,
            Actor::Write => WRITE,
            Actor::Send => SEND,
            Actor::Go(_) => GO,
        }
    }

    pub(super) fn subject(self, cluster: &Cluster) -> Subject {
        match self {
            Actor::Mark(partition) => (partition, "marker"),
            Actor::Acknowledge => (0, "acknowledgement"),
            Actor::Append(partition) => (partition, "append"),
            Actor::Report => (0, "status update"),
            Actor::HangUp => (0, "end of a connection"),
            Actor::PostgresStart => (0, "postgres starts"),
            Actor::Send => (0, "walsender"),
            Actor::Go(id) => (id, cluster.nodes[id].doing),
            Actor::Write => (0, "commit on the source"),
            Actor::Start(id) => (id, "is started"),
            Actor::TimeOut => (0, "timeout of a transaction"),
        }
    }
}

const _: () = assert!(PARTITIONS == 3, "ACTORS names them");
