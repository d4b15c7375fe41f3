//! An instance: the product's supervisor rules, start, committer and assembler over the simulated world.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, On};
use super::fixture;
use super::flaw::Flaw;
use super::kafka::{CHECKPOINTS, CONTROL, DATA, OTHER, Record, TRANSACTION_TIMEOUT};
use super::lane::SimulatedLane;
use super::node::{Node, refused, unreachable};
use super::postgres::Refused;
use super::wire;
use crate::checkpoint::judge::{SlotFacts, TimelineSwitch};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::record::{Checkpoint, Delivery, State};
use crate::checkpoint::repeats::Repeats;
use crate::error::{Error, Kind, Result};
use crate::kafka::{Bounds, Tail};
use crate::model::Lsn;
use crate::pipeline::committer::{Committer, CommitterSettings};
use crate::pipeline::ownership::Owner;
use crate::pipeline::recovery::{self, SourceFacts, Started, World};
use crate::pipeline::replay::{AllBounds, Recognition};
use crate::pipeline::session::Silenced;
use crate::pipeline::supervisor::Retries;
use crate::publish::Turns;

/// As `start::KAFKA_STEP`.
const STEP: Duration = Duration::from_secs(20);

/// One life: attempts until it dies or halts, as `supervisor::supervise`.
pub(super) fn live(node: Node<'_>) {
    let mut owner = Owner::new(node.name());
    let flaw = node.cell.borrow().scope.flaw;
    if flaw == Some(Flaw::GivesWayToThePast) {
        owner.claim(None).unwrap();
    }
    let (mut memory, silenced) = (None, Silenced::default());
    let mut retries = Retries::default();
    let mut attempts = 0;
    loop {
        let (begun, commits) = (node.now(), node.world().nodes[node.id].commits);
        let error = attempt(node, &mut owner, &mut memory, &silenced);
        if node.is_dead() || node.world().has_stopped(node.id) {
            return;
        }
        attempts += 1;
        node.world().judge_length(node.id, error.kind());
        let committed = node.world().nodes[node.id].commits > commits;
        let random = node.id as u64 * 411 + attempts * 97;
        match retries.judge(&error, node.now() - begun, committed, random) {
            Some(pause) => {
                node.world().say(|| format!("{}: {error}; again in {pause:?}", node.name()));
                node.sleep(pause);
                if node.is_dead() || node.world().has_stopped(node.id) {
                    return;
                }
            }
            None => {
                node.world().say(|| format!("{}: HALTS: {error}", node.name()));
                node.world().halt(node.id, error.kind());
                return;
            }
        }
    }
}

/// One attempt; a stop is an error like any other here, since the caller looks for it first.
fn attempt(node: Node<'_>, owner: &mut Owner, memory: &mut Option<Checkpoint>, silenced: &Silenced) -> Error {
    let mut start = Start { node, owner, connection: None, producers: Vec::new(), read: None, memory: memory.take() };
    let ended = match recovery::start(&mut start) {
        Ok(Some(started)) => session(node, started, memory, silenced.clone()),
        Ok(None) => Error::new(Kind::Bug, "stopped"),
        Err(error) => error,
    };
    let (connection, producers) = (start.connection, start.producers);
    if !node.is_dead() {
        node.world().leave(connection, &producers);
    }
    ended
}

/// A start over the simulated world.
struct Start<'a> {
    node: Node<'a>,
    owner: &'a mut Owner,
    connection: Option<usize>,
    producers: Vec<usize>,
    /// What flawed starts have read too early, or remember.
    read: Option<State>,
    memory: Option<Checkpoint>,
}

struct Source {
    connection: usize,
    /// When it was connected.
    flush_lsn: u64,
}

struct Fenced {
    control: usize,
    data: usize,
}

