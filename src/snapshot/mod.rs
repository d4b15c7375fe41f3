//! The snapshot: rows that exist already are read in ranges of keys while the stream goes on, each exactly once.
//!
//! Pure: no socket, clock or thread. One owner, the thread that judges the stream, asks it about every change of a table
//! that is being read, and passes on what the workers say, which read chunks over connections of their own:
//!
//! ```text
//! ask, set_x0            from here on changes of the table are judged; from here on it is read
//! next_chunk, split      a worker gets a range, and cuts off as much as it wants to read at once
//!   BEGIN REPEATABLE READ; LOCK TABLE .. IN ACCESS SHARE MODE; S = pg_current_snapshot(); pg_relation_filenode(..)
//! divide(S, H, leaves)   of a partitioned table that nobody has begun: from here on each leaf has ranges of its own
//! offer(S, filenode)     Accepted: from here on the stream holds at changes of the range that S does not see
//!   H = pg_current_wal_insert_lsn(); COPY ..; COMMIT
//! read(H)                wait() says what the chunk waits for
//!   F = pg_current_wal_flush_lsn(), on the same connection
//! flushed(F)             until F has reached H, or the stream has passed H
//! publish                its records go into the Kafka transaction of its rows
//! advance                the stream has moved on: snapshots that it has passed are forgotten
//! ```
//!
//! | range | a change that S sees | one that S does not see |
//! | --- | --- | --- |
//! | pending | not asked: covered, its xid joins the range's unseen set | the same |
//! | being read | covered | the stream waits until the chunk is written, then it is published |
//! | published | covered | published |
//! | published, S forgotten | not asked: published | the same |
//!
//! In a backfill every change is published; the chunk waits until the stream has passed H, and leaves out the keys of
//! changes that S does not see. What must hold for the answers to be right, all of it the caller's to see to:
//!
//! - The lock comes before S: a TRUNCATE or a rewrite that S does not see leaves S an empty table to read.
//! - F comes from the connection that took S: a server that has crashed since counts on from where its log was cut, with
//!   other contents and the same xids. So F counts for this reading only; the stream, whose connection is older than
//!   every S of the session, vouches for all that it has passed.
//! - Of transactions that are on Kafka since before the session, nothing is asked or told.
//! - Units are committed in their order. Records that a method returns go into the unit of what the method was told, and
//!   each unit carries `unseen()` as it is when the unit leaves, or later.
//! - An answer other than `Hold` and `Locate` is final, so each half of a key change is asked for by itself.
//! - After a failure of either side everything here is built anew from Kafka (`load`), and no worker outlives it.
//!
//! `model` runs this code through every interleaving of small histories.

mod chunks;
mod leaves;
mod range;
mod record;
mod table;
mod tables;
mod visibility;

#[cfg(test)]
mod model;

pub use range::{Bound, LeftOut};
pub use record::{Entry, Request, State, Variant};
pub use tables::Snapshot;
pub use visibility::{InvalidSnapshot, PgSnapshot};

use std::sync::Arc;

use crate::model::{Leaf, Lsn, TableName};

/// A range of a table's keys. It stays the same range while the session lasts, whatever is cut off from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RangeId {
    pub(super) table: usize,
    pub(super) ordinal: Ordinal,
}

/// Where a range stands among those of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ordinal {
    /// The leaf that it is of, from 1 on; 0: the table is not divided.
    pub(super) leaf: u32,
    /// In the order of the leaf's keys.
    pub(super) nth: u64,
}

impl RangeId {
    /// The number of its table.
    pub fn table(&self) -> usize {
        self.table
    }
}

/// Where a key lies, as Postgres said when it was given the bounds of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The last range whose lower bound is not above the key.
    pub range: RangeId,
    /// Of the bounds.
    pub version: u64,
}

/// The ranges of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Places refer to it. It grows when a range is split; a place in a range that was not split since stays valid.
    pub version: u64,
    /// One for each leaf of which a change need be asked for, and for a few more; before them one for all other keys. A
    /// change of a key that lies in none of them is published.
    pub parts: Vec<Part>,
}

/// The ranges of a leaf, or of an undivided table, in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which keys are meant; None: all that lie in no other part.
    pub leaf: Option<Arc<Leaf>>,
    /// With their inclusive lower bounds; None is below every key. Empty where a change need not be asked for.
    pub ranges: Vec<(RangeId, Option<Bound>)>,
}

/// What a worker is to read.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub range: RangeId,
    pub table: TableName,
    pub variant: Variant,
    /// The condition that rows to read fulfil, as SQL.
    pub filter: Option<String>,
    /// The part of a partitioned table that it lies in; None: the table is not divided.
    pub leaf: Option<Arc<Leaf>>,
    /// Inclusive; None: from the first key on.
    pub lower: Option<Bound>,
    /// Exclusive; None: to the last key.
    pub upper: Option<Bound>,
    /// The key's columns, of which the bounds are; None: nobody has looked yet.
    pub identity: Option<Vec<String>>,
}

impl Chunk {
    /// Whether it is all of a table that may still be divided.
    pub fn is_undivided(&self) -> bool {
        self.leaf.is_none() && self.lower.is_none() && self.upper.is_none()
    }
}

/// What becomes of a snapshot that a worker has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Read the range with it.
    Accepted,
    /// Take another one: the stream has left these transactions to this range, and the snapshot does not see them.
    /// Where it goes on so, the stream must pause: while it does, no more are added.
    Unseen(Vec<u64>),
    /// Take another one: a later one is in use already.
    Stale,
    /// Take another one later: a transaction that began before the snapshot was asked for still runs.
    NotYet {
        /// The oldest that runs.
        oldest: u64,
        /// All below must have ended.
        x0: u64,
    },
    /// The server has crashed and taken the table's X0 back. It must be taken anew (`set_x0`), and the range pends until then.
    NoX0,
    /// The range is not to be read any more.
    Discard,
}

/// What a chunk whose snapshot was accepted waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It can be published.
    Ready,
    /// Its rows are not read.
    Rows,
    /// The server has not flushed its log up to here; it may need a push.
    Flush(Lsn),
    /// The stream has not passed this position.
    Stream(Lsn),
    /// Throw the rows away: the range was given up, or too many of its keys have changed. `failed` says that it was done.
    Discard,
}

/// What to do with a change, or one half of a key change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A read holds it, or will: it is not published.
    Covered,
    /// It is published.
    Publish,
    /// Publish this range first, then ask again.
    Hold(RangeId),
    /// The ranges have changed: find out anew where the key lies.
    Locate,
}
