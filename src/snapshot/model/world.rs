//! One state of everything, and what may happen next.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::rc::Rc;

use super::flaw::Flaw;
use super::postgres::{KEYS, NAMES, Op, Postgres, Rows, Status, Taken};
use crate::model::{Lsn, TableName};
use crate::snapshot::{Bound, Entry, Offer, RangeId, Request, Snapshot, State, Variant};

/// What the model explores: a history and what may go wrong beside it.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) variant: Variant,
    pub(super) base: Rows,
    pub(super) keys: usize,
    pub(super) script: Vec<Vec<Op>>,
    pub(super) workers: usize,
    /// Each key a chunk of its own; else the table is one chunk.
    pub(super) split: bool,
    /// Each key lies in a leaf of its own; the last one's is made by the first transaction that touches it.
    pub(super) leaves: bool,
    /// Transactions begin some time before they commit.
    pub(super) begins: bool,
    /// The slot is made while transactions run; without it X0 is given before anything happens.
    pub(super) slot_later: bool,
    /// Chunks are written into the Kafka transaction of the source transaction that is being delivered, else before it.
    pub(super) large: bool,
    pub(super) limits: Limits,
    pub(super) flaw: Option<Flaw>,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    pub(super) crashes: u8,
    pub(super) power_cuts: u8,
    pub(super) failures: u8,
    pub(super) pauses: u8,
    pub(super) cancels: u8,
}

/// What a subscriber sees of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The key was read (None: there is no such row, and nothing is sent) by a snapshot that sees these transactions.
    Read {
        sees: u8,
        row: Option<u8>,
    },
    Changed {
        transaction: u8,
        row: Option<u8>,
    },
    Truncated {
        transaction: u8,
    },
}

/// What becomes visible on Kafka at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    pub(super) events: Vec<(u8, Event)>,
    pub(super) records: Vec<Entry>,
    pub(super) next: usize,
    pub(super) unseen: Rc<BTreeMap<String, Vec<u64>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kafka {
    pub(super) events: [Vec<Event>; KEYS],
    pub(super) records: BTreeMap<String, Vec<u8>>,
    pub(super) next: usize,
    unseen: Rc<BTreeMap<String, Vec<u64>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Worker {
    Idle,
    /// It has a range, and keys from here to there.
    Assigned(RangeId, (usize, usize)),
    /// It has taken a snapshot, and holds a lock.
    Took(RangeId, (usize, usize), Rc<Taken>),
    Reading(RangeId, (usize, usize), u8),
    /// It has read: its transaction has ended.
    Read(ReadChunk),
    /// Its connection was lost with the server while it had the range.
    Lost(RangeId),
}

/// The rows of a range, and of which server the worker asks what is flushed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadChunk {
    pub(super) range: RangeId,
    pub(super) keys: (usize, usize),
    pub(super) sees: u8,
    pub(super) rows: Rows,
    /// The connection that took the snapshot is open.
    pub(super) is_connected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) postgres: Postgres,
    pub(super) core: Snapshot,
    pub(super) has_slot: bool,
    /// The replication connection is lost: the session ends soon.
    pub(super) ending: bool,
    /// The commit that is delivered next, and how many of its statements were.
    pub(super) next: usize,
    pub(super) delivered: usize,
    pub(super) current: Unit,
    pub(super) units: VecDeque<Rc<Unit>>,
    pub(super) kafka: Rc<Kafka>,
    pub(super) workers: Vec<Worker>,
    pub(super) left: Limits,
}

/// The number of the only table.
pub(super) const TABLE: usize = 0;

impl World {
    pub(super) fn new(scope: &Scope) -> World {
        let mut core = Snapshot::load([], &BTreeMap::new(), Lsn(0), 1 << 32).unwrap();
        let request = Request { variant: scope.variant, filter: None, asked_us: 0 };
        let (table, mut records) = core.ask(TableName::new("public", "t"), request).unwrap();
        assert_eq!(table, TABLE);
        let mut postgres = Postgres::new(scope.script.len());
        if !scope.slot_later {
            records.extend(core.set_x0(TABLE, postgres.x0()).unwrap());
        }
        if scope.flaw == Some(Flaw::TakesNoX0) {
            records.extend(core.set_x0(TABLE, 1).unwrap());
        }
        let mut kafka = Kafka::default();
        kafka.take(&Unit { records, ..Unit::default() });
        core.unseen();
        World {
            postgres,
            core,
            has_slot: !scope.slot_later,
            ending: false,
            next: 0,
            delivered: 0,
            current: Unit::default(),
            units: VecDeque::new(),
            kafka: Rc::new(kafka),
            workers: vec![Worker::Idle; scope.workers],
            left: scope.limits,
        }
    }