impl Start<'_> {
    fn read(&self, fenced: bool) -> Result<State> {
        let until = self.node.now() + STEP;
        drop(self.node.step(if fenced { "read the checkpoint behind the fence" } else { "read the checkpoint" })?);
        if !self.node.reach(until)? {
            return Err(unreachable("read the checkpoint"));
        }
        if fenced {
            let end = self.node.world().kafka.high_watermark(CHECKPOINTS);
            if !self.node.wait(On::Stable(CHECKPOINTS, end), Some(until))? {
                return Err(unreachable("read the checkpoint"));
            }
        }
        let mut newest: BTreeMap<_, _> = BTreeMap::new();
        let world = self.node.world();
        for (offset, entry) in world.kafka.visible(CHECKPOINTS).enumerate() {
            if let Record::State { key, value } = &entry.record {
                newest.insert(key.clone(), (offset, value.clone()));
            }
        }
        let mut state = State::default();
        for (key, (offset, value)) in newest {
            state.apply(Some(key.as_bytes()), value.as_deref(), offset as i64)?;
        }
        Ok(state)
    }

    /// Its producer is given up at once.
    fn fence_other(&self, until: Instant) -> Result<()> {
        let other = self.node.take_over(OTHER, until)?;
        self.node.world().leave(None, &[other]);
        Ok(())
    }

    fn flaw(&self) -> Option<Flaw> {
        self.node.cell.borrow().scope.flaw
    }
}

impl<'a> World for Start<'a> {
    type Source = Source;
    type Fenced = Fenced;
    type Stream = usize;

    fn owner(&mut self) -> &mut Owner {
        self.owner
    }

    fn stopped(&self) -> bool {
        self.node.cell.borrow().nodes[self.node.id].stopping
    }

    fn read_stable(&mut self) -> Result<State> {
        let stale = self.read(false)?;
        self.read = (self.flaw() == Some(Flaw::ReadsOnce)).then(|| stale.clone());
        Ok(stale)
    }

    fn open_source(&mut self) -> Result<Source> {
        let mut world = self.node.step("connect to Postgres")?;
        let connection = world.postgres.connect().map_err(refused)?;
        self.connection = Some(connection);
        world.nodes[self.node.id].connection = Some(connection);
        Ok(Source { connection, flush_lsn: world.postgres.end })
    }

    fn facts(&mut self, source: &mut Source) -> Result<SourceFacts> {
        let world = self.node.step("look at the source")?;
        if !world.postgres.up || !world.postgres.connections[source.connection].open {
            return Err(refused(Refused::Gone));
        }
        let slot = world.postgres.slot;
        let old = world.scope.flaw == Some(Flaw::RemembersTheFlushPosition);
        let switch = |timeline, at| TimelineSwitch { timeline, switch_lsn: Lsn(at) };
        let facts = |confirmed| SlotFacts { confirmed_flush: Lsn(confirmed), lost: None, mismatch: None };
        Ok(SourceFacts {
            slot_name: "s".to_owned(),
            slot: slot.map(|slot| facts(slot.confirmed)),
            holder: slot.and_then(|slot| slot.holder).map(|holder| holder as i32),
            system_identifier: "7".to_owned(),
            timeline: if world.scope.flaw == Some(Flaw::IgnoresTheTimeline) { 1 } else { world.postgres.timeline },
            flush_lsn: Lsn(if old { source.flush_lsn } else { world.postgres.end }),
            history: world.postgres.history.iter().map(|(timeline, at)| switch(*timeline, *at)).collect(),
            adopt_slot: false,
        })
    }

    fn fence(&mut self) -> Result<Fenced> {
        if self.flaw() == Some(Flaw::FencesAfterReading) {
            self.read = Some(self.read(true)?);
        }
        let until = self.node.now() + STEP;
        let control = self.node.take_over(CONTROL, until)?;
        self.producers.push(control);
        let data = if self.flaw() == Some(Flaw::LeavesDataIdUnfenced) {
            self.node.world().kafka.join(self.node.id, DATA)
        } else {
            self.node.take_over(DATA, until)?
        };
        self.producers.push(data);
        if !matches!(self.flaw(), Some(Flaw::LeavesTheOtherIdUnfenced | Flaw::ClaimsBeforeTheOther)) {
            self.fence_other(until)?;
        }
        Ok(Fenced { control, data })
    }

