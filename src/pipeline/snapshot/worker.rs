//! A thread that reads chunks on a connection of its own.

mod leaves;
mod size;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::runtime::{Builder, Runtime};

use self::size::{CHUNK_TIME, ChunkSize, ROWS_FIRST};
use super::{Ask, ChunkRows, Next};
use crate::connector::Plan;
use crate::error::{At, Disposition, Error, Kind, Result};
use crate::faults::{Mutation, mutated};
use crate::map::read_columns;
use crate::model::{Lsn, Relation, TableName};
use crate::pipeline::task::Stop;
use crate::snapshot::{Bound, Chunk, Offer, PgSnapshot, RangeId, Variant};
use crate::source::preflight::{self, PublishedTable};
use crate::source::{ChunkReader, ChunkSnapshot, ChunkTable, SourceSettings, catalog};

/// A chunk of more bytes than this is followed by smaller ones, down to a single row. Its events are in memory several times
/// over until they are on Kafka, of each worker's chunk.
const CHUNK_BYTES: u64 = 2 << 20;
/// The same while changes come: they wait for chunks.
const CHUNK_BESIDE_BYTES: u64 = 512 << 10;
/// Memory of more bytes is not kept for the next chunk.
const ROOM_BYTES_MAX: usize = 4 << 20;
/// The largest table without a key that is read: it is one chunk, in memory.
const KEYLESS_BYTES_MAX: u64 = 64 << 20;
/// Snapshots that are taken at once before the stream is to pause.
const TRIES: u32 = 3;
/// The pause of a worker who has nothing to read, whose snapshot must wait, or whose connection broke.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause after a range that could not be read.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// Durability that is later than this is asked for.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);

/// What a worker needs.
#[derive(Clone)]
pub(in crate::pipeline) struct WorkerSettings {
    pub(in crate::pipeline) source: SourceSettings,
    pub(in crate::pipeline) plan: Arc<Plan>,
    pub(in crate::pipeline) asks: Sender<Ask>,
    /// Of the gate: whether it is still there.
    pub(in crate::pipeline) gate: Weak<()>,
    /// By which its chunks are smaller.
    pub(in crate::pipeline) chunk_divisor: u64,
}

/// One worker.
pub(in crate::pipeline) struct Worker {
    settings: WorkerSettings,
    /// Drives its connection in its own thread: rows pass through no other.
    runtime: Runtime,
    stop: Stop,
    /// The most bytes of a chunk.
    bytes_max: u64,
    /// The chunks that were handed over and may not be published yet, with their bytes: the end of each says that it is.
    before: VecDeque<(Receiver<Vec<u8>>, usize)>,
    /// The memory of rows that are published, for those that are read next: it is as large as they mostly are.
    room: Vec<u8>,
    /// The tables as they were seen last.
    shapes: BTreeMap<TableName, Shape>,
    sizes: BTreeMap<TableName, ChunkSize>,
}

/// A table as it is, and as the publication sends it.
struct Shape {
    /// As of `ChunkSnapshot::definition`; None: not seen behind the lock yet.
    definition: Option<String>,
    relation: Arc<Relation>,
    table: ChunkTable,
    /// It is partitioned, and its leaves cannot be read each by itself.
    is_one: bool,
}

