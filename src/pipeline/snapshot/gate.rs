//! The assembler's side: what becomes of each change while tables are read, and the chunks that wait to be published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use tokio::runtime::Handle;

use super::{Ask, ChunkRows, Next};
use crate::decode::{Decoder, Message};
use crate::error::{Error, Kind, Result};
use crate::model::{Datum, Lsn, Relation, Row, TableName};
use crate::pipeline::unit::Pending;
use crate::snapshot::{Bounds, Entry, LeftOut, Place, RangeId, Request, Snapshot, Variant, Verdict, Wait};
use crate::source::{ChunkTable, Keys, Sql, catalog};

/// The longest that the stream pauses for a range which no snapshot can read.
const PAUSE: Duration = Duration::from_secs(1);

/// What a gate begins with.
pub(in crate::pipeline) struct GateSettings {
    pub(in crate::pipeline) handle: Handle,
    pub(in crate::pipeline) sql: Arc<Sql>,
    pub(in crate::pipeline) asks: Receiver<Ask>,
    /// The tables whose rows are to be read, once each.
    pub(in crate::pipeline) tables: Vec<TableName>,
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

/// A table that is read, as the stream describes it.
struct Gated {
    /// In the state machine.
    number: usize,
    /// The key's columns in the stream's rows.
    key: Vec<usize>,
    table: ChunkTable,
}

/// A change whose keys are looked up: its old key where that differs, and its new one.
struct Located {
    relation: usize,
    halves: [Option<Half>; 2],
}

/// One of a change's keys.
struct Half {
    key: Key,
    /// None: its table is not judged any more.
    place: Option<Place>,
    /// Whether it is published; the first answer counts.
    published: Option<bool>,
}

/// A chunk that was read.
pub(in crate::pipeline) struct Read {
    pub(in crate::pipeline) rows: ChunkRows,
    pub(in crate::pipeline) left_out: LeftOut,
    _published: Sender<()>,
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
    rows: BTreeMap<RangeId, (ChunkRows, Sender<()>)>,
    progress: Vec<Entry>,
    paused_until: Option<Instant>,
    alive: Arc<()>,
}

impl Gate {
    /// Tells workers whether this gate is still there.
    pub(in crate::pipeline) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    /// None: nothing is read, and nothing was that a change could still be part of.
    pub(in crate::pipeline) fn open(settings: GateSettings) -> Result<Option<Gate>> {
        let records = settings.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let mut core = Snapshot::load(records, &settings.unseen, settings.next_lsn, settings.xid)?;
        let mut progress = Vec::new();
        // What the connector file names no longer is not read any further.
        let named = |name: &TableName| settings.tables.contains(name);
        let left: Vec<usize> = core.names().filter(|(_, name)| !named(name)).map(|(number, _)| number).collect();
        for number in left {
            progress.extend(core.cancel(number)?);
        }
        for name in settings.tables {
            if core.table(&name).is_none() {
                let request = Request { variant: Variant::Initial, filter: None, asked_us: settings.now_us };
                progress.extend(core.ask(name, request)?.1);
            }
        }
        let gate = Gate {
            core,
            handle: settings.handle,
            sql: settings.sql,
            asks: settings.asks,
            gated: Vec::new(),
            located: VecDeque::new(),
            spelling: Vec::new(),
            rows: BTreeMap::new(),
            progress,
            paused_until: None,
            alive: Arc::new(()),
        };
        Ok((!gate.core.is_idle()).then_some(gate))
    }

    /// Nothing is left to judge: the gate can go, with its workers.
    pub(in crate::pipeline) fn is_over(&self) -> bool {
        self.core.is_idle() && self.progress.is_empty()
    }

    pub(in crate::pipeline) fn asks(&self) -> &Receiver<Ask> {
        &self.asks
    }