    /// Every state that may follow, or what went wrong on the way.
    pub(super) fn following(&self, scope: &Scope) -> Result<Vec<(&'static str, World)>, String> {
        let mut all = Vec::new();
        self.follow_postgres(scope, &mut all);
        if self.has_slot {
            self.follow_stream(scope, &mut all);
            self.follow_control(scope, &mut all);
            for number in 0..self.workers.len() {
                self.follow_worker(scope, number, &mut all)?;
            }
        }
        self.follow_failures(scope, &mut all);
        for (_, world) in &mut all {
            world.tell_flushed(scope);
            world.core.unseen();
        }
        all.retain(|(_, world)| world != self);
        Ok(all)
    }

    /// Whether nothing is left to do.
    pub(super) fn is_complete(&self) -> bool {
        self.is_quiet() && self.units.is_empty() && !self.ending && self.is_over()
    }

    fn is_over(&self) -> bool {
        matches!(self.core.state(TABLE), Some(State::Done | State::Cancelled))
    }

    /// All transactions are visible and delivered.
    pub(super) fn is_quiet(&self) -> bool {
        self.has_slot && self.postgres.is_all_visible() && self.next == self.postgres.log.len()
    }

    fn follow_postgres(&self, scope: &Scope, all: &mut Vec<(&'static str, World)>) {
        if self.postgres.flushed < self.postgres.log.len() {
            self.then("flush", all, |world| world.postgres.flushed += 1);
        }
        let locked = self.workers.iter().any(|worker| matches!(worker, Worker::Took(..) | Worker::Reading(..)));
        let locked = locked && scope.flaw != Some(Flaw::TakesNoLock);
        for (number, ops) in scope.script.iter().enumerate() {
            let blocked = locked && ops.iter().any(|op| op.is_exclusive());
            match self.postgres.status[number] {
                Status::Idle if !blocked && self.postgres.may_begin(&scope.script, number) => {
                    self.then("begin", all, |world| {
                        let xid = world.postgres.draw_xid();
                        world.postgres.status[number] = Status::Begun(xid);
                        if !scope.begins {
                            world.postgres.commit(number, xid);
                        }
                    });
                }
                Status::Begun(xid) => self.then("commit", all, |world| world.postgres.commit(number, xid)),
                Status::Committed(xid) => self.then("show", all, |world| world.postgres.show(number, xid)),
                Status::Idle | Status::Visible(_) => {}
            }
        }
        if !self.has_slot {
            self.then("create slot", all, |world| {
                world.has_slot = true;
                let begun = |status: &Status| u8::from(*status != Status::Idle);
                world.postgres.excluded = world.postgres.status.iter().rev().fold(0, |mask, s| mask << 1 | begun(s));
            });
        }
    }

    fn follow_stream(&self, scope: &Scope, all: &mut Vec<(&'static str, World)>) {
        if !self.ending && self.next < self.postgres.flushed {
            let mut world = self.clone();
            if world.deliver(scope) || world.core != self.core {
                all.push(("deliver", world));
            }
        }
        if let Some(unit) = self.units.front() {
            self.then("Kafka commits", all, |world| {
                world.units.pop_front();
                Rc::make_mut(&mut world.kafka).take(unit);
            });
        }
    }

    fn follow_control(&self, scope: &Scope, all: &mut Vec<(&'static str, World)>) {
        if self.ending {
            return;
        }
        if self.core.without_x0().next().is_some() {
            self.then("X0", all, |world| {
                let x0 = world.postgres.x0();
                let records = world.core.set_x0(TABLE, x0).unwrap();
                world.send(scope, Vec::new(), records);
            });
        }
        self.then("prune", all, |world| {
            let before = world.core.unseen();
            world.core.prune(world.postgres.take(&scope.script).snapshot);
            if world.core.unseen() == before {
                *world = self.clone();
            }
        });
        if all.last().is_some_and(|(_, world)| world == self) {
            all.pop();
        }
        if self.left.cancels > 0 && !self.is_over() {
            self.then("cancel", all, |world| {
                world.left.cancels -= 1;
                let records = world.core.cancel(TABLE).unwrap();
                world.send(scope, Vec::new(), records);
            });
        }
        if self.core.state(TABLE) == Some(State::Paused) {
            self.then("resume", all, |world| {
                let records = world.core.resume(TABLE).unwrap();
                world.send(scope, Vec::new(), records);
            });
        } else if self.left.pauses > 0 && self.core.state(TABLE) == Some(State::Running) {
            self.then("pause", all, |world| {
                world.left.pauses -= 1;
                let records = world.core.pause(TABLE).unwrap();
                world.send(scope, Vec::new(), records);
            });
        }
    }

    fn follow_failures(&self, scope: &Scope, all: &mut Vec<(&'static str, World)>) {
        if self.ending || self.left.crashes > 0 && self.has_slot {
            self.then("start anew", all, |world| {
                world.left.crashes -= u8::from(!world.ending);
                world.restart(scope);
            });
        }
        if self.left.power_cuts > 0 && !self.ending {
            self.then("power cut", all, |world| {
                world.left.power_cuts -= 1;
                world.postgres.crash();
                world.ending = world.has_slot;
                world.workers.iter_mut().for_each(Worker::disconnect);
            });
        }
    }

    /// What each worker that has read hears of its connection.
    fn tell_flushed(&mut self, scope: &Scope) {
        let flushed = Lsn(self.postgres.flushed as u64);
        let chunks: Vec<(RangeId, bool)> = self.workers.iter().filter_map(Worker::flushes).collect();
        let any = chunks.iter().any(|(_, is_connected)| *is_connected);
        for (range, is_connected) in chunks {
            match scope.flaw {
                Some(Flaw::WaitsForNoFlush) => self.core.flushed(range, Lsn(u64::MAX)),
                Some(Flaw::AsksAnotherServer) => self.core.flushed(range, flushed),
                Some(Flaw::VouchesForOthers) if any => self.core.flushed(range, flushed),
                _ if is_connected => self.core.flushed(range, flushed),
                _ => {}
            }
        }
    }

    /// The session ends, by a crash or otherwise; another one begins with what is on Kafka.
    fn restart(&mut self, scope: &Scope) {
        let kafka = self.kafka.clone();
        let records = kafka.records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let none = BTreeMap::new();
        let unseen = if scope.flaw == Some(Flaw::ForgetsUnseen) { &none } else { &kafka.unseen };
        self.core = Snapshot::load(records, unseen, Lsn(kafka.next as u64), 1 << 32).unwrap();
        self.ending = false;
        (self.next, self.delivered) = (kafka.next, 0);
        self.current = Unit::default();
        self.units.clear();
        // One of them goes on: two that begin while X0 is lost can make each other draw it anew without end.
        self.workers.truncate(1);
        self.workers.fill(Worker::Idle);
    }

    pub(super) fn then(
        &self,
        name: &'static str,
        all: &mut Vec<(&'static str, World)>,
        change: impl FnOnce(&mut World),
    ) {
        let mut world = self.clone();
        change(&mut world);
        all.push((name, world));
    }

    /// What stands between transactions, or inside of a large one, goes to the committer.
    pub(super) fn send(&mut self, scope: &Scope, events: Vec<(u8, Event)>, records: Vec<Entry>) {
        if scope.large && self.delivered > 0 {
            self.current.events.extend(events);
            self.current.records.extend(records);
            return;
        }
        self.push(scope, Unit { events, records, next: self.next, ..Unit::default() });
    }

    pub(super) fn push(&mut self, scope: &Scope, mut unit: Unit) {
        unit.unseen = Rc::new(BTreeMap::clone(&self.core.unseen()));
        if scope.flaw == Some(Flaw::ProgressApart) {
            let records = std::mem::take(&mut unit.records);
            self.units.push_back(Rc::new(Unit { events: std::mem::take(&mut unit.events), ..unit.clone() }));
            self.units.push_back(Rc::new(Unit { records, ..unit }));
            return;
        }
        self.units.push_back(Rc::new(unit));
    }
}

impl Worker {
    /// The server crashes.
    fn disconnect(&mut self) {
        match self {
            Worker::Assigned(range, _) | Worker::Took(range, ..) | Worker::Reading(range, ..) => {
                *self = Worker::Lost(*range);
            }
            Worker::Read(chunk) => chunk.is_connected = false,
            Worker::Idle | Worker::Lost(_) => {}
        }
    }

    /// The range that it has read, and whether it can ask what is flushed.
    fn flushes(&self) -> Option<(RangeId, bool)> {
        match self {
            Worker::Read(chunk) => Some((chunk.range, chunk.is_connected)),
            _ => None,
        }
    }
}

impl Kafka {
    fn take(&mut self, unit: &Unit) {
        for (key, event) in &unit.events {
            self.events[usize::from(*key)].push(*event);
        }
        for entry in &unit.records {
            match &entry.value {
                Some(value) => drop(self.records.insert(entry.key.clone(), value.clone())),
                None => drop(self.records.remove(&entry.key)),
            }
        }
        self.next = unit.next;
        self.unseen = unit.unseen.clone();
    }
}

/// Where a key lies, as Postgres would say.
pub(super) fn bound(key: usize) -> Bound {
    Bound(vec![NAMES[key].to_owned()])
}

/// Which keys lie between two bounds.
pub(super) fn keys_between(lower: Option<&Bound>, upper: Option<&Bound>, keys: usize) -> (usize, usize) {
    let at = |bound: &Bound| NAMES.iter().position(|name| *name == bound.0[0]).unwrap();
    (lower.map_or(0, at), upper.map_or(keys, at))
}

/// What an answer to an offer means to the worker.
pub(super) fn is_refused(offer: &Offer) -> bool {
    matches!(offer, Offer::Unseen(_) | Offer::Stale | Offer::NotYet { .. })
}
