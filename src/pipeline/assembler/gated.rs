//! The stream while tables are read: changes are judged before they are mapped, and chunks come in between.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never};

use super::{Assembler, Place};
use crate::decode::CopyRows;
use crate::encode::Capture;
use crate::error::{At, Error, Kind, Result};
use crate::faults::{self, Failpoint};
use crate::model::{Batch, Change, Operation, Position};
use crate::pipeline::emit::Origin;
use crate::pipeline::programs::TablePrograms;
use crate::pipeline::snapshot::{Ask, Gate, Halves};
use crate::pipeline::spares::Spares;
use crate::pipeline::unit::{Tally, Unit, UnitKind};
use crate::snapshot::{RangeId, Variant};

/// The longest that a chunk waits for a busy stream.
const CHUNK_PATIENCE: Duration = Duration::from_millis(200);
/// A stream without a change for so long is quiet.
const QUIET: Duration = Duration::from_secs(1);
/// As many units may wait for the committer when one more chunk leaves, where the stream is quiet.
const CHUNKS_MAX: usize = 2;

/// What the assembler knows of tables that are read.
#[derive(Default)]
pub(super) struct Gating {
    /// None: no table is.
    pub(super) gate: Option<Gate>,
    /// The programs of the tables that were read last, by name.
    programs: Vec<TablePrograms>,
    /// Reads that were published at the position of the last one.
    reads: u64,
    at: Option<(crate::model::Lsn, u64)>,
    /// When a chunk was published last.
    published: Option<Instant>,
}

impl Assembler {
    /// Lets changes through `gate` from here on.
    pub(in crate::pipeline) fn set_gate(&mut self, gate: Option<Gate>) {
        self.gating.gate = gate;
    }

    /// Whether changes must be looked up and judged.
    pub(in crate::pipeline) fn is_gated(&self) -> bool {
        self.gating.gate.is_some()
    }

    /// A change has come.
    pub(in crate::pipeline) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When a change came last.
    pub(in crate::pipeline) fn heard(&self) -> Instant {
        self.heard
    }

    fn is_quiet(&self) -> bool {
        self.heard.elapsed() >= QUIET
    }

    /// Until when the stream pauses.
    pub(in crate::pipeline) fn paused_until(&self) -> Option<Instant> {
        self.gating.gate.as_ref().and_then(Gate::paused_until)
    }

    /// What workers ask.
    pub(in crate::pipeline) fn asks(&self) -> Receiver<Ask> {
        self.gating.gate.as_ref().map_or_else(never, |gate| gate.asks().clone())
    }

    /// Answers a worker.
    pub(in crate::pipeline) fn answer(&mut self, ask: Ask) -> Result<()> {
        self.gating.gate.as_mut().map_or(Ok(()), |gate| gate.answer(ask))
    }

    /// Answers those who have asked meanwhile: each holds a transaction open on the source.
    pub(in crate::pipeline) fn answer_all(&mut self) -> Result<()> {
        while let Some(ask) = self.gating.gate.as_ref().and_then(|gate| gate.asks().try_recv().ok()) {
            self.answer(ask)?;
        }
        Ok(())
    }

