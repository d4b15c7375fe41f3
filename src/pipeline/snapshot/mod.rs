//! Reads rows that exist already while the stream goes on: wires `crate::snapshot`, which decides, to threads that read.
//!
//! ```text
//! worker threads --Ask--> gate (in the assembler's thread): the state machine, the rows that are read and not published
//!  SQL, COPY    <-answer--    ^ which range a key lies in, whether a change is covered, published, or waits for a chunk
//! ```

mod command;
mod gate;
mod progress;
mod worker;

pub use command::{Answer, Command};
pub(super) use command::{Answered, Asked, Commands};
pub(super) use gate::{Gate, GateSettings, Halves};
pub(super) use progress::Progress;
pub use progress::TableProgress;
pub(super) use worker::{Worker, WorkerSettings};

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::encode::write_text;
use crate::error::{Error, Kind, Result};
use crate::map::write_version;
use crate::model::{ColumnType, Datum, Leaf, Lsn, Relation, Row, SlotKind};
use crate::snapshot::{Bound, Chunk, Offer, PgSnapshot, RangeId};

/// What a worker asks of the gate, or tells it.
pub(super) enum Ask {
    /// Something to do.
    Next(Sender<Next>),
    /// Reads its range only up to here; the answer is where the range ends.
    Split { range: RangeId, upper: Bound, reply: Sender<Option<Bound>> },
    /// X0 of a table: the xid of a transaction that began after its snapshot was asked for, and has ended.
    X0 { table: usize, xid: u64 },
    /// A snapshot that was taken for the range, and the columns of the table's key as it sees them.
    Offer { range: RangeId, snapshot: PgSnapshot, filenode: u32, identity: Vec<String>, reply: Sender<Offer> },
    /// The leaves of a table, as a snapshot sees them that was taken for all of it; the server has flushed its log so far.
    Divide { range: RangeId, snapshot: PgSnapshot, lsn: Lsn, leaves: Vec<Leaf>, reply: Sender<Offer> },
    /// The range's keys are not known any more: its table begins anew.
    Anew(RangeId),
    /// The columns of a table's key, which are not those of the range that was to be read.
    Identity { range: RangeId, identity: Vec<String> },
    /// A fresh snapshot, while nothing is read.
    Prune(PgSnapshot),
    /// No snapshot sees what the stream has left to this range: the stream is to pause for a moment.
    Pause,
    /// The rows of the range; what the sender is dropped with is published, or thrown away. Their memory comes back by it.
    Rows { range: RangeId, lsn: Lsn, rows: ChunkRows, published: Sender<Vec<u8>> },
    /// The server has flushed so far, says the connection by which the rows of the range were read.
    Flushed { range: RangeId, lsn: Lsn },
    /// The range cannot be read for now.
    Failed(RangeId),
    /// A backfill's range cannot be read before a person has mended what keeps from it.
    GiveUp(RangeId, Error),
}

/// What a worker is to do.
pub(super) enum Next {
    Read {
        chunk: Chunk,
        /// Changes come too, and wait for chunks.
        beside: bool,
    },
    /// X0 is missing for these tables.
    TakeX0(Vec<usize>),
    /// A fresh snapshot is wanted.
    Prune,
}

/// Rows as COPY wrote them, and what they are rows of.
pub(super) struct ChunkRows {
    /// As the catalog described the table, in the chunk's own snapshot.
    pub(super) relation: Arc<Relation>,
    pub(super) bytes: Vec<u8>,
    /// How each column is written.
    pub(super) slots: Vec<SlotKind>,
    /// Where each of the key's columns stands in a row; its last column is xmin.
    pub(super) key_places: Vec<usize>,
    /// Of the key's columns; None: it stands as text.
    pub(super) key_types: Vec<Option<ColumnType>>,
    /// Where the key's columns stand among the published ones; None: not all of them are published, or there is no key.
    pub(super) key: Option<Vec<usize>>,
    /// When the snapshot was taken, microseconds since 2000-01-01.
    pub(super) taken_us: i64,
}

impl ChunkRows {
    /// Appends what names the version of one of its rows.
    pub(super) fn write_version(&self, row: Row<'_>, out: &mut Vec<u8>) -> Result<()> {
        let xmin = match row.get(row.len().saturating_sub(1)) {
            Datum::Binary(xmin) => xmin.try_into().map(u32::from_be_bytes).ok(),
            _ => None,
        };
        let xmin = xmin.ok_or_else(|| Error::new(Kind::Protocol, "a row that was read has no xmin"))?;
        let write_part =
            |number: usize, out: &mut Vec<u8>| match (row.get(self.key_places[number]), &self.key_types[number]) {
                (Datum::Binary(binary), Some(kind)) => write_text(kind, binary, out),
                (Datum::Text(text), None) => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                _ => Ok(()),
            };
        write_version(self.key_types.len(), xmin, write_part, out)
    }
}
