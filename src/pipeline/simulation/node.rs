//! An instance's view of the simulation: each call to the world is a point at which others may run, or it may die.

use std::cell::{RefCell, RefMut};
use std::time::{Duration, Instant};

use corosensei::Yielder;

use super::cluster::{Cluster, On, base};
use super::kafka::{Answer, Record};
use super::postgres::Refused;
use crate::error::{Error, Kind, Result};
use crate::publish::Progress;

/// One life of one instance.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) cell: &'a RefCell<Cluster>,
    pub(super) yielder: &'a Yielder<(), ()>,
    pub(super) id: usize,
    pub(super) life: u32,
}

/// What becomes of a request that the network may lose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    AppliedAndFailed,
    AppliedInSilence,
    Failed,
}

const APPLIED_AND_FAILED: (&str, Fate) = ("takes effect, but the client sees a failure", Fate::AppliedAndFailed);
const APPLIED_IN_SILENCE: (&str, Fate) = ("takes effect, but no answer comes in time", Fate::AppliedInSilence);
const FAILED: (&str, Fate) = ("has no effect, the client sees a failure", Fate::Failed);

impl<'a> Node<'a> {
    pub(super) fn world(&self) -> RefMut<'a, Cluster> {
        self.cell.borrow_mut()
    }

    pub(super) fn is_dead(&self) -> bool {
        let world = self.cell.borrow();
        !world.nodes[self.id].alive || world.nodes[self.id].life != self.life
    }

    /// Whether this life publishes in transactions.
    pub(super) fn is_transactional(&self) -> bool {
        let scope = self.cell.borrow().scope;
        scope.transactional != (scope.switches && self.life > 1)
    }

    pub(super) fn now(&self) -> Instant {
        base() + self.cell.borrow().now
    }

    /// Waits; false: `until` came first. An error: the process is gone.
    pub(super) fn wait(&self, on: On, until: Option<Instant>) -> Result<bool> {
        if self.is_dead() {
            return Err(Error::new(Kind::Bug, "the process is gone"));
        }
        let until = until.map(|until| until.saturating_duration_since(base()));
        self.world().nodes[self.id].wait = (on, until);
        self.yielder.suspend(());
        if self.is_dead() {
            return Err(Error::new(Kind::Bug, "the process is gone"));
        }
        Ok(self.cell.borrow().is_ready(on))
    }

    /// A call to the outside: others may run before it.
    pub(super) fn step(&self, what: &'static str) -> Result<RefMut<'a, Cluster>> {
        self.world().nodes[self.id].doing = what;
        self.wait(On::Turn, None)?;
        let mut world = self.world();
        world.say(|| format!("{}: {what}", self.name()));
        Ok(world)
    }

    pub(super) fn name(&self) -> String {
        format!("{}{}", ["A", "B"][self.id], self.life)
    }

    pub(super) fn sleep(&self, pause: Duration) {
        // A process that is gone sleeps no more; whoever calls looks.
        drop(self.wait(On::Sleep, Some(self.now() + pause)));
    }

    /// What becomes of the call that the last step announced.
    fn fate(&self, fates: &[(&'static str, Fate)]) -> Fate {
        let mut world = self.world();
        let subject = (self.id, world.nodes[self.id].doing);
        let Some(other) = world.choices.choose(subject, fates).checked_sub(1) else { return Fate::Answered };
        world.say(|| format!("      * {}", fates[other].0));
        world.faults += 1;
        fates[other].1
    }

    /// Waits for a broker; false: none answers until then.
    pub(super) fn reach(&self, until: Instant) -> Result<bool> {
        let reached = self.cell.borrow().is_ready(On::Broker);
        if reached { Ok(true) } else { self.wait(On::Broker, Some(until)) }
    }

    /// Commits or aborts the producer's transaction.
    pub(super) fn end_transaction(&self, producer: usize, commit: bool, until: Instant) -> Result<Progress> {
        drop(self.step(if commit { "commit" } else { "abort" })?);
        if !self.reach(until)? {
            return Ok(Progress::Pending);
        }
        let fate = self.fate(&[APPLIED_AND_FAILED, APPLIED_IN_SILENCE, FAILED]);
        if fate == Fate::Failed {
            return Err(failed("the coordinator does not answer"));
        }
        let answer = self.world().end_transaction(producer, commit);
        match (fate, answer) {
            (Fate::AppliedInSilence, _) => self.wait(On::Sleep, Some(until)).map(|_| Progress::Pending),
            (Fate::AppliedAndFailed, _) => Err(failed("the connection broke")),
            (_, Answer::Done) => Ok(Progress::Done),
            (_, Answer::Fenced) => Err(failed("the producer is fenced")),
            (_, Answer::InvalidState) => Err(failed("no such transaction is open")),
        }
    }

    /// Waits until all that the producer was given is acknowledged.
    pub(super) fn wait_delivered(&self, producer: usize, until: Instant) -> Result<Progress> {
        let settled = self.cell.borrow().is_ready(On::Delivered(producer));
        let settled = settled || self.wait(On::Delivered(producer), Some(until))?;
        if self.cell.borrow().kafka.producers[producer].failed {
            return Err(failed("a record was refused"));
        }
        Ok(if settled { Progress::Done } else { Progress::Pending })
    }

    /// Takes over a transactional id, and with it a new producer.
    pub(super) fn take_over(&self, id: usize, until: Instant) -> Result<usize> {
        loop {
            let mut world =
                self.step(["take over the control id", "take over the data id", "take over the other data id"][id])?;
            drop(world);
            if !self.reach(until)? {
                return Err(unreachable("take over"));
            }
            world = self.world();
            let epoch = world.kafka.init(id);
            drop(world);
            let Some(epoch) = epoch else {
                if !self.wait(On::Marked(id), Some(until))? {
                    return Err(unreachable("take over"));
                }
                continue;
            };
            if self.fate(&[APPLIED_AND_FAILED]) == Fate::AppliedAndFailed {
                return Err(unreachable("take over"));
            }
            return Ok(self.world().kafka.producer(self.id, Some((id, epoch))));
        }
    }

    /// Sends records to the checkpoint topic in a transaction of their own.
    pub(super) fn commit_records(
        &self,
        producer: usize,
        records: impl Iterator<Item = Record>,
        until: Instant,
    ) -> Result<()> {
        let mut world = self.step("write to the checkpoint topic")?;
        for record in records {
            world.say(|| format!("        {}", told(&record)));
            world.kafka.hand_over(producer, super::kafka::CHECKPOINTS, record);
        }
        drop(world);
        let delivered = self.wait_delivered(producer, until)?;
        if delivered == Progress::Pending || self.end_transaction(producer, true, until)? == Progress::Pending {
            return Err(unreachable("write a checkpoint record"));
        }
        Ok(())
    }

    /// A command to Postgres, which may take effect although the connection breaks.
    pub(super) fn command<T>(
        &self,
        what: &'static str,
        connection: usize,
        run: impl FnOnce(&mut Cluster) -> std::result::Result<T, Refused>,
    ) -> Result<T> {
        drop(self.step(what)?);
        let fate = self.fate(&[APPLIED_AND_FAILED, FAILED]);
        if fate == Fate::Failed {
            self.world().postgres.connections[connection].left = true;
            return Err(refused(Refused::Gone));
        }
        let mut world = self.world();
        let answer = run(&mut world);
        if fate == Fate::AppliedAndFailed {
            world.postgres.connections[connection].left = true;
            return Err(refused(Refused::Gone));
        }
        answer.map_err(refused)
    }
}

/// A record in words.
pub(super) fn told(record: &Record) -> String {
    match record {
        Record::Row { transaction, row, .. } => format!("row {transaction}-{row}"),
        Record::State { key, value } => {
            let value = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
            format!("{key} = {}", value.as_deref().unwrap_or("none"))
        }
    }
}

pub(super) fn failed(why: &str) -> Error {
    Error::new(Kind::KafkaTransaction, why)
}

pub(super) fn unreachable(doing: &str) -> Error {
    Error::new(Kind::KafkaUnreachable, format!("cannot {doing}: no answer in time"))
}

/// As `source::refusal` maps what the server says.
pub(super) fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Gone => Error::new(Kind::PostgresUnreachable, "the connection broke"),
        Refused::Held => Error::new(Kind::SlotHeld, "the slot is active"),
        Refused::Missing => Error::new(Kind::SlotMissing, "the slot does not exist"),
        Refused::Exists => Error::new(Kind::SlotForeign, "the slot already exists"),
    }
}
