//! The shortest courses of events in which a mistake shows. Without a mistake each of them ends clean.

use std::time::Duration;

use rustix::process::Signal;
use walwright::faults::{Failpoint, Mutation};

use super::connector::Trial;
use super::counts;
use super::script;
use crate::support::fault::Fault;
use crate::support::hazard::Hazard;
use crate::support::{Result, poll};
use crate::torture::Delivery;

/// How long something is looked for that must not come.
const LOOK: Duration = Duration::from_millis(2_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// The script, in one life.
    Plain,
    /// A crash there.
    Killed(Failpoint, u32),
    /// A group that gets no further, while the connection to Postgres is well.
    Held(Failpoint, u32),
    /// Nothing to do, and WAL that is none of ours.
    Idle,
    /// A transaction that began before the checkpoint and commits behind it.
    Interleaved,
    /// A transaction whose commit record starts where the checkpoint stands. Nothing else may write WAL.
    Adjacent,
    /// The last owner commits while its successor is between reading and fencing.
    StaleRead,
    /// The last owner wakes up behind its successor.
    Turns,
    /// A plain restart.
    Restart,
    /// The slot was dropped.
    LostSlot,
    /// The slot was advanced by somebody.
    MovedSlot,
    /// A slot that is there before the connector.
    ForeignSlot,
    /// Somebody fences the daemon just before it commits.
    Refused,
    /// A record that is larger than its topic takes.
    TooLarge,
    /// A topic that is away for a while.
    Outstanding,
    /// A crash in the middle of a large transaction.
    LargeKilled,
    /// A change in a large transaction for which the connector must halt.
    LargeHalted,
    /// Rows are read that were there before: no trial's database, nor its judge.
    Reading(Hazard),
}

/// What shows the mutation, and in which delivery mode.
pub(super) fn of(mutation: Mutation) -> (Scenario, Delivery) {
    let scenario = match mutation {
        Mutation::DeliveryOutstanding => return (Scenario::Outstanding, Delivery::AtLeastOnce),
        // Behind four control records; the first group's checkpoint is not sent.
        Mutation::RepeatsSent => return (Scenario::Killed(Failpoint::Delivered, 5), Delivery::AtLeastOnce),
        Mutation::DeliveryErrorIgnored => return (Scenario::TooLarge, Delivery::AtLeastOnce),
        Mutation::AckOnKeepalive => Scenario::Idle,
        Mutation::AckOnSend | Mutation::ConfirmWalEnd => Scenario::Held(Failpoint::CheckpointSent, 3),
        // Behind three control records.
        Mutation::ConfirmBeforeCommit => Scenario::Held(Failpoint::CommitSent, 5),
        Mutation::ResumeByRowLsn => Scenario::Interleaved,
        Mutation::InclusiveComparison => Scenario::Adjacent,
        Mutation::StartAtConfirmed => Scenario::Killed(Failpoint::CommitAcknowledged, 3),
        Mutation::CheckpointOutside => Scenario::Killed(Failpoint::CheckpointSent, 2),
        Mutation::ReadUncommittedState => Scenario::Killed(Failpoint::Delivered, 5),
        Mutation::FenceAfterRead => Scenario::StaleRead,
        Mutation::FencingInTurns => Scenario::Turns,
        Mutation::BothGiveWay => Scenario::Restart,
        Mutation::RefusalAsSuccess => Scenario::Refused,
        Mutation::GoOnAfterAbort => Scenario::TooLarge,
        Mutation::TornTransaction => Scenario::LargeKilled,
        Mutation::TornOnDrain => Scenario::LargeHalted,
        Mutation::SlotRecreated => Scenario::LostSlot,
        Mutation::SlotAheadIgnored => Scenario::MovedSlot,
        Mutation::ForeignSlotAdopted => Scenario::ForeignSlot,
        Mutation::UnseenIgnored => Scenario::Reading(Hazard::Invisible),
        Mutation::UnseenNotKept => Scenario::Reading(Hazard::InvisibleKilled),
        Mutation::X0Ignored => Scenario::Reading(Hazard::BeforeSlot),
        Mutation::NoHold => Scenario::Reading(Hazard::Held),
        Mutation::PendingPublished => Scenario::Reading(Hazard::Pending),
        Mutation::DecidedByLsn => Scenario::Reading(Hazard::InvisibleLater),
        Mutation::CoveredPublished => Scenario::Reading(Hazard::Forgotten),
        Mutation::NothingLeftOut => Scenario::Reading(Hazard::BackfillHeld),
        Mutation::BackfillAhead => Scenario::Reading(Hazard::BackfillAhead),
        Mutation::PublishUnflushed => Scenario::Reading(Hazard::Unflushed),
        Mutation::ForgetAtOnce => Scenario::Reading(Hazard::Forgotten),
        Mutation::ProgressOutside => Scenario::Reading(Hazard::ProgressApart),
        Mutation::NoPush => Scenario::Reading(Hazard::Switched),
        Mutation::LockBehindSnapshot => Scenario::Reading(Hazard::Rewritten),
        Mutation::CheckpointKeys
        | Mutation::DropLastRow
        | Mutation::LastOfKeyOnly
        | Mutation::NullForToast
        | Mutation::OldForNew
        | Mutation::NewForOld
        | Mutation::NullAsText
        | Mutation::WrongScale
        | Mutation::TimeZoneTwice
        | Mutation::RecordTimeEpoch
        | Mutation::WrongPartition
        | Mutation::NoTombstoneOnRekey
        | Mutation::TombstoneWithoutKey
        | Mutation::LostTruncate
        | Mutation::FilteredAsPublished
        | Mutation::HeadersOfNeighbour
        | Mutation::IdByRuleOrder
        | Mutation::IdRandom
        | Mutation::IdCountsAllTables => Scenario::Plain,
    };
    (scenario, Delivery::ExactlyOnce)
}

