//! What the committer needs of the world: units in, producers out, a clock.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, at, never, select};

use super::inflight::Inflight;
use super::metrics::ConnectorMetrics;
use super::unit::{Tally, Unit};
use crate::checkpoint::record::{CHECKPOINT, Offsets};
use crate::error::{Error, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::model::{Batch, Lsn};
use crate::publish::{Names, Others, Producer, Progress, Turns};
use crate::snapshot::Entry;
use crate::source::Stream;

/// The way from the assembler's units to Kafka, and back to the slot. `KafkaLane` is the real one; the simulation has its
/// own, so that the committer it runs is this one. What may last takes an instant until which it waits (`Progress`).
pub(super) trait Lane {
    fn now(&self) -> Instant;
    /// The next unit, waited for until `due`; None: for as long as it takes.
    fn next(&mut self, due: Option<Instant>) -> Result<Unit, RecvTimeoutError>;
    /// A unit that waits already.
    fn waiting(&mut self) -> Option<Unit>;

    /// Whether a transaction may begin while the one before it, which is closed, is not committed.
    fn may_overlap(&self) -> bool;
    /// Opens a Kafka transaction.
    fn begin(&mut self) -> Result<()>;
    /// Nothing more goes into the open transaction.
    fn close(&mut self);
    /// Hands over the batch's records from index `first` on; the index of the first that was not taken.
    fn send(&mut self, batch: &Batch, first: usize, until: Instant) -> Result<usize>;
    /// Hands over a record of a snapshot's progress.
    fn send_progress(&mut self, entry: &Entry, until: Instant) -> Result<Progress>;
    /// Hands over a checkpoint record.
    fn send_checkpoint(&mut self, value: &[u8], until: Instant) -> Result<Progress>;
    /// Waits until all that was handed over for the oldest transaction is acknowledged.
    fn wait_delivered(&mut self, until: Instant) -> Result<Progress>;
    /// Commits the oldest transaction.
    fn commit(&mut self, until: Instant) -> Result<Progress>;
    /// Aborts what is open.
    fn abort(&mut self, until: Instant) -> Result<Progress>;
    /// Behind the last acknowledged record of each partition; None with transactions, or where it is of no use.
    fn acknowledged(&self) -> Option<Offsets>;
    /// Records that are handed over and not acknowledged.
    fn in_flight(&self) -> u64;
    /// What a call that stays pending waits for, in words.
    fn pending_error(&self, doing: &str) -> Error;

    /// Kafka has committed everything before `next_lsn`: the slot may forget it.
    fn confirm(&mut self, next_lsn: Lsn);
    /// Counts what a commit made visible: so many bytes, so many units with records.
    fn count(&mut self, tally: &Tally, bytes: usize, next_lsn: Lsn, units: usize);
}

/// The real lane of one session.
pub(super) struct KafkaLane {
    pub(super) units: Receiver<Unit>,
    /// Told when none of them waits any more.
    pub(super) room: Sender<()>,
    pub(super) turns: Turns<Producer>,
    pub(super) others: Others,
    pub(super) stream: Arc<Stream>,
    /// Kafka names by the plan's topic index.
    pub(super) topics: Vec<String>,
    /// By the index in `model::Header`.
    pub(super) headers: Vec<String>,
    pub(super) checkpoint_topic: String,
    pub(super) metrics: Arc<ConnectorMetrics>,
    pub(super) inflight: Inflight,
}

impl KafkaLane {
    /// As the channel's own `recv_deadline`, which spins and yields before it sleeps; `select!` sleeps at once.
    fn wait(&self, due: Option<Instant>) -> Result<Unit, RecvTimeoutError> {
        let due = due.map_or_else(never, at);
        select! {
            recv(self.units) -> unit => unit.map_err(|_| RecvTimeoutError::Disconnected),
            recv(due) -> _ => Err(RecvTimeoutError::Timeout),
        }
    }

    fn taken(&self, unit: Result<Unit, RecvTimeoutError>) -> Result<Unit, RecvTimeoutError> {
        if unit.is_ok() && self.units.is_empty() {
            // Full: it has been told.
            let _told = self.room.try_send(());
        }
        unit
    }
}

impl Lane for KafkaLane {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn next(&mut self, due: Option<Instant>) -> Result<Unit, RecvTimeoutError> {
        let rest = self.others.rest_at().filter(|rest| !self.turns.is_alone() && due.is_none_or(|due| *rest < due));
        if let Some(rest) = rest {
            match self.wait(Some(rest)) {
                Err(RecvTimeoutError::Timeout) => self.turns.rest(),
                next => return self.taken(next),
            }
        }
        let next = self.wait(due);
        self.taken(next)
    }

    fn waiting(&mut self) -> Option<Unit> {
        let waiting = self.units.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        self.taken(waiting).ok()
    }

    fn may_overlap(&self) -> bool {
        self.turns.may_overlap()
    }

    fn begin(&mut self) -> Result<()> {
        let taken = self.others.begun(self.turns.is_alone())?;
        self.turns.begin(taken).begin()
    }

    fn close(&mut self) {
        self.turns.close();
    }

    fn send(&mut self, batch: &Batch, first: usize, until: Instant) -> Result<usize> {
        let names = Names { topics: &self.topics, headers: &self.headers };
        self.turns.current_mut().send(batch, first, names, until)
    }

    fn send_progress(&mut self, entry: &Entry, until: Instant) -> Result<Progress> {
        self.turns.current_mut().send_raw(
            &self.checkpoint_topic,
            0,
            entry.key.as_bytes(),
            entry.value.as_deref(),
            until,
        )
    }

    fn send_checkpoint(&mut self, value: &[u8], until: Instant) -> Result<Progress> {
        let key = if mutated(Mutation::CheckpointKeys) { value } else { CHECKPOINT.as_bytes() };
        self.turns.current_mut().send_raw(&self.checkpoint_topic, 0, key, Some(value), until)
    }

    fn wait_delivered(&mut self, until: Instant) -> Result<Progress> {
        self.turns.oldest_mut().wait_delivered(until)
    }

    fn commit(&mut self, until: Instant) -> Result<Progress> {
        let progress = self.turns.oldest_mut().commit(until)?;
        if progress == Progress::Done {
            self.others.committed();
            if self.turns.committed() {
                faults::pass(Failpoint::TurnsBegun);
            }
        }
        Ok(progress)
    }

    fn abort(&mut self, until: Instant) -> Result<Progress> {
        if self.turns.overlaps() {
            if self.turns.oldest_mut().abort(until)? == Progress::Pending {
                return Ok(Progress::Pending);
            }
            self.turns.aborted();
        }
        let progress = self.turns.oldest_mut().abort(until)?;
        if progress == Progress::Done {
            self.turns.aborted();
        }
        Ok(progress)
    }

    fn acknowledged(&self) -> Option<Offsets> {
        self.turns.current().acknowledged()
    }

    fn in_flight(&self) -> u64 {
        let before = if self.turns.overlaps() { self.turns.oldest().in_flight() } else { 0 };
        before + self.turns.current().in_flight()
    }

    fn pending_error(&self, doing: &str) -> Error {
        self.turns.oldest().pending_error(doing)
    }

    fn confirm(&mut self, next_lsn: Lsn) {
        let received = mutated(Mutation::ConfirmWalEnd).then(|| self.stream.received_wal_end());
        self.stream.confirm(received.map_or(next_lsn, |received| received.max(next_lsn)));
    }

    fn count(&mut self, tally: &Tally, bytes: usize, next_lsn: Lsn, units: usize) {
        self.metrics.committed(tally, bytes, next_lsn);
        self.inflight.remove(units);
    }
}
