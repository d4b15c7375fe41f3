//! The records of snapshots on the checkpoint topic: JSON, a version in each, read strictly, like the checkpoint's own.
//!
//! `progress/<table>` says that a table is, or was, read and how; `progress/<table>/<ordinal>` is a range that was
//! published, `progress/<table>/<leaf>.<ordinal>` one of a table that is read leaf by leaf, whose leaves are
//! `progress/<table>/leaves`. Ranges without a record are pending.

use std::fmt::Write;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Ordinal;
use super::range::{Bound, ORDINAL_STEP};
use super::visibility::PgSnapshot;
use crate::error::{Error, Kind, Result};
use crate::model::{Leaf, Lsn, TableName};

const PREFIX: &str = "progress/";
const LEAVES: &str = "leaves";
/// The version that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// A record to write; None is a tombstone.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// What a snapshot of a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The table has no subscribers yet: each row is read once, then come the changes that the read does not hold.
    Initial,
    /// It has: every change is published as always, and rows are read beside.
    Backfill,
}

/// How far the snapshot of a table is.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Paused,
    Done,
    Cancelled,
}

impl State {
    /// All, in the order of a snapshot's life.
    pub const ALL: [State; 4] = [State::Running, State::Paused, State::Done, State::Cancelled];

    /// As records and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Done => "done",
            State::Cancelled => "cancelled",
        }
    }
}

/// A snapshot as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What it is for.
    pub variant: Variant,
    /// The condition that rows to read fulfil, as SQL.
    pub filter: Option<String>,
    /// When, in microseconds since 1970.
    pub asked_us: i64,
}

/// The record of a table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableRecord {
    pub(super) version: u32,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) variant: Variant,
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<String>,
    pub(super) asked_us: i64,
    pub(super) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) x0: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) filenode: Option<u32>,
    /// The columns of its key, with their types: ranges are bounded by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Vec<String>>,
    pub(super) rows: u64,
}

/// The record of a published range.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeRecord {
    pub(super) version: u32,
    pub(super) lower: Option<Bound>,
    pub(super) upper: Option<Bound>,
    pub(super) rows: u64,
    /// Until the stream has passed its position: a change is published if this does not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read: Option<ReadRecord>,
}

/// The record of a table's leaves, numbered from 1.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeavesRecord {
    pub(super) version: u32,
    pub(super) leaves: Vec<Leaf>,
}

/// The snapshot that a range was read with, and the end of the log when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRecord {
    pub(super) snapshot: PgSnapshot,
    pub(super) lsn: Lsn,
}

/// A record of a table, its leaves or a range, with the table's part of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Table(String, TableRecord),
    Leaves(String, LeavesRecord),
    Range(String, Ordinal, RangeRecord),
}

impl TableRecord {
    pub(super) const VERSION: u32 = VERSION;

    pub(super) fn name(&self) -> TableName {
        TableName::new(&self.schema, &self.table)
    }
}

impl RangeRecord {
    pub(super) const VERSION: u32 = VERSION;
}

impl LeavesRecord {
    pub(super) const VERSION: u32 = VERSION;
}

/// Which record of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Table,
    Leaves,
    Range(Ordinal),
}

/// The table's part of a key: names in which every other character is spelled `%XX`, so that no two tables share one.
pub(super) fn table_key(name: &TableName) -> String {
    let mut key = String::new();
    for (i, part) in [&name.schema, &name.table].into_iter().enumerate() {
        if i > 0 {
            key.push('.');
        }
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
                key.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _written = write!(key, "%{byte:02X}");
            }
        }
    }
    key
}

/// A record to write.
pub(super) fn entry<T: Serialize>(table: &str, of: Of, record: &T) -> Result<Entry> {
    let value = serde_json::to_vec(record);
    let value = value.map_err(|error| Error::new(Kind::Bug, "a progress record has no JSON").because(error))?;
    Ok(Entry { key: key(table, of), value: Some(value) })
}

/// The tombstone of a record.
pub(super) fn tombstone(table: &str, of: Of) -> Entry {
    Entry { key: key(table, of), value: None }
}

fn key(table: &str, of: Of) -> String {
    match of {
        Of::Table => format!("{PREFIX}{table}"),
        Of::Leaves => format!("{PREFIX}{table}/{LEAVES}"),
        Of::Range(Ordinal { leaf: 0, nth }) => format!("{PREFIX}{table}/{nth}"),
        Of::Range(Ordinal { leaf, nth }) => format!("{PREFIX}{table}/{leaf}.{nth}"),
    }
}

/// Reads a record by its key.
pub(super) fn parse(key: &str, value: &[u8]) -> Result<Record> {
    let rest = key.strip_prefix(PREFIX).ok_or_else(|| unreadable(key, "a record that is none of a snapshot"))?;
    let Some((table, ordinal)) = rest.split_once('/') else {
        return Ok(Record::Table(rest.to_owned(), versioned(key, value)?));
    };
    if ordinal == LEAVES {
        return Ok(Record::Leaves(table.to_owned(), versioned(key, value)?));
    }
    let ordinal = numbered(ordinal).ok_or_else(|| unreadable(key, "a range without a number"))?;
    Ok(Record::Range(table.to_owned(), ordinal, versioned(key, value)?))
}

