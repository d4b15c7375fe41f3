//! All tables that are, or were, read by a connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::range::Range;
use super::record::{self, Entry, Of, Record, Request, State, Variant};
use super::table::Table;
use super::visibility::{PgSnapshot, widen};
use super::{Bounds, Place, RangeId, Verdict, leaves};
use crate::error::{At, Error, Kind, Result};
use crate::model::{Lsn, TableName};

/// The state of a connector's snapshots.
///
/// Tables are numbered; a number stays valid for as long as this lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// None was dropped.
    pub(super) tables: Vec<Option<Table>>,
    /// The newest snapshot by which xids were left out of unseen sets. An older one may not see them, so it is not accepted.
    pub(super) horizon: Option<Arc<PgSnapshot>>,
    /// An xid of the recent past, by which short ones are widened.
    pub(super) reference: u64,
    /// Of the transaction that the stream delivers.
    xid: u64,
    /// What the stream has passed, exclusive.
    pub(super) passed: Lsn,
    /// There are ranges.
    active: bool,
    /// The least position at which a snapshot is to be forgotten.
    forget_at: Option<Lsn>,
    /// The unseen xids by table, until they change.
    pub(super) unseen: Option<Arc<BTreeMap<String, Vec<u64>>>>,
}

impl Snapshot {
    /// As Kafka has it: the records of the keys that begin with `progress/`, the checkpoint's unseen xids and its
    /// `next_lsn`. `reference` is a recent xid, such as the xmax of a snapshot. What was being read is pending again.
    pub fn load<'a>(
        records: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        unseen: &BTreeMap<String, Vec<u64>>,
        next_lsn: Lsn,
        reference: u64,
    ) -> Result<Snapshot> {
        let (mut tables, mut parts) = (BTreeMap::new(), BTreeMap::<String, leaves::Records>::new());
        for (key, value) in records {
            match record::parse(key, value)? {
                Record::Table(table, record) => drop(tables.insert(table, record)),
                Record::Leaves(table, record) => parts.entry(table).or_default().leaves = record.leaves,
                Record::Range(table, ordinal, record) => parts.entry(table).or_default().insert(ordinal, record),
            }
        }
        let mut loaded = Vec::new();
        for (key, table) in tables {
            let (leaves, mut chain) = parts.remove(&key).unwrap_or_default().restore(&key)?;
            let xids = unseen.get(&key).map(Vec::as_slice).unwrap_or_default();
            chain.values_mut().filter(|range| !range.is_done()).for_each(|range| range.unseen.extend(xids));
            loaded.push(Some(Table::restore(table, leaves, chain)));
        }
        if let Some((key, _)) = parts.pop_first() {
            return Err(record::unreadable(&key, "ranges of a table without its own record"));
        }
        let mut snapshot = Snapshot {
            tables: loaded,
            horizon: None,
            reference,
            xid: 0,
            passed: next_lsn,
            active: false,
            forget_at: None,
            unseen: None,
        };
        snapshot.settle();
        Ok(snapshot)
    }

    // What is read.

    /// The tables of which a snapshot was ever asked for, by number.
    pub fn names(&self) -> impl Iterator<Item = (usize, &TableName)> {
        self.tables.iter().enumerate().filter_map(|(number, table)| Some((number, &table.as_ref()?.name)))
    }

    /// The table's number, if a snapshot of it was ever asked for.
    pub fn table(&self, name: &TableName) -> Option<usize> {
        self.tables.iter().position(|table| table.as_ref().is_some_and(|table| table.name == *name))
    }

    /// How far the table is.
    pub fn state(&self, table: usize) -> Option<State> {
        self.get(table).map(|table| table.state)
    }

    /// How it was asked for.
    pub fn request(&self, table: usize) -> Option<&Request> {
        self.get(table).map(|table| &table.request)
    }

    /// Rows published of it.
    pub fn rows(&self, table: usize) -> u64 {
        self.get(table).map_or(0, Table::rows)
    }

    /// Asks for a snapshot, from this place of the stream on. One of the same table that runs must be cancelled first,
    /// and be through: its number is none of this one's.
    pub fn ask(&mut self, name: TableName, request: Request) -> Result<(usize, Vec<Entry>)> {
        if let Some(number) = self.table(&name) {
            if self.judges(number) {
                let detail = "a snapshot of the table is under way: cancel it, or wait for its end";
                return Err(Error::new(Kind::Bug, detail).at(At::table(name)));
            }
            self.tables[number] = None;
        }
        let mut table = Table::new(name, request);
        let entries = vec![table.record()?];
        self.tables.push(Some(table));
        self.settle();
        Ok((self.tables.len() - 1, entries))
    }

    /// The tables that wait for their X0: the xid that `pg_current_xact_id()` gives a transaction of its own, begun after
    /// the snapshot was asked for. Every transaction that the stream has delivered before, or never will, is older; each
    /// has ended, and is visible, once `xmin` has reached X0.
    pub fn without_x0(&self) -> impl Iterator<Item = usize> {
        let waits = |table: &Table| table.x0.is_none() && table.state == State::Running;
        self.tables.iter().enumerate().filter(move |(_, table)| table.as_ref().is_some_and(waits)).map(|(i, _)| i)
    }

    /// Sets X0, whose transaction has ended.
    pub fn set_x0(&mut self, table: usize, x0: u64) -> Result<Vec<Entry>> {
        self.reference = self.reference.max(x0);
        let Some(table) = self.get_mut(table) else { return Ok(Vec::new()) };
        table.x0 = Some(x0);
        Ok(vec![table.record()?])
    }

    /// The columns of the table's key, once they are known.
    pub fn identity(&self, table: usize) -> Option<&[String]> {
        self.get(table)?.identity.as_deref()
    }

    /// Notes the columns of the table's key: where they change, it must begin anew (`restart_table`).
    pub fn set_identity(&mut self, table: usize, identity: Vec<String>) -> Result<Vec<Entry>> {
        let Some(table) = self.get_mut(table) else { return Ok(Vec::new()) };
        table.identity = Some(identity);
        Ok(vec![table.record()?])
    }

    /// Hands out no more chunks of the table. What is being read is finished; the stream goes on as before.
    pub fn pause(&mut self, table: usize) -> Result<Vec<Entry>> {
        self.switch(table, State::Running, State::Paused)
    }

    /// Goes on with a table that was paused.
    pub fn resume(&mut self, table: usize) -> Result<Vec<Entry>> {
        self.switch(table, State::Paused, State::Running)
    }

    /// Reads no more of the table. Chunks that are not published are thrown away. Its changes are published from the place
    /// on at which the stream has passed what was read; those that an initial snapshot has left to the rest stay unsaid.
    pub fn cancel(&mut self, table: usize) -> Result<Vec<Entry>> {
        let Some(table) = self.get_mut(table) else { return Ok(Vec::new()) };
        if !matches!(table.state, State::Running | State::Paused) {
            return Ok(Vec::new());
        }
        let entries = table.cancel()?;
        self.settle();
        Ok(entries)
    }

    /// The table is gone: nothing of it is kept.
    pub fn drop_table(&mut self, table: usize) -> Vec<Entry> {
        let Some(gone) = self.tables.get_mut(table).and_then(Option::take) else { return Vec::new() };
        self.settle();
        let mut entries = gone.tombstones();
        entries.push(record::tombstone(&gone.key, Of::Table));
        entries
    }

    /// Begins the table anew under another number, for instance since its replica identity has changed. It needs another
    /// X0: what was published or covered meanwhile must be visible to the new reads. Where rows were published it goes on
    /// as a backfill, since a delete of one of them, covered, would never be told.
    pub fn restart_table(&mut self, table: usize) -> Result<(usize, Vec<Entry>)> {
        let Some(old) = self.get(table) else {
            return Err(Error::new(Kind::Bug, "a snapshot of an unknown table was to begin anew"));
        };
        let (name, mut request) = (old.name.clone(), old.request.clone());
        if old.has_published() {
            request.variant = Variant::Backfill;
        }
        let mut entries = self.drop_table(table);
        let (number, asked) = self.ask(name, request)?;
        entries.extend(asked);
        Ok((number, entries))
    }

    /// Begins every table anew of which something is read or remembered, or that is in `all`: the server is another one,
    /// or has another history, than that which was read.
    pub fn begin_anew(&mut self, all: &[TableName], asked_us: i64) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let read: Vec<usize> = self.names().map(|(number, _)| number).filter(|number| self.judges(*number)).collect();
        for number in read {
            entries.extend(self.restart_table(number)?.1);
        }
        for name in all {
            if let Some(number) = self.table(name) {
                entries.extend(self.drop_table(number));
            }
            let request = Request { variant: Variant::Backfill, filter: None, asked_us };
            entries.extend(self.ask(name.clone(), request)?.1);
        }
        Ok(entries)
    }

    // What the stream asks.

    /// Whether the stream need not ask anything, but for `advance`.
    pub fn is_idle(&self) -> bool {
        !self.active
    }

    /// Whether changes of this table must be judged.
    pub fn judges(&self, table: usize) -> bool {
        self.get(table).is_some_and(Table::judges)
    }

    /// The ranges of the table, by which Postgres says where keys lie.
    pub fn bounds(&self, table: usize) -> Bounds {
        let bounds = self.get(table).map(|found| Bounds { version: found.version, parts: found.parts(table) });
        bounds.unwrap_or(Bounds { version: 0, parts: Vec::new() })
    }

    /// A transaction of the stream begins; `xid` as pgoutput has it.
    pub fn begin(&mut self, xid: u32) {
        self.xid = widen(xid, self.reference);
        self.reference = self.reference.max(self.xid);
    }

    /// What to do with a change of the transaction at a key that lies here, or with the half of a key change. `key` is any
    /// spelling of the key that the worker's rows share; only a backfill looks at it.
    /// None: no row that was there before can have it.
    pub fn judge(&mut self, place: Place, key: Option<&[u8]>) -> Verdict {
        let Snapshot { tables, horizon, xid, .. } = self;
        let Some(Some(table)) = tables.get_mut(place.range.table) else { return Verdict::Publish };
        table.judge(place, *xid, key, horizon.as_deref())
    }

    /// What to do with a truncate of the table, which is a change of every key.
    pub fn truncate(&mut self, table: usize) -> Verdict {
        let Snapshot { tables, horizon, xid, .. } = self;
        let Some(Some(found)) = tables.get_mut(table) else { return Verdict::Publish };
        found.truncate(table, *xid, horizon.as_deref())
    }

    /// A transaction has ended, or a keepalive came between two: all that was committed before `next_lsn` is judged. The
    /// records go into the unit that leads to `next_lsn`, or a later one.
    pub fn advance(&mut self, next_lsn: Lsn) -> Result<Vec<Entry>> {
        self.passed = self.passed.max(next_lsn);
        let mut entries = Vec::new();
        if self.forget_at.is_some_and(|lsn| lsn <= next_lsn) {
            for table in self.tables.iter_mut().flatten() {
                entries.extend(table.forget(self.passed)?);
            }
            self.settle();
        }
        Ok(entries)
    }

    // What the checkpoint holds.

    /// The transactions, by the table's part of its key, that the next snapshot of a pending range must see. For the
    /// checkpoint: the same value until it changes.
    pub fn unseen(&mut self) -> Arc<BTreeMap<String, Vec<u64>>> {
        for table in self.tables.iter_mut().flatten().filter(|table| table.noted) {
            table.noted = false;
            self.unseen = None;
        }
        let tables = &self.tables;
        self.unseen.get_or_insert_with(|| Arc::new(collect_unseen(tables))).clone()
    }

    /// The highest position of a snapshot that is remembered. A server that has not flushed so far is another one than
    /// that which was read.
    pub fn remembered_max(&self) -> Option<Lsn> {
        self.remembered().max()
    }

    /// To be called where ranges have come, gone or been published.
    pub(super) fn settle(&mut self) {
        self.forget_at = self.remembered().min();
        self.unseen = None;
        self.active = (0..self.tables.len()).any(|table| self.judges(table));
    }

    fn remembered(&self) -> impl Iterator<Item = Lsn> {
        self.tables.iter().flatten().flat_map(|table| table.chain.values().filter_map(Range::forget_at))
    }

    fn switch(&mut self, table: usize, from: State, to: State) -> Result<Vec<Entry>> {
        let Some(table) = self.get_mut(table).filter(|table| table.state == from) else { return Ok(Vec::new()) };
        table.state = to;
        Ok(vec![table.record()?])
    }

    pub(super) fn get(&self, table: usize) -> Option<&Table> {
        self.tables.get(table)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, table: usize) -> Option<&mut Table> {
        self.tables.get_mut(table)?.as_mut()
    }

    pub(super) fn range_mut(&mut self, id: RangeId) -> Option<&mut Range> {
        self.get_mut(id.table)?.chain.get_mut(&id.ordinal)
    }
}

fn collect_unseen(tables: &[Option<Table>]) -> BTreeMap<String, Vec<u64>> {
    let mut by_table = BTreeMap::new();
    for table in tables.iter().flatten() {
        let mut xids: Vec<u64> = table.chain.values().flat_map(|range| &range.unseen).copied().collect();
        xids.sort_unstable();
        xids.dedup();
        if !xids.is_empty() {
            by_table.insert(table.key.clone(), xids);
        }
    }
    by_table
}

#[cfg(test)]
mod tests;
