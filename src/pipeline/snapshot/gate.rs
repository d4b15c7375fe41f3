//! The assembler's side: what becomes of each change while tables are read, and the chunks that wait to be published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use tokio::runtime::Handle;

use super::{Answer, Ask, Asked, ChunkRows, Command, Next, Progress, TableProgress};
use crate::connector::{Plan, SnapshotMode};
use crate::decode::{Decoder, Message};
use crate::error::{Disposition, Error, Kind, Result};
use crate::model::{Datum, Lsn, Relation, Row, TableName};
use crate::pipeline::unit::Pending;
use crate::snapshot::{
    Bounds, Entry, LeftOut, Offer, Place, RangeId, Request, Snapshot, State, Variant, Verdict, Wait,
};
use crate::source::{ChunkTable, Keys, Sql, catalog};

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

/// A table that is read, as the stream describes it.
struct Gated {
    /// In the state machine.
    number: usize,
    /// The key's columns in the stream's rows.
    key: Vec<usize>,
    identity: Vec<String>,
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
    pub(in crate::pipeline) variant: Variant,
    left_out: LeftOut,
    _published: Sender<()>,
}

impl Read {
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
    rows: BTreeMap<RangeId, (ChunkRows, Sender<()>)>,
    progress: Vec<Entry>,
    /// Records that say what was asked for do not wait for the stream.
    hurry: bool,
    report: Progress,
    paused_until: Option<Instant>,
    pruned: Instant,
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
            hurry: false,
            report: settings.report,
            paused_until: None,
            pruned: Instant::now(),
            alive: Arc::new(()),
        };
        gate.follow(&settings.plan, settings.now_us)?;
        let mut answers = Vec::new();
        for Asked { command, answer } in settings.commands {
            answers.push((answer, gate.command(command, &settings.plan, settings.now_us)?));
        }
        gate.hurry = !gate.progress.is_empty();
        gate.begin_report();
        for (answer, answered) in answers {
            // Whoever asked may have gone.
            drop(answer.send(answered));
        }
        let is_needed = !gate.core.is_idle() || !gate.progress.is_empty();
        Ok(is_needed.then_some(gate))
    }

    /// Begins what the connector file names anew, and leaves what it names no longer.
    fn follow(&mut self, plan: &Plan, now_us: i64) -> Result<()> {
        let readable = plan.readable_tables();
        let left: Vec<(usize, TableName)> = self.core.names().map(|(number, name)| (number, name.clone())).collect();
        for (number, name) in left.into_iter().filter(|(_, name)| !readable.contains(name)) {
            // Of a table that is still published the stream must end as exactly as a snapshot that is cancelled.
            let is_published = plan.events_of(&name).next().is_some() || plan.tombstones_of(&name).next().is_some();
            if is_published && self.core.judges(number) {
                self.progress.extend(self.core.cancel(number)?);
            } else {
                self.progress.extend(self.core.drop_table(number));
            }
        }
        for name in readable.into_iter().filter(|name| self.core.table(name).is_none()).collect::<Vec<_>>() {
            let request = Request { variant: Variant::Initial, filter: None, asked_us: now_us };
            let (number, asked) = self.core.ask(name, request)?;
            // It streams from here on: later its rows are to be read on demand, as a backfill, only.
            let is_read = plan.snapshot.mode == SnapshotMode::Initial;
            self.progress.extend(if is_read { asked } else { self.core.cancel(number)? });
        }
        Ok(())
    }

    /// Nothing is left to judge: the gate can go, with its workers.
    pub(in crate::pipeline) fn is_over(&self) -> bool {
        self.core.is_idle() && self.progress.is_empty()
    }

    /// Nothing is read, nor remembered of what was.
    pub(in crate::pipeline) fn is_idle(&self) -> bool {
        self.core.is_idle()
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
        let table = self.table(&relation.name)?;
        let identity = table.identity();
        let number = self.identify(number, identity.clone())?;
        let key = table.key_names().filter_map(|name| relation.column(name)).collect();
        self.gated[index] = Some(Gated { number, key, identity, table });
        Ok(())
    }

    fn table(&self, name: &TableName) -> Result<ChunkTable> {
        self.handle.block_on(async {
            let found = catalog::table_named(&self.sql, name).await?;
            ChunkTable::of(&self.sql, &found, None, None).await
        })
    }

    /// The table's number: another one from here on where its key is another than that by which it was read so far.
    fn identify(&mut self, number: usize, identity: Vec<String>) -> Result<usize> {
        let mut number = number;
        match self.core.identity(number) {
            Some(known) if *known == *identity => return Ok(number),
            Some(known) => {
                let (before, now) = (known.join(", "), identity.join(", "));
                tracing::warn!(before, now, "a table's key has changed while its rows are read: it begins anew");
                let (anew, entries) = self.core.restart_table(number)?;
                self.progress.extend(entries);
                self.gated
                    .iter_mut()
                    .flatten()
                    .filter(|gated| gated.number == number)
                    .for_each(|gated| gated.number = anew);
                number = anew;
            }
            None => {}
        }
        self.progress.extend(self.core.set_identity(number, identity)?);
        Ok(number)
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
            // Changes by another key than that by which the table is read now are from before it was changed, behind a
            // lock: every snapshot by the new one sees them, so any range will do.
            let is_same = self.core.identity(gated.number).is_none_or(|identity| *identity == *gated.identity);
            let lower = ranges.iter().skip(1).filter_map(|(_, lower)| Some(&lower.as_ref()?.0));
            let bounds: Vec<&Vec<String>> = lower.filter(|_| is_same).collect();
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
            let number = self.gated.get(relation).and_then(Option::as_ref).map(|gated| gated.number);
            // No row that exists can be one that is inserted, where they have no key.
            let is_new = body.first() == Some(&b'I');
            let mut moved = false;
            for half in halves.iter_mut().flatten().filter(|half| half.published.is_none()) {
                spell(&half.key, &mut self.spelling);
                let key = Some(self.spelling.as_slice()).filter(|key| !(is_new && key.is_empty()));
                let judged = match half.place {
                    None => Verdict::Publish,
                    Some(place) if number != Some(place.range.table()) => Verdict::Locate,
                    Some(place) => self.core.judge(place, key),
                };
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
            Ask::Offer { range, snapshot, filenode, identity, reply } => {
                let is_table = self.identify(range.table(), identity)? == range.table();
                let offer = if is_table { self.core.offer(range, snapshot, filenode) } else { Offer::Discard };
                self.note_offer(range, &offer);
                drop(reply.send(offer));
            }
            Ask::Identity { range, identity } => drop(self.identify(range.table(), identity)?),
            Ask::Prune(snapshot) => self.core.prune(snapshot),
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
            Ask::GiveUp(range, error) => self.give_up(range, &error)?,
        }
        Ok(())
    }

    /// A backfill ends where a person must act first.
    fn give_up(&mut self, range: RangeId, error: &Error) -> Result<()> {
        tracing::error!(error = %error.chain(), remedy = error.remedy(), more = error.more(), "snapshot cancelled");
        self.core.failed(range);
        self.progress.extend(self.core.cancel(range.table())?);
        self.hurry = true;
        self.note_state(range.table(), Some(error.to_string()));
        Ok(())
    }

    fn next(&mut self) -> Next {
        let without: Vec<usize> = self.core.without_x0().collect();
        if !without.is_empty() {
            return Next::TakeX0(without);
        }
        if let Some(chunk) = self.core.next_chunk() {
            return Next::Read(chunk);
        }
        // What is paused learns of more and more transactions; those that every snapshot sees need not be kept.
        if self.pruned.elapsed() >= PRUNE_INTERVAL && !self.core.unseen().is_empty() {
            self.pruned = Instant::now();
            return Next::Prune;
        }
        Next::Wait
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
        Ok(Some(Read { rows, variant, left_out, _published: published }))
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

    // What people ask and hear.

    fn command(&mut self, command: Command, plan: &Plan, now_us: i64) -> Result<Answer> {
        match command {
            Command::Snapshot { table, filter } => self.backfill(&table, filter, plan, now_us),
            Command::Pause { table } => self.each(table, &[State::Running], Snapshot::pause, "no snapshot is running"),
            Command::Resume { table } => self.each(table, &[State::Paused], Snapshot::resume, "no snapshot is paused"),
            Command::Cancel { table } => {
                self.each(table, &[State::Running, State::Paused], Snapshot::cancel, "no snapshot is running or paused")
            }
        }
    }

    fn backfill(&mut self, table: &str, filter: Option<String>, plan: &Plan, asked_us: i64) -> Result<Answer> {
        let Some(name) = plan.readable_tables().into_iter().find(|name| name.to_string() == table) else {
            return Ok(Err(format!(
                "no rule of the connector fires on \"read\" of {table}: nothing would be published"
            )));
        };
        if self.core.table(&name).is_some_and(|number| self.core.judges(number)) {
            let state = "a snapshot of it is under way, or was until just now";
            return Ok(Err(format!("{table}: {state}; cancel it, or wait for its end")));
        }
        let found = self.table(&name);
        let checked = found.and_then(|found| match &filter {
            Some(filter) => self.handle.block_on(found.check_filter(&self.sql, filter)),
            None => Ok(()),
        });
        match checked {
            Err(error) if error.disposition() == Disposition::Retry => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
            Ok(()) => {}
        }
        let request = Request { variant: Variant::Backfill, filter, asked_us };
        self.progress.extend(self.core.ask(name, request)?.1);
        Ok(Ok(vec![table.to_owned()]))
    }

    fn each(
        &mut self,
        table: Option<String>,
        from: &[State],
        act: impl Fn(&mut Snapshot, usize) -> Result<Vec<Entry>>,
        none: &str,
    ) -> Result<Answer> {
        let named = |name: &TableName| table.as_ref().is_none_or(|table| name.to_string() == *table);
        let is_in = |number| self.core.state(number).is_some_and(|state| from.contains(&state));
        let found = self.core.names().filter(|(number, name)| is_in(*number) && named(name));
        let found: Vec<(usize, String)> = found.map(|(number, name)| (number, name.to_string())).collect();
        if found.is_empty() {
            return Ok(Err(table.map_or_else(|| none.to_owned(), |table| format!("{none} of {table}"))));
        }
        for (number, _) in &found {
            self.progress.extend(act(&mut self.core, *number)?);
        }
        Ok(Ok(found.into_iter().map(|(_, name)| name).collect()))
    }

    fn begin_report(&self) {
        let tables = self.core.names().filter_map(|(number, name)| {
            let (request, state) = (self.core.request(number)?, self.core.state(number)?);
            let is_open = matches!(state, State::Running | State::Paused);
            let estimate = || -> Result<Option<u64>> {
                let table = self.table(name)?;
                self.handle.block_on(table.estimate(&self.sql, request.filter.as_deref()))
            };
            Some(TableProgress {
                table: name.to_string(),
                state,
                variant: request.variant,
                filter: request.filter.clone(),
                asked_us: request.asked_us,
                rows: self.core.rows(number),
                // What keeps from asking will be told by those who read.
                estimated_rows: is_open.then(|| estimate().ok().flatten()).flatten(),
                chunks: 0,
                rows_per_second: None,
                seconds_left: None,
                waits_for: None,
            })
        });
        self.report.begin(tables.collect());
    }

    fn note_offer(&mut self, range: RangeId, offer: &Offer) {
        let waits_for = match offer {
            Offer::Accepted => {
                self.paused_until = None;
                None
            }
            Offer::NotYet { oldest, .. } => Some(format!("transaction {oldest}, which began before it, to end")),
            Offer::Unseen(xids) => Some(format!("transactions {xids:?}, which are committed, to become visible")),
            Offer::Stale | Offer::NoX0 | Offer::Discard => return,
        };
        self.note_state(range.table(), waits_for);
    }

    fn note_state(&self, number: usize, waits_for: Option<String>) {
        if let Some((name, state)) = self.name(number).zip(self.core.state(number)) {
            self.report.note(&name, |table| (table.state, table.waits_for) = (state, waits_for));
        }
    }

    fn name(&self, number: usize) -> Option<TableName> {
        self.core.names().find(|(other, _)| *other == number).map(|(_, name)| name.clone())
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