impl Worker {
    pub(in crate::pipeline) fn new(settings: WorkerSettings, stop: Stop) -> Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::new(Kind::Bug, "cannot start a runtime").because(error))?;
        let (shapes, sizes) = (BTreeMap::new(), BTreeMap::new());
        let (before, room) = (VecDeque::new(), Vec::new());
        Ok(Worker { settings, runtime, stop, bytes_max: CHUNK_BYTES, before, room, shapes, sizes })
    }

    /// Reads until there is nothing left to read, or the stop. A connection that breaks is opened again.
    ///
    /// # Errors
    /// What a person must decide about: a missing right, a table that cannot be read.
    pub(in crate::pipeline) fn run(mut self) -> Result<()> {
        loop {
            match self.session() {
                Ok(()) => return Ok(()),
                Err(error) if error.disposition() == Disposition::Retry => {
                    tracing::debug!(error = %error.chain(), "a snapshot's connection broke, it is opened again");
                }
                Err(error) => return Err(error),
            }
            if self.stop.wait(PAUSE) {
                return Ok(());
            }
        }
    }

    /// Until the gate has gone, or the stop.
    fn session(&mut self) -> Result<()> {
        let reader = self.block_on(ChunkReader::connect(&self.settings.source))?;
        let published = self.block_on(preflight::publication(reader.sql(), &self.settings.source.publication))?;
        let published = published.map(|publication| publication.tables).unwrap_or_default();
        loop {
            let chunk = match self.ask(Ask::Next) {
                None => return Ok(()),
                Some(Next::Read { chunk, beside }) => {
                    self.bytes_max =
                        (if beside { CHUNK_BESIDE_BYTES } else { CHUNK_BYTES }) / self.settings.chunk_divisor;
                    chunk
                }
                Some(Next::TakeX0(tables)) => {
                    let xid = self.block_on(reader.current_xid())?;
                    for table in tables {
                        drop(self.settings.asks.send(Ask::X0 { table, xid }));
                    }
                    continue;
                }
                Some(Next::Prune) => {
                    let snapshot = parsed(&self.block_on(reader.current_snapshot())?)?;
                    drop(self.settings.asks.send(Ask::Prune(snapshot)));
                    continue;
                }
            };
            let (range, table, variant) = (chunk.range, chunk.table.clone(), chunk.variant);
            let is_filtered = chunk.filter.is_some();
            let read = self.read(&reader, &published, chunk).map_err(|error| {
                // In a session that may only read, a condition that writes is refused as a server that is read-only would.
                let writes = is_filtered && error.kind() == Kind::PostgresNotReady;
                let error = if writes { Error::new(Kind::CommandRefused, error.to_string()) } else { error };
                error.at(At::table(table))
            });
            match read {
                Ok(Step::Published) => {}
                // The stream needs nothing of a backfill, and goes on without it.
                Err(error) if variant == Variant::Backfill && error.disposition() == Disposition::Halt => {
                    drop(self.settings.asks.send(Ask::GiveUp(range, error)));
                    self.block_on(reader.end())?;
                    continue;
                }
                _ => drop(self.settings.asks.send(Ask::Failed(range))),
            }
            match read? {
                Step::Published => {}
                Step::Later(pause) if self.stop.wait(pause) => return Ok(()),
                Step::Later(_) => {}
                Step::Over => return Ok(()),
            }
        }
    }

    fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(future)
    }

    /// The gate's answer; None: it has gone.
    fn ask<T>(&self, ask: impl FnOnce(Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = bounded(1);
        self.settings.asks.send(ask(reply)).ok()?;
        loop {
            match answer.recv_timeout(PAUSE) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Disconnected) => return None,
                // What was sent while the gate went is heard by nobody, and may lie there for as long as the channel.
                Err(RecvTimeoutError::Timeout) if self.is_over() => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.settings.gate.strong_count() == 0
    }

    fn read(&mut self, reader: &ChunkReader, published: &[PublishedTable], mut chunk: Chunk) -> Result<Step> {
        let begun = Instant::now();
        let is_fresh = !self.shapes.contains_key(&chunk.table);
        if is_fresh {
            self.look_at(reader, published, &chunk.table)?;
        }
        let Some(Shape { table, .. }) = self.shapes.get(&chunk.table) else { return Ok(Step::Later(Duration::ZERO)) };
        let table = table.clone();
        if chunk.identity.as_ref().is_some_and(|known| *known != table.identity()) {
            self.differs(&chunk, table.identity(), is_fresh);
            return Ok(Step::Later(Duration::ZERO));
        }
        let table = match self.part(reader, &chunk, table)? {
            Ok(table) => table,
            Err(step) => return Ok(step),
        };
        let lower = chunk.lower.as_ref().map(|bound| bound.0.clone());
        let mut rows_read = 0;
        if table.has_key() {
            let upper = chunk.upper.as_ref().map(|bound| &bound.0);
            let rows = self.rows_of_next(&chunk.table);
            let cut = self.block_on(reader.boundary(&table, lower.as_ref(), upper, rows));
            if chunk.leaf.is_some() {
                self.block_on(reader.end())?;
            }
            let cut = match cut {
                // The table has changed since it was looked at.
                Err(_) if !is_fresh || !self.block_on(reader.is_in_place(&table))? => {
                    self.shapes.remove(&chunk.table);
                    return Ok(Step::Later(Duration::ZERO));
                }
                cut => cut?,
            };
            if let Some(cut) = cut {
                rows_read = rows;
                let range = chunk.range;
                let answer = self.ask(|reply| Ask::Split { range, upper: Bound(cut), reply });
                let Some(upper) = answer else { return Ok(Step::Over) };
                chunk.upper = upper;
            }
        } else {
            self.refuse_large(reader, &table)?;
        }
        let taken = match self.snapshot(reader, &table, chunk.range)? {
            Taken::Accepted(taken) => taken,
            Taken::No(step) => return Ok(step),
        };
        if !self.is_as_seen(reader, published, &chunk.table, &taken.definition)? {
            self.block_on(reader.end())?;
            return Ok(Step::Later(Duration::ZERO));
        }
        let rows = self.rows_of(reader, &table, &chunk, taken.taken_us)?;
        let Some((lsn, rows, took)) = rows else { return Ok(Step::Later(Duration::ZERO)) };
        if let Some(size) = self.sizes.get_mut(&chunk.table).filter(|_| rows_read > 0) {
            size.learn(rows_read, rows.bytes.len(), took);
        }
        let pace = self.pace(rows_read, rows.bytes.len());
        // Leaves may be small and many: so many of them wait together as make one chunk.
        let ahead = chunk.leaf.as_ref().map_or(0, |_| self.bytes_max as usize);
        let step = self.hand_over(reader, chunk.range, lsn, rows, ahead)?;
        let early = pace.saturating_sub(begun.elapsed());
        if step == Step::Published && !early.is_zero() && self.stop.wait(early) {
            return Ok(Step::Over);
        }
        Ok(step)
    }

    /// The table's key is another one than that of the range: the table is looked at anew, or the gate is told.
    fn differs(&mut self, chunk: &Chunk, identity: Vec<String>, is_fresh: bool) {
        if is_fresh {
            drop(self.settings.asks.send(Ask::Identity { range: chunk.range, identity }));
        } else {
            self.shapes.remove(&chunk.table);
        }
    }

    /// What the table is, and about how wide its rows are.
    fn look_at(&mut self, reader: &ChunkReader, published: &[PublishedTable], name: &TableName) -> Result<()> {
        let shape = self.block_on(shape(reader, published, &self.settings.plan, name))?;
        let (bytes, rows) = self.block_on(reader.extent(&shape.table))?;
        let size = ChunkSize::first(ROWS_FIRST / self.settings.chunk_divisor, bytes, rows);
        self.sizes.entry(name.clone()).or_insert(size);
        self.shapes.insert(name.clone(), shape);
        Ok(())
    }

    /// Whether the table is what it was taken for; it stays so from the lock on. Else it is looked at anew.
    fn is_as_seen(
        &mut self,
        reader: &ChunkReader,
        published: &[PublishedTable],
        name: &TableName,
        definition: &str,
    ) -> Result<bool> {
        let before = self.shapes.get(name);
        if before.is_some_and(|before| before.definition.as_deref() == Some(definition)) {
            return Ok(true);
        }
        let now = self.block_on(shape(reader, published, &self.settings.plan, name))?;
        let is_same = before.is_some_and(|before| before.table == now.table);
        let is_one = is_same && before.is_some_and(|before| before.is_one);
        self.shapes.insert(name.clone(), Shape { definition: Some(definition.to_owned()), is_one, ..now });
        Ok(is_same)
    }

    /// Reads the rows, and ends the transaction.
    fn rows_of(
        &mut self,
        reader: &ChunkReader,
        table: &ChunkTable,
        chunk: &Chunk,
        taken_us: i64,
    ) -> Result<Option<(Lsn, ChunkRows, Duration)>> {
        let room = std::mem::take(&mut self.room);
        let Some(Shape { relation, .. }) = self.shapes.get(&chunk.table) else { return Ok(None) };
        let (lower, upper) = (chunk.lower.as_ref().map(|bound| &bound.0), chunk.upper.as_ref().map(|bound| &bound.0));
        let (lsn, bytes, took) = self.block_on(async {
            let lsn = reader.insert_lsn().await?;
            let begun = Instant::now();
            let bytes = reader.rows(table, lower, upper, chunk.filter.as_deref(), room).await?;
            let took = begun.elapsed();
            reader.end().await?;
            Ok((lsn, bytes, took))
        })?;
        let key = table.key_names().map(|name| relation.column(name)).collect::<Option<Vec<usize>>>();
        let key = key.filter(|columns| !columns.is_empty());
        let (relation, slots, key_places) = (relation.clone(), table.slots(), table.key_places());
        let rows = ChunkRows { relation, bytes, slots, key_places, key_types: table.key_types(), key, taken_us };
        Ok(Some((lsn, rows, took)))
    }

    /// A table without a key cannot be read in parts.
    fn refuse_large(&self, reader: &ChunkReader, table: &ChunkTable) -> Result<()> {
        let (bytes, _) = self.block_on(reader.extent(table))?;
        if bytes <= KEYLESS_BYTES_MAX {
            return Ok(());
        }
        let (size, most) = (bytes >> 20, KEYLESS_BYTES_MAX >> 20);
        let detail = format!(
            "a table without a key is read at once, up to {most} MiB; this one has {size} MiB: give it a primary key, or set [snapshot] mode = \"none\""
        );
        Err(Error::new(Kind::ReplicaIdentity, detail))
    }

    /// How long a chunk is to take by the limits.
    fn pace(&self, rows: u64, bytes: usize) -> Duration {
        let by = |count: f64, limit: Option<u64>| limit.map_or(0.0, |limit| count / limit.max(1) as f64);
        let limits = &self.settings.plan.snapshot;
        let (by_rows, by_bytes) = (self.share(limits.rows_per_second), self.share(limits.bytes_per_second));
        Duration::from_secs_f64(by(rows as f64, by_rows).max(by(bytes as f64, by_bytes)))
    }

    /// Takes snapshots until one may be read with.
    fn snapshot(&self, reader: &ChunkReader, table: &ChunkTable, range: RangeId) -> Result<Taken> {
        let mut tries = 0;
        loop {
            let Some(taken) = self.block_on(reader.begin(table))? else {
                return Ok(Taken::No(Step::Later(Duration::ZERO)));
            };
            let (snapshot, filenode, identity) = (parsed(&taken.snapshot)?, taken.filenode, table.identity());
            let offer = self.ask(|reply| Ask::Offer { range, snapshot, filenode, identity, reply });
            if offer == Some(Offer::Accepted) {
                return Ok(Taken::Accepted(taken));
            }
            self.block_on(reader.end())?;
            if let Some(step) = self.refused(offer, &mut tries) {
                return Ok(Taken::No(step));
            }
        }
    }

    /// What comes after a snapshot that may not be used; None: another try.
    fn refused(&self, offer: Option<Offer>, tries: &mut u32) -> Option<Step> {
        let pause = match offer {
            None => return Some(Step::Over),
            Some(Offer::Accepted | Offer::Discard | Offer::NoX0) => return Some(Step::Later(Duration::ZERO)),
            Some(Offer::Stale) => return None,
            Some(Offer::NotYet { oldest, x0 }) => {
                tracing::debug!(oldest, x0, "a snapshot waits for transactions that began before it was asked for");
                PAUSE
            }
            Some(Offer::Unseen(xids)) => {
                *tries += 1;
                match *tries {
                    ..=TRIES => {}
                    // While the stream pauses, no more transactions are left to this range.
                    tries if tries == TRIES + 1 => drop(self.settings.asks.send(Ask::Pause)),
                    tries if tries > TRIES + 20 => {
                        tracing::info!(?xids, "committed transactions are not visible yet, the range is read later");
                        return Some(Step::Later(LONG_PAUSE));
                    }
                    _ => {}
                }
                CHUNK_TIME
            }
        };
        self.stop.wait(pause).then_some(Step::Over)
    }

    /// Gives the rows to the gate, makes sure that what they show is durable, and waits until those before are published:
    /// the next ones are read meanwhile, some `ahead` bytes at least. Only `reader`, whose connection took their snapshot, can say what is durable:
    /// where it breaks the rows are given up.
    fn hand_over(
        &mut self,
        reader: &ChunkReader,
        range: RangeId,
        lsn: Lsn,
        rows: ChunkRows,
        ahead: usize,
    ) -> Result<Step> {
        let (published, done) = bounded(1);
        self.before.push_back((done, rows.bytes.len()));
        if self.settings.asks.send(Ask::Rows { range, lsn, rows, published }).is_err() {
            return Ok(Step::Over);
        }
        let told = |flushed| drop(self.settings.asks.send(Ask::Flushed { range, lsn: flushed }));
        if !self.until_flushed(reader, lsn, told)? {
            return Ok(Step::Over);
        }
        while self.before.len() > 1 && self.before.iter().map(|(_, bytes)| bytes).sum::<usize>() > ahead {
            let Some((before, _)) = self.before.pop_front() else { break };
            loop {
                match before.recv_timeout(PAUSE) {
                    Ok(room) if room.capacity() <= ROOM_BYTES_MAX => break self.room = room,
                    Err(RecvTimeoutError::Timeout) if self.is_over() => return Ok(Step::Over),
                    Err(RecvTimeoutError::Timeout) => {}
                    // Thrown away, or much larger than the next ones may be.
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        }
        Ok(Step::Published)
    }

    /// Waits until the server has flushed its log up to here; it is told after some time to do so. False: the stop came.
    fn until_flushed(&self, reader: &ChunkReader, lsn: Lsn, tell: impl Fn(Lsn)) -> Result<bool> {
        let (begun, mut pushed) = (Instant::now(), false);
        loop {
            let flushed = self.block_on(reader.flush_lsn())?;
            tell(flushed);
            if flushed >= lsn {
                return Ok(true);
            }
            if !pushed && begun.elapsed() >= FLUSH_PATIENCE && !mutated(Mutation::NoPush) {
                self.block_on(reader.current_xid())?;
                pushed = true;
            } else if self.stop.wait(Duration::from_millis(5)) {
                return Ok(false);
            }
        }
    }

    fn rows_of_next(&self, table: &TableName) -> u64 {
        let limit = self.share(self.settings.plan.snapshot.bytes_per_second);
        let bytes_max = limit.map_or(self.bytes_max, |limit| (limit / 10).max(64 << 10).min(self.bytes_max));
        let rows_per_second = self.share(self.settings.plan.snapshot.rows_per_second);
        self.sizes.get(table).map_or(ROWS_FIRST, |size| size.rows(bytes_max, rows_per_second))
    }

    /// This worker's part of a limit of all.
    fn share(&self, limit: Option<u64>) -> Option<u64> {
        limit.map(|limit| limit.div_ceil(self.settings.plan.snapshot.workers as u64))
    }
}

fn parsed(snapshot: &str) -> Result<PgSnapshot> {
    snapshot.parse().map_err(|_| Error::new(Kind::Protocol, "a snapshot that is none"))
}

#[derive(PartialEq, Eq)]
enum Step {
    /// Or about to be.
    Published,
    /// The range is given back; the next one after so long.
    Later(Duration),
    Over,
}

enum Taken {
    Accepted(ChunkSnapshot),
    No(Step),
}

async fn shape(reader: &ChunkReader, published: &[PublishedTable], plan: &Plan, name: &TableName) -> Result<Shape> {
    let found = catalog::table_named(reader.sql(), name).await?;
    let listed = published.iter().find(|table| table.name == *name);
    let columns = listed.and_then(|table| table.columns.as_deref());
    let filter = listed.and_then(|table| table.row_filter.as_deref());
    let read = read_columns(plan, name);
    let table = ChunkTable::of(reader.sql(), &found, columns, filter).await?.only(|column| read.contains(column));
    let mut relation = found.as_relation();
    relation.columns.retain(|column| columns.is_none_or(|listed| listed.contains(&column.name)));
    Ok(Shape { definition: None, relation: Arc::new(relation), table, is_one: false })
}
