//! The committer's way to the simulated Kafka, with the assembler inside: it runs whenever the committer looks for units.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::cluster::{Cluster, On};
use super::flaw::Flaw;
use super::kafka::{CHECKPOINTS, OTHER, Record};
use super::node::{Node, failed, told, unreachable};
use super::postgres::Message;
use super::wire;
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, Offsets};
use crate::error::{Error, Kind, Result};
use crate::model::{Batch, Lsn};
use crate::pipeline::assembler::Assembler;
use crate::pipeline::lane::Lane;
use crate::pipeline::session::Silenced;
use crate::pipeline::unit::{Tally, Unit, UnitKind};
use crate::publish::{Progress, Turns};
use crate::snapshot::Entry;

/// As `session::LARGE_SILENCE`.
const SILENCE: Duration = Duration::from_secs(10);

/// As `Others` has it.
const TAKE: Duration = Duration::from_secs(20);

/// The committer's lane over the simulated world, with the assembler inside.
pub(super) struct SimulatedLane<'a> {
    pub(super) node: Node<'a>,
    pub(super) connection: usize,
    pub(super) turns: Turns<usize>,
    /// The producer with the other id.
    pub(super) other: Option<usize>,
    pub(super) assembler: Assembler,
    pub(super) units: VecDeque<Unit>,
    /// How assembling ended.
    pub(super) ended: Option<Result<()>>,
    pub(super) heard: Instant,
    pub(super) silenced: Silenced,
    pub(super) flaw: Option<Flaw>,
    pub(super) confirmed: Lsn,
}

impl SimulatedLane<'_> {
    fn producer(&self) -> usize {
        *self.turns.current()
    }

    fn oldest(&self) -> usize {
        *self.turns.oldest()
    }

    fn abort_oldest(&mut self, until: Instant) -> Result<Progress> {
        if !self.node.is_dead() {
            self.node.world().kafka.purge(self.oldest());
        }
        let progress = self.node.end_transaction(self.oldest(), false, until)?;
        if progress == Progress::Done {
            self.turns.aborted();
        }
        Ok(progress)
    }

    /// Takes one buffer, as `session::assemble` does.
    fn assemble(&mut self) {
        let buffer = self.node.world().postgres.connections[self.connection].inbox.pop_front();
        let Some(buffer) = buffer else {
            self.ended = Some(Ok(()));
            return;
        };
        let (assembler, units) = (&mut self.assembler, &mut self.units);
        let mut sink = |unit| {
            units.push_back(unit);
            Ok(())
        };
        let mut take = |message: &Message| match message {
            Message::Data(body) => assembler.message(body, &mut sink),
            Message::Keepalive { wal_end, reply_requested } => {
                if self.flaw == Some(Flaw::ConfirmsKeepalives) {
                    self.node.world().postgres.connections[self.connection].confirmed = *wal_end;
                }
                if self.flaw == Some(Flaw::BelievesKeepalives) {
                    let kind = UnitKind::Progress { next_lsn: Lsn(*wal_end), reply_requested: true };
                    let (batch, tally) = Default::default();
                    sink(Unit::new(kind, batch, tally, None))?;
                }
                assembler.keepalive(Lsn(*wal_end), *reply_requested)
            }
        };
        let taken = buffer.iter().try_for_each(&mut take);
        self.assembler.sent(self.node.cell.borrow().scope.behind.then_some(i64::MAX));
        if buffer.iter().any(|message| matches!(message, Message::Data(_))) {
            self.heard = self.node.now();
        }
        // While the committer is behind, a unit may gather on.
        let gather = {
            let mut world = self.node.world();
            !world.postgres.connections[self.connection].inbox.is_empty()
                && world.choices.choose((self.node.id, "flush"), &[("gathers on", ())]) == 1
        };
        let flushed = taken.and_then(|()| if gather { Ok(()) } else { self.assembler.flush(&mut sink) });
        if let Err(error) = flushed {
            self.ended = Some(Err(error));
        }
    }
}