    /// Until when the stream pauses.
    pub(in crate::pipeline) fn paused_until(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// What a unit takes along that leaves now.
    pub(in crate::pipeline) fn leave(&mut self) -> (Vec<Entry>, Pending) {
        let pending = (!self.core.is_idle()).then(|| self.core.unseen());
        (std::mem::take(&mut self.progress), pending)
    }

    /// A transaction begins.
    pub(in crate::pipeline) fn begin(&mut self, xid: u32) {
        self.core.begin(xid);
    }

    /// All before `next_lsn` is judged.
    pub(in crate::pipeline) fn advance(&mut self, next_lsn: Lsn) -> Result<()> {
        self.progress.extend(self.core.advance(next_lsn)?);
        Ok(())
    }

    /// The table with this index was described: whether it is read, and where its key stands.
    pub(in crate::pipeline) fn define(&mut self, index: usize, relation: &Relation) -> Result<()> {
        if self.gated.len() <= index {
            self.gated.resize_with(index + 1, || None);
        }
        self.gated[index] = None;
        let Some(number) = self.core.table(&relation.name).filter(|number| self.core.judges(*number)) else {
            return Ok(());
        };
        let table = self.handle.block_on(async {
            let found = catalog::table_named(&self.sql, &relation.name).await?;
            ChunkTable::of(&self.sql, &found, None, None).await
        })?;
        let key = table.key_names().filter_map(|name| relation.column(name)).collect();
        self.gated[index] = Some(Gated { number, key, table });
        Ok(())
    }

    // Where keys lie.

    /// Looks up where the keys of these changes lie, up to the next description of a table; how many bodies that are.
    pub(in crate::pipeline) fn locate<'b>(
        &mut self,
        decoder: &mut Decoder,
        bodies: impl Iterator<Item = &'b [u8]>,
    ) -> Result<usize> {
        let known = self.located.len();
        let mut count = 0;
        for body in bodies {
            match body.first() {
                Some(b'R') if count > 0 => break,
                Some(b'R') => return Ok(1),
                Some(b'I' | b'U' | b'D') => self.want(decoder, body)?,
                _ => {}
            }
            count += 1;
        }
        self.look_up(known)?;
        Ok(count)
    }

    fn want(&mut self, decoder: &mut Decoder, body: &[u8]) -> Result<()> {
        let Message::Row { relation, change } = decoder.decode(body)? else { return Ok(()) };
        let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { return Ok(()) };
        let old = change.old.map(|row| key_of(row, &gated.key, None));
        let new = change.new.map(|row| key_of(row, &gated.key, change.old));
        // An old row that is there under FULL says nothing of the key.
        let old = old.filter(|old| new.as_ref().is_none_or(|new| new != old));
        let half = |key| Half { key, place: None, published: None };
        self.located.push_back(Located { relation, halves: [old.map(half), new.map(half)] });
        Ok(())
    }

    /// Asks where the keys lie of the changes from this one on, as far as they are not judged.
    fn look_up(&mut self, from: usize) -> Result<()> {
        let relations: BTreeSet<usize> = self.located.iter().skip(from).map(|located| located.relation).collect();
        for relation in relations {
            let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { continue };
            let Bounds { version, ranges } = self.core.bounds(gated.number);
            let bounds: Vec<&Vec<String>> =
                ranges.iter().skip(1).filter_map(|(_, lower)| Some(&lower.as_ref()?.0)).collect();
            let mut keys = Keys::new(gated.key.len());
            let of_relation = self.located.iter_mut().skip(from).filter(|located| located.relation == relation);
            let mut halves: Vec<&mut Half> = of_relation
                .flat_map(|located| located.halves.iter_mut().flatten())
                .filter(|half| half.published.is_none())
                .collect();
            halves.iter().for_each(|half| keys.push(half.key.iter().map(Vec::as_slice)));
            let places = self.handle.block_on(gated.table.locate(&self.sql, &keys, &bounds))?;
            for (nth, half) in halves.iter_mut().enumerate() {
                // Without a key all rows lie in one range.
                let place = places.get(nth).copied().unwrap_or(0);
                half.place = ranges.get(place).map(|(range, _)| Place { range: *range, version });
            }
        }
        Ok(())
    }

    /// The verdict on the next change of a table that is read; Err: this range is to be published first.
    pub(in crate::pipeline) fn judge(
        &mut self,
        decoder: &mut Decoder,
        body: &[u8],
    ) -> Result<std::result::Result<Halves, RangeId>> {
        let Message::Row { relation, .. } = decoder.decode(body)? else { return Ok(Ok(Halves::PUBLISHED)) };
        if self.gated.get(relation).and_then(Option::as_ref).is_none() {
            return Ok(Ok(Halves::PUBLISHED));
        }
        loop {
            let Some(Located { halves, .. }) = self.located.front_mut() else {
                return Err(Error::new(Kind::Bug, "a change whose key was not looked up"));
            };
            let mut moved = false;
            for half in halves.iter_mut().flatten().filter(|half| half.published.is_none()) {
                spell(&half.key, &mut self.spelling);
                let judged = half.place.map_or(Verdict::Publish, |place| self.core.judge(place, &self.spelling));
                match judged {
                    Verdict::Covered => half.published = Some(false),
                    Verdict::Publish => half.published = Some(true),
                    Verdict::Hold(range) => return Ok(Err(range)),
                    Verdict::Locate => moved = true,
                }
            }
            if moved {
                // The ranges have been split since; so they have for the changes behind.
                self.look_up(0)?;
                continue;
            }
            let [old, new] = [&halves[0], &halves[1]].map(|half| half.as_ref().and_then(|half| half.published));
            self.located.pop_front();
            return Ok(Ok(Halves { old, new }));
        }
    }

