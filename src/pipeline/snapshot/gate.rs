//! The assembler's side: what becomes of each change while tables are read, and the chunks that wait to be published.

mod asked;
mod located;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendError, Sender};
use tokio::runtime::Handle;

use self::located::{Gated, Located, key_of, spell};
use super::{Answered, Ask, Asked, ChunkRows, Next, Progress};
use crate::connector::Plan;
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::model::{Lsn, Row};
use crate::pipeline::unit::Pending;
use crate::snapshot::{Entry, LeftOut, Offer, RangeId, Snapshot, State, Variant, Wait};
use crate::source::Sql;

/// The longest that the stream pauses for a range which no snapshot can read.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the unseen transactions of what is paused are looked through.
const PRUNE_INTERVAL: Duration = Duration::from_secs(5);

/// What a gate begins with.
pub(in crate::pipeline) struct GateSettings {
    pub(in crate::pipeline) handle: Handle,
    pub(in crate::pipeline) sql: Arc<Sql>,
    pub(in crate::pipeline) asks: Receiver<Ask>,
    /// What the connector file says of tables.
    pub(in crate::pipeline) plan: Arc<Plan>,
    pub(in crate::pipeline) commands: Vec<Asked>,
    /// Where to say how far things are.
    pub(in crate::pipeline) report: Progress,
    pub(in crate::pipeline) progress: BTreeMap<String, Vec<u8>>,
    pub(in crate::pipeline) unseen: BTreeMap<String, Vec<u64>>,
    pub(in crate::pipeline) next_lsn: Lsn,
    /// Microseconds since 1970.
    pub(in crate::pipeline) now_us: i64,
    /// A recent xid, by which those of the stream are widened.
    pub(in crate::pipeline) xid: u64,
}

/// What becomes of a change: of its old key and of its new one. None: it has no such half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct Halves {
    pub(in crate::pipeline) old: Option<bool>,
    pub(in crate::pipeline) new: Option<bool>,
}

impl Halves {
    /// A change of no table that is read.
    pub(in crate::pipeline) const PUBLISHED: Halves = Halves { old: Some(true), new: Some(true) };

    /// Whether nothing of it is published.
    pub(in crate::pipeline) fn is_covered(&self) -> bool {
        !(self.old.unwrap_or(false) || self.new.unwrap_or(false))
    }

    /// Only the new key is.
    pub(in crate::pipeline) fn is_new_only(&self) -> bool {
        self.old == Some(false) && self.new == Some(true)
    }

    /// Only the old key is.
    pub(in crate::pipeline) fn is_old_only(&self) -> bool {
        self.old == Some(true) && self.new == Some(false)
    }
}

/// A chunk that was read.
pub(in crate::pipeline) struct Read {
    pub(in crate::pipeline) rows: ChunkRows,
    pub(in crate::pipeline) variant: Variant,
    left_out: LeftOut,
    published: Sender<Vec<u8>>,
}

impl Read {
    /// The rows are published: the worker gets their memory for the next ones.
    pub(in crate::pipeline) fn done(self) {
        // A worker that has gone needs none.
        drop(self.published.send(self.rows.bytes));
    }

    /// Whether the row is not published, since what the stream says of its key is newer.
    pub(in crate::pipeline) fn leaves_out(&self, row: Row<'_>, spelling: &mut Vec<u8>) -> bool {
        match (&self.left_out, &self.rows.key) {
            (LeftOut::Every, _) => true,
            (LeftOut::Keys(keys), Some(columns)) if !keys.is_empty() => {
                spell(&key_of(row, columns, None), spelling);
                keys.contains(spelling.as_slice())
            }
            (LeftOut::Keys(_), _) => false,
        }
    }
}

/// The state of one session's reading.
pub(in crate::pipeline) struct Gate {
    core: Snapshot,
    handle: Handle,
    sql: Arc<Sql>,
    asks: Receiver<Ask>,
    /// By the decoder's relation index; None where the table is not read.
    gated: Vec<Option<Gated>>,
    located: VecDeque<Located>,
    /// Of the key that is judged.
    spelling: Vec<u8>,
    rows: BTreeMap<RangeId, (ChunkRows, Sender<Vec<u8>>)>,
    progress: Vec<Entry>,
    /// To those who have asked for what the progress says.
    answers: Vec<Answered>,
    /// Records that say what was asked for do not wait for the stream.
    hurry: bool,
    /// Changes come while rows are read.
    beside: bool,
    /// All that it has to say is a note for later starts.
    is_note: bool,
    report: Progress,
    /// Of workers who have nothing to do.
    waiting: Vec<Sender<Next>>,
    paused_until: Option<Instant>,
    pruned: Instant,
    begun_anew: u64,
    alive: Arc<()>,
}