fn numbered(ordinal: &str) -> Option<Ordinal> {
    let (leaf, nth) = match ordinal.split_once('.') {
        Some((leaf, nth)) => (leaf.parse().ok().filter(|leaf| *leaf > 0)?, nth),
        None => (0, ordinal),
    };
    let nth = nth.parse().ok().filter(|nth| (1..u64::MAX - ORDINAL_STEP).contains(nth))?;
    Some(Ordinal { leaf, nth })
}

fn versioned<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |error| unreadable(key, "a record that is damaged").because(error);
    let Versioned { version } = serde_json::from_slice(value).map_err(damaged)?;
    if version == 0 || version > VERSION {
        let what = format!("a record of format version {version} (this program reads up to {VERSION})");
        return Err(unreadable(key, &what));
    }
    serde_json::from_slice(value).map_err(damaged)
}

pub(super) fn unreadable(key: &str, what: &str) -> Error {
    Error::new(Kind::CheckpointUnreadable, format!("key {key:?} holds {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entry: &Entry) -> &str {
        std::str::from_utf8(entry.value.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn records_are_written_like_this() {
        let table = TableRecord {
            version: 1,
            schema: "public".to_owned(),
            table: "orders".to_owned(),
            variant: Variant::Backfill,
            filter: Some("placed_at > '2026-01-01'".to_owned()),
            asked_us: 5,
            state: State::Running,
            x0: Some(1 << 33),
            filenode: None,
            identity: Some(vec!["id bigint".to_owned()]),
            rows: 7,
        };
        let written = entry("public.orders", Of::Table, &table).unwrap();
        assert_eq!(written.key, "progress/public.orders");
        assert_eq!(
            text(&written),
            r#"{"version":1,"schema":"public","table":"orders","variant":"backfill","where":"placed_at > '2026-01-01'","asked_us":5,"state":"running","x0":8589934592,"identity":["id bigint"],"rows":7}"#
        );
        assert_eq!(
            parse(&written.key, written.value.as_deref().unwrap()).unwrap(),
            Record::Table("public.orders".to_owned(), table)
        );
        let read = ReadRecord { snapshot: "10:12:10".parse().unwrap(), lsn: Lsn(26) };
        let range = RangeRecord {
            version: 1,
            lower: None,
            upper: Some(Bound(vec!["5".to_owned()])),
            rows: 7,
            read: Some(read),
        };
        let undivided = Ordinal { leaf: 0, nth: 9 };
        let written = entry("public.orders", Of::Range(undivided), &range).unwrap();
        assert_eq!(written.key, "progress/public.orders/9");
        assert_eq!(
            text(&written),
            r#"{"version":1,"lower":null,"upper":["5"],"rows":7,"read":{"snapshot":"10:12:10","lsn":"0/1A"}}"#
        );
        assert_eq!(
            parse(&written.key, written.value.as_deref().unwrap()).unwrap(),
            Record::Range("public.orders".to_owned(), undivided, range)
        );
    }

    #[test]
    fn records_of_leaves_are_written_like_this() {
        let leaf = Leaf { oid: 16_400, condition: "((id IS NOT NULL) AND (id < 9))".to_owned(), filenode: 16_401 };
        let leaves = LeavesRecord { version: 1, leaves: vec![leaf] };
        let written = entry("public.orders", Of::Leaves, &leaves).unwrap();
        assert_eq!(written.key, "progress/public.orders/leaves");
        assert_eq!(
            text(&written),
            r#"{"version":1,"leaves":[{"oid":16400,"condition":"((id IS NOT NULL) AND (id < 9))","filenode":16401}]}"#
        );
        assert_eq!(
            parse(&written.key, written.value.as_deref().unwrap()).unwrap(),
            Record::Leaves("public.orders".to_owned(), leaves)
        );
        let ordinal = Ordinal { leaf: 2, nth: 9 };
        assert_eq!(tombstone("public.orders", Of::Range(ordinal)).key, "progress/public.orders/2.9");
        assert_eq!(numbered("2.9"), Some(ordinal));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let good = r#"{"version":1,"lower":null,"upper":null,"rows":0}"#;
        assert!(parse("progress/t/1", good.as_bytes()).is_ok());
        for (key, value, says) in [
            ("progress/t/1", r#"{"version":2,"new":0}"#, "format version 2"),
            ("progress/t/1", r#"{"version":1,"lower":null,"upper":null,"rows":0,"more":1}"#, "damaged"),
            ("progress/t/1", "{", "damaged"),
            ("progress/t/x", good, "without a number"),
            ("progress/t/0", good, "without a number"),
            ("progress/t/0.1", good, "without a number"),
            ("progress/t/leaves", good, "damaged"),
            ("checkpoint", good, "none of a snapshot"),
        ] {
            let error = parse(key, value.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::CheckpointUnreadable);
            assert!(error.to_string().contains(says) && error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn no_two_tables_share_a_key() {
        let key = |schema, table| table_key(&TableName::new(schema, table));
        assert_eq!(key("public", "orders"), "public.orders");
        assert_ne!(key("a.b", "c"), key("a", "b.c"));
        assert_eq!(key("a/b", "%é"), "a%2Fb.%25%C3%A9");
    }
}
