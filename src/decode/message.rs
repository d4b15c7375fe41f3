//! What one message says.

use crate::model::{Change, Lsn};

/// A decoded message. Rows, prefixes and contents borrow the received bytes and the decoder's reused memory.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A transaction starts; all of it follows before the next `Begin`.
    Begin {
        /// The LSN of the transaction's commit record.
        final_lsn: Lsn,
        /// Microseconds since 2000-01-01 UTC.
        commit_time_us: i64,
        /// The transaction's id, without its wraparound epoch.
        xid: u32,
    },
    /// The transaction is complete.
    Commit {
        /// The LSN of the commit record: `Begin`'s `final_lsn`.
        commit_lsn: Lsn,
        /// The end of the commit record: the first LSN after the transaction.
        end_lsn: Lsn,
        /// Microseconds since 2000-01-01 UTC.
        commit_time_us: i64,
    },
    /// The transaction was replicated to this server from another one.
    Origin,
    /// A table's description, valid from here on. Always a new version, also where it repeats the one before:
    /// whatever was compiled for this index is compiled again.
    Relation {
        /// The table's index: one per OID, from 0, the same for the decoder's whole life.
        index: usize,
    },
    /// A type that is not built in; the catalog knows more about it than this message.
    Type,
    /// A row was inserted, updated or deleted (the only operations that stand in `change`).
    Row {
        /// The table's index.
        relation: usize,
        /// The rows.
        change: Change<'a>,
    },
    /// Tables were emptied.
    Truncate {
        /// The tables' indexes.
        relations: &'a [usize],
        /// TRUNCATE .. CASCADE
        cascade: bool,
        /// TRUNCATE .. RESTART IDENTITY
        restart_identity: bool,
    },
    /// `pg_logical_emit_message`.
    Logical {
        /// Part of the surrounding transaction; else it stands alone, at `lsn`, also in the middle of another's messages.
        transactional: bool,
        /// The message's own LSN.
        lsn: Lsn,
        /// Chosen by the sender; UTF-8 unless the database's encoding is SQL_ASCII.
        prefix: &'a [u8],
        /// Any bytes.
        content: &'a [u8],
    },
}