/// What was found beside the oracle's verdict and the slot's watchdog.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The connector went on where the design calls for a halt.
    pub(super) missed_halt: u64,
    /// Owners that came back behind their successor.
    pub(super) turns: u64,
    /// Metrics that do not add up to what the source and the topics hold.
    pub(super) miscounted: u64,
}

impl Scenario {
    /// Whether other trials' WAL would spoil it.
    pub(super) fn is_alone(self) -> bool {
        self == Self::Adjacent
    }

    /// Whether the trial itself moves the slot ahead.
    pub(super) fn moves_slot(self) -> bool {
        self == Self::MovedSlot
    }

    /// Whether it ends before the connector has published anything, where it must halt.
    pub(super) fn publishes(self) -> bool {
        self != Self::ForeignSlot
    }

    /// An error is something that did not happen though it must.
    pub(super) fn play(self, trial: &mut Trial<'_>, found: &mut Found) -> Result<()> {
        match self {
            Self::Plain => plain(trial, found),
            Self::Killed(point, count) => killed(trial, Fault::kill(point, count)),
            Self::Held(point, count) => held(trial, Fault::hold(point, count)),
            Self::Idle => idle(trial),
            Self::Interleaved => interleaved(trial),
            Self::Adjacent => adjacent(trial),
            Self::StaleRead => stale_read(trial),
            Self::Turns => turns(trial, found),
            Self::Restart => {
                worked(trial)?;
                trial.kill()?;
                goes_on(trial)
            }
            Self::LostSlot => halted_slot(trial, found, "slot-missing", |trial| {
                trial.sql().query("SELECT pg_drop_replication_slot($1)", &[&trial.name])?;
                trial.transact(&script::small(1, 50))
            }),
            Self::MovedSlot => halted_slot(trial, found, "slot-ahead", |trial| {
                trial.transact(&script::small(1, 50))?;
                let advance = "SELECT pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
                trial.sql().query(advance, &[&trial.name]).map(drop)
            }),
            Self::ForeignSlot => foreign_slot(trial, found),
            Self::Refused => refused(trial),
            Self::TooLarge => too_large(trial, found),
            Self::Outstanding => outstanding(trial),
            Self::Reading(_) => Err("rows are read on another database".into()),
            Self::LargeKilled => {
                trial.start(Some(Fault::kill(Failpoint::PieceSent, 3)))?;
                trial.ready()?;
                script::everything(trial, 1)?;
                trial.caught_up()?;
                trial.transact(&script::large(1))?;
                must_be(trial.killed(trial.patience)?, "it did not come to the third piece")
            }
            Self::LargeHalted => {
                worked(trial)?;
                trial.transact(&format!("{}; UPDATE shipments SET parcels = parcels + 1", script::large(1)))?;
                found.missed_halt += u64::from(!trial.halts("unmapped", |_| Ok(false))?);
                Ok(())
            }
        }
    }
}