    fn read_fenced(&mut self) -> Result<State> {
        let mut state = match self.read.take() {
            Some(read) => read,
            None => self.read(true)?,
        };
        if self.flaw() == Some(Flaw::TrustsItsMemory) && self.memory.is_some() {
            state.checkpoint = self.memory.take();
        }
        Ok(state)
    }

    fn write(&mut self, fenced: &mut Fenced, records: &[(&str, Option<&[u8]>)]) -> Result<()> {
        if self.flaw() == Some(Flaw::WritesNoIntent) && records[0].0 == "intent" {
            return Ok(());
        }
        let until = self.node.now() + STEP;
        let records = records
            .iter()
            .map(|(key, value)| Record::State { key: (*key).into(), value: value.map(|value| value.into()) });
        self.node.commit_records(fenced.control, records, until)?;
        if self.flaw() == Some(Flaw::ClaimsBeforeTheOther) { self.fence_other(until) } else { Ok(()) }
    }

    fn base(&mut self, facts: &SourceFacts, _: Option<&Checkpoint>) -> Result<Checkpoint> {
        let transactional = self.node.is_transactional();
        Ok(Checkpoint {
            version: Checkpoint::VERSION,
            epoch: 0,
            next_lsn: Lsn(0),
            timeline: facts.timeline,
            system_identifier: facts.system_identifier.clone(),
            delivery: if transactional { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce },
            partitions: BTreeMap::new(),
            mapping: String::new(),
            partial: None,
            unseen: None,
            acknowledged: None,
        })
    }

    fn create_slot(&mut self, source: &mut Source) -> Result<Option<Lsn>> {
        let connection = source.connection;
        let create = |world: &mut Cluster| world.postgres.create_slot(connection);
        self.node.command("create the slot", connection, create).map(|lsn| Some(Lsn(lsn)))
    }

    fn drop_slot(&mut self, source: &mut Source) -> Result<()> {
        let connection = source.connection;
        self.node.command("drop the slot", connection, |world| world.postgres.drop_slot(connection))
    }

    fn stream(&mut self, source: Source, from: Lsn) -> Result<usize> {
        let connection = source.connection;
        let start = |world: &mut Cluster| world.postgres.start(connection, from.0);
        self.node.command("start the stream", connection, start)?;
        Ok(connection)
    }

    fn confirmed(&mut self, _: &mut usize) -> Result<Option<Lsn>> {
        let world = self.node.step("look at the slot again")?;
        Ok(world.postgres.slot.map(|slot| Lsn(slot.confirmed)))
    }

    fn writes_ids(&self) -> bool {
        true
    }

    fn bounds(&mut self, _: &Checkpoint) -> Result<AllBounds> {
        let until = self.node.now() + STEP;
        drop(self.node.step("ask for the ends of the topics")?);
        if !self.node.reach(until)? {
            return Err(unreachable("ask for the ends of the topics"));
        }
        let mut world = self.node.world();
        world.kafka.look_behind();
        let of = |partition| Bounds { low: 0, high: world.kafka.high_watermark(partition) as i64 };
        Ok(BTreeMap::from([(wire::TOPIC.to_owned(), (0..CHECKPOINTS).map(of).collect())]))
    }