    /// The next change was published before, or is of a transaction that was.
    pub(in crate::pipeline) fn skip(&mut self, decoder: &mut Decoder, body: &[u8]) -> Result<()> {
        if let Message::Row { relation, .. } = decoder.decode(body)?
            && self.gated.get(relation).and_then(Option::as_ref).is_some()
        {
            self.located.pop_front();
        }
        Ok(())
    }

    /// The verdict on a truncate of a table: whether it is published; Err: this range is to be published first.
    pub(in crate::pipeline) fn truncate(&mut self, relation: usize) -> std::result::Result<bool, RangeId> {
        let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { return Ok(true) };
        match self.core.truncate(gated.number) {
            Verdict::Hold(range) => Err(range),
            verdict => Ok(verdict == Verdict::Publish),
        }
    }

    // What workers say.

    pub(in crate::pipeline) fn answer(&mut self, ask: Ask) -> Result<()> {
        match ask {
            // A worker that has gone hears no answer.
            Ask::Next(reply) => drop(reply.send(self.next())),
            Ask::Split { range, upper, reply } => drop(reply.send(self.core.split(range, upper))),
            Ask::X0 { table, xid } => self.progress.extend(self.core.set_x0(table, xid)?),
            Ask::Offer { range, snapshot, filenode, reply } => {
                let offer = self.core.offer(range, snapshot, filenode);
                if offer == crate::snapshot::Offer::Accepted {
                    self.paused_until = None;
                }
                drop(reply.send(offer));
            }
            Ask::Pause => self.paused_until = Some(Instant::now() + PAUSE),
            Ask::Rows { range, lsn, rows, published } => {
                self.core.read(range, lsn);
                self.rows.insert(range, (rows, published));
            }
            Ask::Flushed(lsn) => self.core.flushed(lsn),
            Ask::Failed(range) => {
                self.rows.remove(&range);
                self.core.failed(range);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Next {
        let without: Vec<usize> = self.core.without_x0().collect();
        if !without.is_empty() {
            return Next::TakeX0(without);
        }
        self.core.next_chunk().map_or(Next::Wait, Next::Read)
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

    /// Takes the rows of a chunk that is ready: it counts as published, with so many rows, in the unit that carries them.
    pub(in crate::pipeline) fn take(&mut self, range: RangeId) -> Result<Read> {
        let gone = || Error::new(Kind::Bug, "a chunk without rows was to be published");
        let (rows, published) = self.rows.remove(&range).ok_or_else(gone)?;
        let left_out = self.core.left_out(range).cloned().unwrap_or(LeftOut::Every);
        Ok(Read { rows, left_out, _published: published })
    }

    /// The rows of the range are in the unit that leaves next.
    pub(in crate::pipeline) fn publish(&mut self, range: RangeId, rows: u64) -> Result<()> {
        self.progress.extend(self.core.publish(range, rows)?);
        Ok(())
    }
}

/// A key as the stream has sent it, column by column.
type Key = Vec<Vec<u8>>;

/// The key of a row; a column that was not resent is the old row's.
fn key_of(row: Row<'_>, columns: &[usize], old: Option<Row<'_>>) -> Key {
    let bytes = |column: &usize| match (row.get(*column), old.map(|old| old.get(*column))) {
        (Datum::Text(bytes) | Datum::Binary(bytes), _) => bytes.to_vec(),
        (Datum::Unchanged, Some(Datum::Text(bytes) | Datum::Binary(bytes))) => bytes.to_vec(),
        _ => Vec::new(),
    };
    columns.iter().map(bytes).collect()
}

/// One spelling of a key, the same for the stream and for a chunk.
fn spell(key: &[Vec<u8>], into: &mut Vec<u8>) {
    into.clear();
    for column in key {
        into.extend_from_slice(&(column.len() as u32).to_be_bytes());
        into.extend_from_slice(column);
    }
}