impl Lane for &mut SimulatedLane<'_> {
    fn now(&self) -> Instant {
        self.node.now()
    }

    fn next(&mut self, due: Option<Instant>) -> Result<Unit, RecvTimeoutError> {
        loop {
            if let Some(unit) = self.units.pop_front() {
                return Ok(unit);
            }
            if self.ended.is_some() || self.node.cell.borrow().nodes[self.node.id].stopping {
                self.ended.get_or_insert(Ok(()));
                return Err(RecvTimeoutError::Disconnected);
            }
            let large = self.assembler.large_open();
            let silence = large.map(|_| self.heard + SILENCE);
            let until = [due, silence].into_iter().flatten().min();
            match self.node.wait(On::Inbox(self.connection), until) {
                Err(gone) => self.ended = Some(Err(gone)),
                Ok(true) => self.assemble(),
                Ok(false) if due.is_some_and(|due| due <= self.node.now()) => return Err(RecvTimeoutError::Timeout),
                Ok(false) if self.node.cell.borrow().nodes[self.node.id].stopping => {}
                Ok(false) if large.is_some_and(|commit_lsn| self.silenced.is_first(commit_lsn)) => {
                    self.ended = Some(Err(Error::new(Kind::PostgresUnreachable, "the source was silent")));
                }
                Ok(false) => self.heard = self.node.now(),
            }
        }
    }

    fn waiting(&mut self) -> Option<Unit> {
        let is_there = |world: &Cluster| !world.postgres.connections[self.connection].inbox.is_empty();
        if self.units.is_empty() && self.ended.is_none() && is_there(&self.node.world()) {
            let subject = (self.node.id, "what waits");
            let later = self.node.world().choices.choose(subject, &[("is not assembled yet", ())]) == 1;
            if !later {
                self.assemble();
            }
        }
        self.units.pop_front()
    }

    /// Here each connector is a busy one: it takes the other id when it begins its first transaction.
    fn begin(&mut self) -> Result<()> {
        let mut taken = Vec::new();
        if self.other.is_none() {
            let until = self.node.now() + TAKE;
            self.other = self.node.take_over(OTHER, until).ok();
            taken.extend(self.other);
        }
        if self.flaw == Some(Flaw::UsesTheOtherUnproven) && !taken.is_empty() {
            self.turns.begin(std::mem::take(&mut taken));
            self.turns.committed();
        }
        self.turns.begin(taken);
        Ok(())
    }

    fn may_overlap(&self) -> bool {
        self.turns.may_overlap()
    }

    fn close(&mut self) {
        self.turns.close();
    }

    fn send(&mut self, batch: &Batch, _: usize, _: Instant) -> Result<usize> {
        let mut world = self.node.step("send records")?;
        if world.kafka.producers[self.producer()].failed {
            return Err(failed("a record was refused"));
        }
        for record in &batch.records {
            let (transaction, row) = wire::row_of(&batch.bytes[record.key.clone()]);
            let id = batch.headers[record.headers.start].value.clone();
            let id = String::from_utf8_lossy(&batch.bytes[id]).into();
            let row = Record::Row { transaction, row, id, time_ms: record.timestamp_ms };
            world.say(|| format!("        {}", told(&row)));
            world.kafka.hand_over(self.producer(), record.partition as usize, row);
        }
        Ok(batch.records.len())
    }

    fn send_progress(&mut self, _: &Entry, _: Instant) -> Result<Progress> {
        Ok(Progress::Done)
    }

    fn send_checkpoint(&mut self, value: &[u8], until: Instant) -> Result<Progress> {
        if self.flaw == Some(Flaw::CheckpointApart) {
            let done = self.node.wait_delivered(self.producer(), until)?;
            if done == Progress::Pending
                || self.node.end_transaction(self.producer(), true, until)? == Progress::Pending
            {
                return Ok(Progress::Pending);
            }
        }
        let mut world = self.node.step("send the checkpoint")?;
        let record = Record::State { key: CHECKPOINT.into(), value: Some(value.into()) };
        world.say(|| format!("        {}", told(&record)));
        world.kafka.hand_over(self.producer(), CHECKPOINTS, record);
        if self.flaw == Some(Flaw::ConfirmsBeforeCommit) {
            let checkpoint: Checkpoint = serde_json::from_slice(value).unwrap();
            world.postgres.connections[self.connection].confirmed = checkpoint.next_lsn.0;
        }
        Ok(Progress::Done)
    }

    fn wait_delivered(&mut self, until: Instant) -> Result<Progress> {
        match self.flaw {
            Some(Flaw::CommitsUndelivered) => Ok(Progress::Done),
            Some(Flaw::SendsBeforeAcknowledged) if self.turns.may_overlap() => Ok(Progress::Done),
            Some(Flaw::SparesTheLater) => Ok(self.node.wait_delivered(self.oldest(), until).unwrap_or(Progress::Done)),
            _ => self.node.wait_delivered(self.oldest(), until),
        }
    }

    fn commit(&mut self, until: Instant) -> Result<Progress> {
        if self.flaw == Some(Flaw::SendsBeforeAcknowledged)
            && self.node.wait_delivered(self.oldest(), until)? == Progress::Pending
        {
            return Ok(Progress::Pending);
        }
        let refused = self.node.world().kafka.producers[self.oldest()].failed;
        if self.flaw == Some(Flaw::SparesTheLater) && refused && self.turns.overlaps() {
            return self.abort_oldest(until);
        }
        let progress = self.node.end_transaction(self.oldest(), true, until)?;
        if progress == Progress::Done {
            self.turns.committed();
        }
        Ok(progress)
    }

    fn abort(&mut self, until: Instant) -> Result<Progress> {
        while self.turns.overlaps() {
            if self.abort_oldest(until)? == Progress::Pending {
                return Ok(Progress::Pending);
            }
        }
        self.abort_oldest(until)
    }

    fn acknowledged(&self) -> Option<Offsets> {
        let is_transactional = self.node.is_transactional();
        let world = self.node.world();
        let acknowledged = || BTreeMap::from([(wire::TOPIC.to_owned(), world.kafka.acknowledged(self.producer()))]);
        (!is_transactional).then(acknowledged)
    }

    fn in_flight(&self) -> u64 {
        let world = self.node.cell.borrow();
        let of = |producer: usize| {
            let producer = &world.kafka.producers[producer];
            producer.sent.saturating_sub(producer.done)
        };
        of(self.oldest()) + if self.turns.overlaps() { of(self.producer()) } else { 0 }
    }

    fn pending_error(&self, doing: &str) -> Error {
        unreachable(doing)
    }

    fn confirm(&mut self, next_lsn: Lsn) {
        self.confirmed = next_lsn;
        if let Ok(mut world) = self.node.step("confirm") {
            let confirmed = &mut world.postgres.connections[self.connection].confirmed;
            *confirmed = next_lsn.0.max(*confirmed);
        }
    }

    fn count(&mut self, _: &Tally, _: usize, _: Lsn, _: usize) {
        self.node.world().committed(self.node.id, 1);
    }
}