    /// Looks up where keys lie, for as many of the messages as can be looked up at once; their number.
    pub(in crate::pipeline) fn locate<'b>(&mut self, bodies: impl Iterator<Item = &'b [u8]>) -> Result<usize> {
        let Some(gate) = &mut self.gating.gate else { return Ok(usize::MAX) };
        gate.locate(&mut self.decoder, bodies)
    }

    /// Publishes the chunks that are ready, and lets the gate go once nothing is left to judge.
    /// The stream goes first: a chunk leaves while few enough units are `waiting` for the committer, so that a change
    /// does not find many before it; or where none has for a while.
    pub(in crate::pipeline) fn publish_ready(
        &mut self,
        waiting: impl Fn() -> usize,
        sink: &mut impl FnMut(Unit) -> Result<()>,
    ) -> Result<()> {
        let waiting_max = if self.is_quiet() { CHUNKS_MAX } else { 1 };
        let is_roomy = || waiting() < waiting_max;
        while let Some(range) = self.gating.gate.as_mut().and_then(Gate::ready) {
            if !is_roomy() && self.gating.published.is_some_and(|published| published.elapsed() < CHUNK_PATIENCE) {
                break;
            }
            self.publish_chunk(range, sink)?;
        }
        // Publishing may have been what they wait for, and time is.
        let beside = !self.is_quiet();
        if let Some(gate) = &mut self.gating.gate {
            gate.set_beside(beside);
            gate.serve();
        }
        if let Some(gate) = &mut self.gating.gate
            && gate.hurries()
        {
            let (kind, none) = (UnitKind::Chunk { beside, anew: gate.begun_anew() }, Tally::default());
            self.leave(Unit::new(kind, Batch::default(), none, None), sink)?;
        }
        if self.gating.gate.as_ref().is_some_and(Gate::is_over) {
            self.gating = Gating::default();
            // Those of chunks are larger than the stream's.
            self.spares = Spares::default();
        }
        Ok(())
    }

    /// What becomes of a row's change; waits for a chunk where the change must come behind it.
    pub(super) fn judge(&mut self, body: &[u8], sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<Halves> {
        loop {
            let skipped = self.transaction.is_published_before();
            let Some(gate) = &mut self.gating.gate else { return Ok(Halves::PUBLISHED) };
            if skipped {
                gate.skip(&mut self.decoder, body)?;
                return Ok(Halves::PUBLISHED);
            }
            match gate.judge(&mut self.decoder, body)? {
                Ok(halves) => return Ok(halves),
                Err(range) => self.hold(range, sink)?,
            }
        }
    }

    /// Whether a truncate of this table is published.
    pub(super) fn judge_truncate(
        &mut self,
        relation: usize,
        sink: &mut impl FnMut(Unit) -> Result<()>,
    ) -> Result<bool> {
        loop {
            if self.transaction.is_published_before() {
                return Ok(true);
            }
            let Some(gate) = &mut self.gating.gate else { return Ok(true) };
            match gate.truncate(relation) {
                Ok(published) => return Ok(published),
                Err(range) => self.hold(range, sink)?,
            }
        }
    }

    /// The stream stands until the range is published, or given up.
    fn hold(&mut self, range: RangeId, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        self.flush(sink)?;
        loop {
            let Some(gate) = &mut self.gating.gate else { return Ok(()) };
            if !gate.is_read(range) {
                gate.answer(Ask::Failed(range))?;
                return Ok(());
            }
            match gate.ready() {
                Some(ready) => {
                    self.publish_chunk(ready, sink)?;
                    if ready == range {
                        return Ok(());
                    }
                }
                None => {
                    let gone = |_| Error::new(Kind::PostgresUnreachable, "the snapshot's readers have ended");
                    let ask = gate.asks().recv().map_err(gone)?;
                    gate.answer(ask)?;
                }
            }
        }
    }

    fn publish_chunk(&mut self, range: RangeId, sink: &mut impl FnMut(Unit) -> Result<()>) -> Result<()> {
        self.flush(sink)?;
        let Some(gate) = &mut self.gating.gate else { return Ok(()) };
        let Some(read) = gate.take(range)? else { return Ok(()) };
        let table = read.rows.relation.name.clone();
        let position = self.read_position();
        self.compile(&read.rows.relation)?;
        let mut batch = self.spares.take().unwrap_or_default();
        let mut tally = Tally::default();
        let mut rows = CopyRows::new(&read.rows.bytes, &read.rows.slots)?;
        let (mut count, mut spelling, mut version) = (0, Vec::new(), Vec::new());
        let capture = match read.variant {
            Variant::Initial => Capture::Snapshot,
            Variant::Backfill => Capture::Backfill,
        };
        let programs = self.gating.programs.iter().find(|programs| programs.relation.name == table);
        let Some(programs) = programs else { return Err(Error::new(Kind::Bug, "a chunk of no known table")) };
        while let Some(row) = rows.next_row().map_err(|error| error.at(At::table(table.clone())))? {
            if read.leaves_out(row, &mut spelling) {
                continue;
            }
            version.clear();
            read.rows.write_version(row, &mut version)?;
            let origin = Origin::Read { version: &version, capture };
            let position = Position { r: self.gating.reads, ..position };
            let place = Place { position, origin, time_us: read.rows.taken_us };
            let change = Change { operation: Operation::Read, old: None, new: Some(row) };
            let emitted = self.emitter.emit(programs, &change, &place, &mut batch, &mut tally);
            emitted.map_err(|error| error.at(At::table(table.clone())))?;
            self.gating.reads += 1;
            count += 1;
        }
        let mut anew = 0;
        if let Some(gate) = &mut self.gating.gate {
            gate.publish(range, count)?;
            anew = gate.begun_anew();
        }
        self.gating.published = Some(Instant::now());
        let kind = UnitKind::Chunk { beside: !self.is_quiet(), anew };
        self.leave(Unit { read_of: Some(table), ..Unit::new(kind, batch, tally, None) }, sink)?;
        read.done();
        faults::pass(Failpoint::ChunkLeft);
        Ok(())
    }

    /// Before the open transaction, or where the pieces of it that have left end.
    fn read_position(&mut self) -> Position {
        let transaction = &self.transaction;
        let (lsn, n) = match (transaction.open, transaction.large) {
            (true, true) => (transaction.commit_lsn, transaction.changes),
            (true, false) => (transaction.commit_lsn, 0),
            (false, _) => (self.next_lsn, 0),
        };
        if self.gating.at != Some((lsn, n)) {
            (self.gating.at, self.gating.reads) = (Some((lsn, n)), 0);
        }
        Position { epoch: self.epoch, lsn, n, r: 0 }
    }

    /// Compiles the table's programs, unless it is as it was.
    fn compile(&mut self, relation: &std::sync::Arc<crate::model::Relation>) -> Result<()> {
        if self.gating.programs.iter().any(|programs| programs.relation == *relation) {
            return Ok(());
        }
        let programs = self.relations.compile(relation)?;
        self.gating.programs.retain(|other| other.relation.name != relation.name);
        self.gating.programs.push(programs);
        Ok(())
    }
}