impl Gate {
    /// Tells workers whether this gate is still there.
    pub(in crate::pipeline) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    /// None: nothing is read, and nothing was that a change could still be part of, and nothing is to be noted.
    pub(in crate::pipeline) fn open(settings: GateSettings) -> Result<Option<Gate>> {
        let records = settings.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let core = Snapshot::load(records, &settings.unseen, settings.next_lsn, settings.xid)?;
        let mut gate = Gate {
            core,
            handle: settings.handle,
            sql: settings.sql,
            asks: settings.asks,
            gated: Vec::new(),
            located: VecDeque::new(),
            spelling: Vec::new(),
            rows: BTreeMap::new(),
            progress: Vec::new(),
            answers: Vec::new(),
            hurry: false,
            beside: false,
            is_note: false,
            report: settings.report,
            waiting: Vec::new(),
            paused_until: None,
            pruned: Instant::now(),
            begun_anew: 0,
            alive: Arc::new(()),
        };
        gate.follow(&settings.plan, settings.now_us)?;
        let mut answers = Vec::new();
        for Asked { command, answer } in settings.commands {
            answers.push((answer, gate.command(command, &settings.plan, settings.now_us)?));
        }
        gate.hurry |= !answers.is_empty();
        gate.is_note = gate.core.is_idle() && !gate.hurry;
        gate.begin_report();
        let answers = answers.into_iter().map(|(to, answer)| Answered::new(to, answer));
        if gate.progress.is_empty() {
            answers.for_each(Answered::tell);
        } else {
            gate.answers = answers.collect();
        }
        let is_needed = !gate.core.is_idle() || !gate.progress.is_empty();
        Ok(is_needed.then_some(gate))
    }

    /// Nothing is left to judge: the gate can go, with its workers.
    pub(in crate::pipeline) fn is_over(&self) -> bool {
        self.core.is_idle() && self.progress.is_empty()
    }

    /// Nothing is read, nor remembered of what was.
    pub(in crate::pipeline) fn is_idle(&self) -> bool {
        self.core.is_idle()
    }

    /// What it has to say is worth no Kafka transaction of its own.
    pub(in crate::pipeline) fn is_note(&self) -> bool {
        self.is_note
    }

    pub(in crate::pipeline) fn asks(&self) -> &Receiver<Ask> {
        &self.asks
    }