fn must_be(so: bool, otherwise: &str) -> Result<()> {
    if so { Ok(()) } else { Err(otherwise.into()) }
}

/// A daemon that has published one of everything.
fn worked(trial: &mut Trial<'_>) -> Result<()> {
    trial.start(None)?;
    trial.ready()?;
    script::everything(trial, 1)?;
    trial.caught_up()
}

/// The next daemon publishes what is left and stops.
fn goes_on(trial: &mut Trial<'_>) -> Result<()> {
    trial.start(None)?;
    trial.ready()?;
    trial.transact(&script::small(9, 0))?;
    trial.caught_up()?;
    trial.stop()
}

fn plain(trial: &mut Trial<'_>, found: &mut Found) -> Result<()> {
    trial.start(None)?;
    trial.ready()?;
    let before = counts::due(trial)?;
    script::everything(trial, 1)?;
    trial.transact(&script::small(1, 0))?;
    trial.caught_up()?;
    found.miscounted = u64::from(!counts::agree(trial, &before)?);
    trial.stop()
}

fn killed(trial: &mut Trial<'_>, fault: Fault) -> Result<()> {
    trial.start(Some(fault))?;
    trial.ready()?;
    script::everything(trial, 1)?;
    must_be(trial.killed(trial.patience)?, "the failpoint was not reached")?;
    goes_on(trial)
}

/// Many transactions at once, so that each commit finds more received than it covers.
fn held(trial: &mut Trial<'_>, fault: Fault) -> Result<()> {
    trial.start(Some(fault))?;
    trial.ready()?;
    let burst: Vec<String> = (0..60).map(|number| format!("BEGIN; {}; COMMIT;", script::small(1, number))).collect();
    trial.transact(&burst.concat())?;
    trial.slot_passes(LOOK)?;
    trial.kill()?;
    goes_on(trial)
}

fn idle(trial: &mut Trial<'_>) -> Result<()> {
    worked(trial)?;
    trial.transact(
        "INSERT INTO requests (id, operation) SELECT n::text, 'none of ours' FROM generate_series(1, 100) n",
    )?;
    trial.slot_passes(LOOK)?;
    trial.kill()?;
    goes_on(trial)
}

fn interleaved(trial: &mut Trial<'_>) -> Result<()> {
    worked(trial)?;
    let slow = trial.session()?;
    slow.batch(&format!("BEGIN; {}", script::small(1, 100)))?;
    trial.transact(&script::small(1, 101))?;
    trial.caught_up()?;
    trial.kill()?;
    slow.batch("COMMIT")?;
    goes_on(trial)
}

fn adjacent(trial: &mut Trial<'_>) -> Result<()> {
    worked(trial)?;
    for round in 2..4 {
        let (one, other) = (trial.session()?, trial.session()?);
        one.batch(&format!("BEGIN; {}", script::small(round, 100)))?;
        other.batch(&format!("BEGIN; {}", script::small(round, 101)))?;
        one.batch("COMMIT")?;
        trial.caught_up()?;
        trial.kill()?;
        other.batch("COMMIT")?;
        trial.transact(&script::small(round, 102))?;
        trial.start(None)?;
        trial.ready()?;
        trial.caught_up()?;
    }
    trial.stop()
}

fn stale_read(trial: &mut Trial<'_>) -> Result<()> {
    trial.start(Some(Fault::stop(Failpoint::CheckpointSent, 2)))?;
    trial.ready()?;
    script::everything(trial, 1)?;
    trial.stopped()?;
    trial.free_slot()?;
    let before = trial.checkpoint();
    let mut last = trial.start_rival(Some(Fault::stop(Failpoint::JudgedUnfenced, 1)))?;
    trial.stopped()?;
    last.signal(Signal::CONT)?;
    trial.await_that("see the last owner's commit", |trial| Ok(trial.checkpoint() > before))?;
    last.kill_hard()?;
    trial.daemon()?.signal(Signal::CONT)?;
    trial.ready()?;
    trial.caught_up()?;
    trial.stop()
}

