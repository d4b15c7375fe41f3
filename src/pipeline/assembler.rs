//! Frames to units: decodes, asks the ledger, maps, encodes, and hands over whole transactions.
//!
//! A transaction joins a unit once it is complete or `LARGE_BYTES` long; a longer one goes on in pieces, in flat memory.
//! Units leave at the end of a received buffer unless the committer is behind, so that nothing waits while the source is
//! idle.

mod gated;

use std::time::Instant;

use gated::Gating;

use super::emit::{Emitter, Origin, Place};
use super::relations::Relations;
use super::snapshot::Halves;
use super::spares::Spares;
use super::unit::{Ended, FilterRule, Tally, Unit, UnitKind};
use crate::checkpoint::ledger::{Admission, Ledger};
use crate::decode::{Decoder, Message};
use crate::error::{At, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::model::{Batch, Change, Lsn, Operation, Position};

/// A transaction with more encoded bytes than this leaves in pieces.
pub(super) const LARGE_BYTES: usize = 1 << 20;

/// What is sent so long after its commit is part of a backlog.
const BEHIND_US: i64 = 200_000;

/// The state of one session's decoding.
pub(super) struct Assembler {
    ledger: Ledger,
    decoder: Decoder,
    relations: Relations,
    emitter: Emitter,
    epoch: u32,
    /// Encoded bytes from which on a transaction leaves in pieces.
    large_bytes: usize,
    batch: Batch,
    spares: Spares,
    /// Of the whole transactions in `batch`.
    done: Tally,
    /// There are any.
    has_whole: bool,
    transaction: Transaction,
    /// All before it was received.
    next_lsn: Lsn,
    /// A keepalive behind the whole transactions has moved `next_lsn`.
    has_moved: bool,
    /// The server waits for `next_lsn` to be confirmed.
    reply_owed: bool,
    /// When a change came last.
    heard: Instant,
    /// It was sent long after its commit.
    behind: bool,
    gating: Gating,
}

/// The transaction that is being received.
struct Transaction {
    open: bool,
    dropped: bool,
    /// Changes to leave out, since they are on Kafka.
    from: u64,
    commit_lsn: Lsn,
    commit_us: i64,
    /// Changes received.
    changes: u64,
    /// Its first record in the batch.
    first_record: usize,
    first_byte: usize,
    /// Pieces of it have left.
    large: bool,
    tally: Tally,
    counts: TableCounts,
}

/// How many changes of each table the open transaction had; cleared in constant time.
#[derive(Default)]
struct TableCounts {
    serial: u64,
    by_table: Vec<(u64, u64)>,
}

impl TableCounts {
    fn clear(&mut self) {
        self.serial += 1;
    }

    /// The count so far; counts one more.
    fn next(&mut self, table: usize) -> u64 {
        if self.by_table.len() <= table {
            self.by_table.resize(table + 1, (0, 0));
        }
        let (serial, count) = &mut self.by_table[table];
        if *serial != self.serial {
            (*serial, *count) = (self.serial, 0);
        }
        *count += 1;
        *count - 1
    }
}

impl Assembler {
    pub(super) fn new(
        epoch: u32,
        ledger: Ledger,
        relations: Relations,
        emitter: Emitter,
        large_bytes: usize,
    ) -> Assembler {
        Assembler {
            next_lsn: ledger.next_lsn(),
            heard: Instant::now(),
            behind: false,
            gating: Gating::default(),
            ledger,
            decoder: Decoder::default(),
            relations,
            emitter,
            epoch,
            large_bytes,
            batch: Batch::default(),
            spares: Spares::default(),
            done: Tally::default(),
            has_whole: false,
            has_moved: false,
            reply_owed: false,
            transaction: Transaction {
                open: false,
                dropped: false,
                from: 0,
                commit_lsn: Lsn(0),
                commit_us: 0,
                changes: 0,
                first_record: 0,
                first_byte: 0,
                large: false,
                tally: Tally::default(),
                counts: TableCounts::default(),
            },
        }
    }

    /// Pieces of the open transaction have left, so its Kafka transaction is open and must not wait for ever.
    pub(super) fn large_open(&self) -> Option<Lsn> {
        (self.transaction.open && self.transaction.large).then_some(self.transaction.commit_lsn)
    }

    /// Whether what was committed at `lsn` is on Kafka since before this session.
    pub(super) fn is_behind_us(&self, lsn: Lsn) -> bool {
        self.ledger.admit(lsn) == Admission::Drop
    }

    /// When the server sent the last change, by its own clock (microseconds since 2000-01-01), as its commit time is. None: it
    /// has sent all that there is.
    pub(super) fn sent(&mut self, time_us: Option<i64>) {
        self.behind = time_us.is_some_and(|time_us| time_us.saturating_sub(self.transaction.commit_us) >= BEHIND_US);
    }

    /// Whether the source is sending what was committed long ago: whole transactions may wait for others.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Encoded bytes that have not left.
    pub(super) fn gathered_bytes(&self) -> usize {
        self.batch.bytes.len()
    }

    /// One pgoutput message. Finished units go into `sink`; its error ends the session.
    pub(super) fn message(&mut self, body: &[u8], sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        if let Some(index) = self.decoder.narrowed(body) {
            self.relations.define(index, &mut self.decoder)?;
        }
        let halves = match body.first() {
            Some(b'I' | b'U' | b'D') if self.is_gated() => self.judge(body, sink)?,
            _ => Halves::PUBLISHED,
        };
        match self.decoder.decode(body)? {
            Message::Row { relation, change } => {
                faults::pass(Failpoint::RowReceived);
                let number = self.relations.number(relation);
                let Some(place) = self.transaction.place(number, self.epoch) else { return Ok(()) };
                let (relations, tally) = (&self.relations, &mut self.transaction.tally);
                if halves == Halves::PUBLISHED {
                    emit(relations, &mut self.emitter, &mut self.batch, tally, relation, &change, &place)?;
                } else {
                    let table = relations.table(relation)?;
                    self.emitter.emit_halves(table, &change, halves, &place, &mut self.batch, tally)?;
                }
                self.cut(sink)
            }
            Message::Begin { final_lsn, commit_time_us, xid } => {
                faults::pass(Failpoint::BeginReceived);
                if let Some(gate) = &mut self.gating.gate {
                    gate.begin(xid);
                }
                self.begin(final_lsn, commit_time_us)
            }
            Message::Commit { commit_lsn, end_lsn, .. } => {
                faults::pass(Failpoint::CommitReceived);
                self.commit(commit_lsn, end_lsn, sink)
            }
            Message::Relation { index } => {
                faults::pass(Failpoint::RelationReceived);
                self.relations.define(index, &mut self.decoder)?;
                match (&mut self.gating.gate, self.decoder.relation(index)) {
                    (Some(gate), Some(relation)) => gate.define(index, relation),
                    _ => Ok(()),
                }
            }
            Message::Truncate { relations: truncated, .. } => {
                faults::pass(Failpoint::TruncateReceived);
                let truncated = truncated.to_vec();
                self.truncate(&truncated, sink)
            }
            Message::Logical { transactional, lsn, .. } => {
                faults::pass(Failpoint::MessageReceived);
                self.logical(transactional, lsn);
                Ok(())
            }
            Message::Origin => {
                faults::pass(Failpoint::OriginReceived);
                Ok(())
            }
            Message::Type => {
                faults::pass(Failpoint::TypeReceived);
                Ok(())
            }
        }
    }

    fn truncate(&mut self, truncated: &[usize], sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        if mutated(Mutation::LostTruncate) {
            return Ok(());
        }
        let change = Change { operation: Operation::Truncate, old: None, new: None };
        for &relation in truncated {
            let published = self.judge_truncate(relation, sink)?;
            let number = self.relations.number(relation);
            let Some(place) = self.transaction.place(number, self.epoch) else { continue };
            let (relations, tally) = (&self.relations, &mut self.transaction.tally);
            if !published {
                tally.cover();
                continue;
            }
            emit(relations, &mut self.emitter, &mut self.batch, tally, relation, &change, &place)?;
        }
        self.cut(sink)
    }

    /// A keepalive: everything before `wal_end` was received. It cuts no unit: a server that has sent everything sends one
    /// behind each transaction until they are confirmed.
    pub(super) fn keepalive(&mut self, wal_end: Lsn, reply_requested: bool) -> Result<()> {
        faults::pass(Failpoint::KeepaliveReceived);
        let Some(wal_end) = self.ledger.keepalive(wal_end) else { return Ok(()) };
        self.has_moved |= wal_end > self.next_lsn;
        self.reply_owed |= reply_requested;
        self.advance(wal_end.max(self.next_lsn))
    }

    /// Whole transactions leave now, and behind them the position to which keepalives have moved.
    pub(super) fn flush(&mut self, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        self.flush_whole(sink)?;
        let reply_requested = std::mem::take(&mut self.reply_owed);
        if !std::mem::take(&mut self.has_moved) && !reply_requested {
            return Ok(());
        }
        let kind = UnitKind::Progress { next_lsn: self.next_lsn, reply_requested };
        self.leave(Unit::new(kind, Batch::default(), Tally::default(), None), sink)
    }

    fn flush_whole(&mut self, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        if !std::mem::take(&mut self.has_whole) {
            return Ok(());
        }
        // No keepalive needs a unit of its own for what this one says.
        self.has_moved = false;
        let next_lsn = self.next_lsn;
        let mut rest = self.empty_batch();
        if self.transaction.open && !self.transaction.large {
            rest = self.batch.split_off(self.transaction.first_record, rest);
        }
        self.transaction.first_record = 0;
        self.transaction.first_byte = 0;
        let mut batch = std::mem::replace(&mut self.batch, rest);
        if mutated(Mutation::LastOfKeyOnly) {
            let Batch { records, bytes, .. } = &mut batch;
            let last = |at: usize| {
                records[at + 1..].iter().all(|later| bytes[later.key.clone()] != bytes[records[at].key.clone()])
            };
            let kept = (0..records.len()).filter(|at| last(*at)).map(|at| records[at].clone()).collect();
            *records = kept;
        }
        let tally = std::mem::take(&mut self.done);
        let oldest_us = tally.transactions.first().map(|ended| ended.commit_us).filter(|_| !batch.is_empty());
        self.leave(Unit::new(UnitKind::Whole { next_lsn }, batch, tally, oldest_us), sink)
    }

    /// A unit leaves, with what there is to say of snapshots.
    fn leave(&mut self, mut unit: Unit, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        unit.batch.group_by_partition();
        unit.behind = self.behind;
        let many_follow = self.behind || matches!(unit.kind, UnitKind::Chunk { .. });
        unit.spares = many_follow.then(|| self.spares.clone());
        let is_progress = matches!(unit.kind, UnitKind::Progress { .. });
        if let Some(gate) = self.gating.gate.as_mut().filter(|gate| !(is_progress && gate.is_note())) {
            let (progress, pending, answers) = gate.leave();
            (unit.progress, unit.pending, unit.answers) = (progress, Some(pending), answers);
        }
        sink(unit)
    }

    /// All before `next_lsn` was received.
    fn advance(&mut self, next_lsn: Lsn) -> Result<()> {
        self.next_lsn = next_lsn;
        self.gating.gate.as_mut().map_or(Ok(()), |gate| gate.advance(next_lsn))
    }

    fn begin(&mut self, commit_lsn: Lsn, commit_us: i64) -> Result<()> {
        let admission = self.ledger.begin(commit_lsn)?;
        let transaction = &mut self.transaction;
        transaction.open = true;
        transaction.dropped = admission == Admission::Drop;
        transaction.from = if let Admission::Publish { from } = admission { from } else { 0 };
        (transaction.commit_lsn, transaction.commit_us) = (commit_lsn, commit_us);
        transaction.changes = 0;
        transaction.first_record = self.batch.records.len();
        transaction.first_byte = self.batch.bytes.len();
        transaction.large = false;
        transaction.counts.clear();
        Ok(())
    }

    fn commit(&mut self, commit_lsn: Lsn, end_lsn: Lsn, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        let next_lsn = self.ledger.commit(commit_lsn, end_lsn)?;
        self.advance(next_lsn)?;
        let transaction = &mut self.transaction;
        transaction.open = false;
        if transaction.dropped {
            return Ok(());
        }
        let Transaction { commit_us, changes, .. } = *transaction;
        transaction.tally.transactions.push(Ended { commit_us, changes });
        if transaction.large {
            return self.piece(Some(next_lsn), sink);
        }
        if mutated(Mutation::DropLastRow) && self.batch.records.len() > transaction.first_record {
            self.batch.records.pop();
        }
        self.done.take(&mut self.transaction.tally);
        self.has_whole = true;
        Ok(())
    }

    /// A message written by `pg_logical_emit_message`: received, and filtered until rules can take it.
    fn logical(&mut self, transactional: bool, lsn: Lsn) {
        let transaction = &mut self.transaction;
        if transactional {
            if transaction.dropped {
                return;
            }
            transaction.changes += 1;
            if transaction.changes > transaction.from {
                transaction.tally.filter(FilterRule::Message);
            }
        } else if self.ledger.admit(lsn) != Admission::Drop {
            self.done.filter(FilterRule::Message);
        }
    }

    fn empty_batch(&self) -> Batch {
        self.spares.take().unwrap_or_else(|| self.batch.room_for_another())
    }

    /// Sends a piece of a transaction that has grown past `large_bytes`.
    fn cut(&mut self, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        if self.batch.bytes.len() - self.transaction.first_byte < self.large_bytes {
            return Ok(());
        }
        if !self.transaction.large {
            self.flush(sink)?;
            self.transaction.large = true;
        }
        self.piece(None, sink)
    }

    fn piece(&mut self, end: Option<Lsn>, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        let transaction = &mut self.transaction;
        let tally = std::mem::take(&mut transaction.tally);
        (transaction.first_record, transaction.first_byte) = (0, 0);
        let kind = UnitKind::Piece { commit_lsn: transaction.commit_lsn, changes: transaction.changes, end };
        let oldest_us = Some(transaction.commit_us);
        let empty = self.empty_batch();
        let unit = Unit::new(kind, std::mem::replace(&mut self.batch, empty), tally, oldest_us);
        self.leave(unit, sink)
    }
}

impl Transaction {
    /// The next change of it is on Kafka already.
    fn is_published_before(&self) -> bool {
        self.dropped || self.changes < self.from
    }

    /// Where the next change stands; None where it is on Kafka already.
    fn place(&mut self, table: usize, epoch: u32) -> Option<Place<'static>> {
        if self.dropped {
            return None;
        }
        let table = if mutated(Mutation::IdCountsAllTables) { 0 } else { table };
        let (n, k) = (self.changes, self.counts.next(table));
        self.changes += 1;
        if n < self.from {
            return None;
        }
        let position = Position { epoch, lsn: self.commit_lsn, n, r: u64::MAX };
        Some(Place { position, origin: Origin::Change { k }, time_us: self.commit_us })
    }
}

fn emit(
    relations: &Relations,
    emitter: &mut Emitter,
    batch: &mut Batch,
    tally: &mut Tally,
    relation: usize,
    change: &Change<'_>,
    place: &Place<'_>,
) -> Result<()> {
    let table = relations.table(relation)?;
    let emitted = emitter.emit(table, change, place, batch, tally);
    emitted.map_err(|error| error.at(At::position(place.position)).at(At::table(table.relation.name.clone())))
}

#[cfg(test)]
mod tests;