    fn read_behind(
        &mut self,
        tails: &[Tail],
        checkpoint: &Checkpoint,
        forked: bool,
        repeats: &mut Repeats,
    ) -> Result<bool> {
        let until = self.node.now() + STEP;
        let flaw = self.flaw();
        let ours =
            Recognition::new(&wire::plan(false), checkpoint, forked && flaw != Some(Flaw::TakesAnotherTimelines));
        let tails = if flaw == Some(Flaw::LooksForNoRepeats) { &[] } else { tails };
        for Tail { partition, from, to, .. } in tails {
            drop(self.node.step("read what lies behind the checkpoint")?);
            let partition = *partition as usize;
            if !self.node.wait(On::Stable(partition, *to as usize), Some(until))? {
                return Err(unreachable("read what lies behind the checkpoint"));
            }
            let world = self.node.world();
            let all = world.kafka.logs[partition].iter().take(world.kafka.stable(partition)).skip(*from as usize);
            let found = all.filter(|entry| flaw == Some(Flaw::TakesAbortedForFound) || world.kafka.is_committed(entry));
            let mut found: Vec<&Record> = found.map(|entry| &entry.record).collect();
            if flaw == Some(Flaw::SparesTheLastRepeat) {
                found.pop();
            }
            for record in found {
                let Record::Row { row, id, time_ms, .. } = record else { continue };
                let time_ms = (flaw != Some(Flaw::TakesAnotherTimelines)).then_some(*time_ms);
                ours.note(wire::TOPIC, id.as_bytes(), time_ms, repeats);
                for other in (0..7).filter(|_| flaw == Some(Flaw::TakesTheWholeForFound)) {
                    let id = id.replace(&format!(":{row}:"), &format!(":{other}:"));
                    ours.note(wire::TOPIC, id.as_bytes(), time_ms, repeats);
                }
            }
        }
        Ok(!self.stopped())
    }
}

/// A session, as `session::run`: here the assembler runs whenever the committer looks for units.
fn session(node: Node<'_>, started: Started<Start<'_>>, memory: &mut Option<Checkpoint>, silenced: Silenced) -> Error {
    let Started { checkpoint, fenced, stream: connection, replay, .. } = started;
    let scope = node.cell.borrow().scope;
    node.world().committed(node.id, 0);
    let transactional = node.is_transactional();
    let producer = if transactional { fenced.data } else { node.world().kafka.producer(node.id, None) };
    node.world().postgres.connections[connection].confirmed = checkpoint.next_lsn.0;
    let from = checkpoint.next_lsn.0 + u64::from(scope.flaw == Some(Flaw::ComparesInclusively));
    let partial = checkpoint.partial.map(|partial| (partial.commit_lsn, partial.changes));
    let partial = partial.filter(|_| scope.flaw != Some(Flaw::ForgetsThePart));
    if let Some(ends) = &replay.ends {
        node.world().kafka.note_from(producer, &ends[wire::TOPIC]);
    }
    let repeats_to = replay.repeats.last().filter(|_| scope.flaw != Some(Flaw::MovesOnAmongRepeats));
    let mut lane = SimulatedLane {
        node,
        connection,
        turns: Turns::new(producer),
        assembler: fixture::assembler(scope.split, checkpoint.epoch, Ledger::new(Lsn(from), partial), replay.repeats),
        other: None,
        units: VecDeque::new(),
        ended: None,
        heard: node.now(),
        silenced,
        flaw: scope.flaw,
        confirmed: checkpoint.next_lsn,
    };
    let before = checkpoint.clone();
    let settings = CommitterSettings {
        checkpoint,
        repeats_to,
        transactional,
        split: scope.split,
        transaction_timeout: TRANSACTION_TIMEOUT,
        chunk_divisor: 1,
    };
    let committed = Committer::new(settings, &mut lane).run();
    if !node.is_dead() {
        let own: Vec<usize> = if transactional { lane.other.into_iter().collect() } else { vec![producer] };
        node.world().leave(None, &own);
    }
    *memory = Some(Checkpoint { next_lsn: lane.confirmed, ..before });
    let assembled = lane.ended.unwrap_or(Ok(()));
    let ended = || Error::new(Kind::PostgresUnreachable, "the replication stream ended");
    committed.and(assembled).err().unwrap_or_else(ended)
}