fn turns(trial: &mut Trial<'_>, found: &mut Found) -> Result<()> {
    worked(trial)?;
    trial.daemon()?.signal(Signal::STOP)?;
    trial.free_slot()?;
    let last = trial.start_rival(None)?;
    trial.ready()?;
    let successor = trial.daemon.replace(last).ok_or("no daemon runs")?;
    successor.signal(Signal::STOP)?;
    trial.free_slot()?;
    trial.daemon()?.signal(Signal::CONT)?;
    // A phase that is left by a broken connection is not the one that is asked for.
    trial.halts("taken-over", |trial| Ok(trial.owners()?.len() > 2))?;
    found.turns = trial.owners()?.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    trial.kill()?;
    successor.signal(Signal::CONT)?;
    trial.daemon = Some(successor);
    trial.transact(&script::small(1, 1))?;
    trial.caught_up()?;
    trial.stop()
}

/// A slot to which something was done while nobody read it.
fn halted_slot(
    trial: &mut Trial<'_>,
    found: &mut Found,
    kind: &str,
    done: impl Fn(&Trial<'_>) -> Result<()>,
) -> Result<()> {
    worked(trial)?;
    trial.stop()?;
    done(trial)?;
    trial.start(None)?;
    if trial.halts(kind, |trial| Ok(trial.daemon()?.get("/readyz").is_ok()))? {
        return trial.stop();
    }
    found.missed_halt = 1;
    trial.transact(&script::small(1, 51))?;
    trial.caught_up()?;
    trial.stop()
}

fn foreign_slot(trial: &mut Trial<'_>, found: &mut Found) -> Result<()> {
    trial.sql().query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&trial.name])?;
    trial.start(None)?;
    if !trial.halts("slot-foreign", |trial| Ok(trial.daemon()?.get("/readyz").is_ok()))? {
        found.missed_halt = 1;
    }
    trial.stop()
}

fn refused(trial: &mut Trial<'_>) -> Result<()> {
    // The one transaction there is, behind three control records: with another waiting behind it the next commit would
    // fail before the slot is told anything.
    trial.start(Some(Fault::stop(Failpoint::CommitSent, 4)))?;
    trial.ready()?;
    trial.transact(&script::small(1, 1))?;
    trial.stopped()?;
    trial.fence()?;
    trial.daemon()?.signal(Signal::CONT)?;
    trial.caught_up()?;
    trial.transact(&script::small(1, 1))?;
    trial.caught_up()?;
    trial.stop()
}

fn too_large(trial: &mut Trial<'_>, found: &mut Found) -> Result<()> {
    let topic = format!("{}.oms.orders", trial.name);
    worked(trial)?;
    trial.stop()?;
    trial.stack.kafka.set_topic(&topic, "max.message.bytes", "4000")?;
    trial.start(None)?;
    trial.ready()?;
    trial.transact(
        "INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id,
                             customer_note)
         SELECT id, 'P', 2, 0, 1, '{}', 'note', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 900) i)
         FROM customers ORDER BY customer_number LIMIT 1",
    )?;
    trial.transact(&script::small(1, 60))?;
    let end = trial.end_of_wal()?;
    if trial.halts("record-too-large", |trial| Ok(trial.checkpoint().is_some_and(|next_lsn| next_lsn >= end)))? {
        trial.stop()?;
        trial.stack.kafka.set_topic(&topic, "max.message.bytes", "1048588")?;
        return goes_on(trial);
    }
    found.missed_halt = 1;
    trial.stop()
}

fn outstanding(trial: &mut Trial<'_>) -> Result<()> {
    let topic = format!("{}.oms.returns", trial.name);
    trial.start(None)?;
    trial.ready()?;
    trial.transact(&script::small(1, 0))?;
    trial.caught_up()?;
    trial.stack.kafka.delete_topic(&topic)?;
    script::everything(trial, 1)?;
    let end = trial.end_of_wal()?;
    poll(LOOK, || Ok(trial.checkpoint().filter(|next_lsn| *next_lsn >= end)))?;
    trial.kill()?;
    // The connector file says how the topic is created.
    goes_on(trial)
}