    /// Until when the stream pauses.
    pub(in crate::pipeline) fn paused_until(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// How often reading a table has begun anew.
    pub(in crate::pipeline) fn begun_anew(&self) -> u64 {
        self.begun_anew
    }

    /// What a unit takes along that leaves now.
    pub(in crate::pipeline) fn leave(&mut self) -> (Vec<Entry>, Pending, Vec<Answered>) {
        let mut pending = (!self.core.is_idle()).then(|| self.core.unseen());
        if mutated(Mutation::UnseenNotKept) {
            pending = pending.map(|_| Arc::default());
        }
        (std::mem::take(&mut self.progress), pending, std::mem::take(&mut self.answers))
    }

    /// A transaction begins.
    pub(in crate::pipeline) fn begin(&mut self, xid: u32) {
        self.core.begin(xid);
    }

    /// All before `next_lsn` is judged.
    pub(in crate::pipeline) fn advance(&mut self, next_lsn: Lsn) -> Result<()> {
        let forgotten = self.core.advance(next_lsn)?;
        if !forgotten.is_empty() {
            faults::pass(Failpoint::SnapshotForgotten);
        }
        self.progress.extend(forgotten);
        Ok(())
    }

    // What workers say.

    pub(in crate::pipeline) fn answer(&mut self, ask: Ask) -> Result<()> {
        match ask {
            // A worker that has gone hears no answer.
            Ask::Next(reply) => self.waiting.push(reply),
            Ask::Split { range, upper, reply } => {
                let upper = self.core.split(range, upper);
                faults::pass(Failpoint::ChunkSplit);
                drop(reply.send(upper));
            }
            Ask::X0 { table, xid } => {
                self.progress.extend(self.core.set_x0(table, xid)?);
                faults::pass(Failpoint::X0Taken);
            }
            Ask::Offer { range, snapshot, filenode, identity, reply } => {
                let is_table = self.identify(range.table(), identity)? == range.table();
                let offer = if is_table { self.core.offer(range, snapshot, filenode) } else { Offer::Discard };
                self.note_offer(range, &offer);
                if offer == Offer::Accepted {
                    faults::pass(Failpoint::ChunkOffered);
                }
                drop(reply.send(offer));
            }
            Ask::Divide { range, snapshot, lsn, leaves, reply } => {
                let (offer, entries) = self.core.divide(range, snapshot, lsn, leaves)?;
                self.progress.extend(entries);
                self.note_offer(range, &offer);
                drop(reply.send(offer));
            }
            Ask::Anew(range) => self.lose(range.table())?,
            Ask::Identity { range, identity } => drop(self.identify(range.table(), identity)?),
            Ask::Prune(snapshot) => self.core.prune(snapshot),
            Ask::Pause => self.paused_until = Some(Instant::now() + PAUSE),
            Ask::Rows { range, lsn, rows, published } => {
                self.core.read(range, lsn);
                self.rows.insert(range, (rows, published));
                faults::pass(Failpoint::ChunkRead);
            }
            Ask::Flushed { range, lsn } => self.core.flushed(range, lsn),
            Ask::Failed(range) => {
                self.rows.remove(&range);
                self.core.failed(range);
            }
            Ask::GiveUp(range, error) => self.give_up(range, &error)?,
        }
        self.serve();
        Ok(())
    }

    /// Whether changes come while rows are read.
    pub(in crate::pipeline) fn set_beside(&mut self, beside: bool) {
        self.beside = beside;
    }

    /// Gives workers that wait for something to do what there is now.
    pub(in crate::pipeline) fn serve(&mut self) {
        while let Some(reply) = self.waiting.pop() {
            let Some(next) = self.next() else { return self.waiting.push(reply) };
            if let Err(SendError(Next::Read { chunk, .. })) = reply.send(next) {
                self.core.failed(chunk.range);
            }
        }
    }

    /// None: nothing for now.
    fn next(&mut self) -> Option<Next> {
        let without: Vec<usize> = self.core.without_x0().collect();
        if !without.is_empty() {
            return Some(Next::TakeX0(without));
        }
        if let Some(chunk) = self.core.next_chunk() {
            return Some(Next::Read { chunk, beside: self.beside });
        }
        // What is paused learns of more and more transactions; those that every snapshot sees need not be kept.
        if self.pruned.elapsed() >= PRUNE_INTERVAL && !self.core.unseen().is_empty() {
            self.pruned = Instant::now();
            return Some(Next::Prune);
        }
        None
    }

    /// A chunk that can be published now.
    pub(in crate::pipeline) fn ready(&mut self) -> Option<RangeId> {
        let discarded: Vec<RangeId> =
            self.rows.keys().copied().filter(|range| self.core.wait(*range) == Wait::Discard).collect();
        for range in discarded {
            self.rows.remove(&range);
            self.core.failed(range);
        }
        self.rows.keys().copied().find(|range| self.core.wait(*range) == Wait::Ready)
    }

    /// Whether the range is being read still, so that it may be waited for.
    pub(in crate::pipeline) fn is_read(&self, range: RangeId) -> bool {
        self.core.wait(range) != Wait::Discard
    }

    /// Takes the rows of a chunk that is ready, for `publish`. None: it must be read again, since a change may be one of any
    /// of its rows.
    pub(in crate::pipeline) fn take(&mut self, range: RangeId) -> Result<Option<Read>> {
        let gone = || Error::new(Kind::Bug, "a chunk without rows was to be published");
        let (rows, published) = self.rows.remove(&range).ok_or_else(gone)?;
        let left_out = self.core.left_out(range).cloned().unwrap_or(LeftOut::Every);
        let is_unclear = matches!(&left_out, LeftOut::Keys(keys) if !keys.is_empty()) && rows.key.is_none();
        if is_unclear {
            self.core.failed(range);
            return Ok(None);
        }
        let variant = self.core.request(range.table()).map_or(Variant::Initial, |request| request.variant);
        Ok(Some(Read { rows, variant, left_out, published }))
    }

    /// The rows of the range are in the unit that leaves next.
    pub(in crate::pipeline) fn publish(&mut self, range: RangeId, rows: u64) -> Result<()> {
        self.progress.extend(self.core.publish(range, rows)?);
        let number = range.table();
        if let Some((name, state)) = self.name(number).zip(self.core.state(number)) {
            let rows = self.core.rows(number);
            self.report.note(&name, |table| {
                (table.rows, table.state, table.waits_for) = (rows, state, None);
                table.chunks += 1;
            });
            if state == State::Done {
                tracing::info!(table = %name, rows, "snapshot done");
            }
        }
        Ok(())
    }

    /// Whether what is to be noted should leave now.
    pub(in crate::pipeline) fn hurries(&mut self) -> bool {
        std::mem::take(&mut self.hurry) && !self.progress.is_empty()
    }
}
