//! The records of the checkpoint topic: JSON, a version in each, read strictly.
//!
//! The version is read before anything else, so that a record of a newer Walwright is named as such; an unknown field
//! is refused, since what it means for the position cannot be guessed.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::audit::AUDIT;
use crate::error::{Error, Kind, Result};
use crate::model::Lsn;

/// The key of the checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The key of the intent to create a slot.
pub const INTENT: &str = "intent";
/// The key of the takeover record.
pub const TAKEOVER: &str = "takeover";
/// What keys of snapshot ranges begin with.
pub const PROGRESS: &str = "progress/";

/// The version that this program writes, and the newest that it reads.
const VERSION: u32 = 3;
/// What says nothing that an older version does not know is written as that version, so that there is a way back.
const PLAIN_VERSION: u32 = 1;
const UNSEEN_VERSION: u32 = 2;
/// A record is at most so long; ours have some hundred bytes and a few for each topic.
const BYTES_MAX: usize = 1 << 20;

/// How events are delivered.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
}

/// Everything before `next_lsn` is on Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The format's version.
    pub version: u32,
    /// Grows when an operator accepts a gap.
    pub epoch: u32,
    /// Exclusive: replay drops a transaction if and only if its commit LSN is below.
    pub next_lsn: Lsn,
    /// The timeline of the server that `next_lsn` lies on.
    pub timeline: u32,
    /// The cluster's system identifier, as text since it exceeds what JSON numbers hold exactly.
    pub system_identifier: String,
    /// How the events before it were delivered.
    pub delivery: Delivery,
    /// The partition count in use, by topic.
    pub partitions: BTreeMap<String, i32>,
    /// Hash of all that decides which records a change yields.
    pub mapping: String,
    /// A large transaction of which a part is on Kafka (`large_transactions = "split"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// While ranges of a snapshot pend: by the table's part of their keys, the transactions that their reads must see.
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<BTreeMap<String, Vec<u64>>>,
    /// Without transactions: all records of the connector before these offsets are of changes before the position, so
    /// what a session left behind it lies from there on. Since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Offsets>,
}

/// An offset for each partition of each topic.
pub type Offsets = BTreeMap<String, Vec<i64>>;

/// The published part of a split transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// The transaction's commit LSN.
    pub commit_lsn: Lsn,
    /// Its first so many changes are on Kafka.
    pub changes: u64,
}

/// Written before a slot is created, so that a crash in between is told from a slot that someone else made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The format's version.
    pub version: u32,
    /// The slot's name.
    pub slot: String,
    /// The cluster on which it is to be created.
    pub system_identifier: String,
}

/// Written by whoever takes a connector over; the newest one names its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takeover {
    /// The format's version.
    pub version: u32,
    /// Drawn at each start of a connector.
    pub instance: String,
}

/// What the checkpoint topic says: the newest record of each key.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub checkpoint: Option<Checkpoint>,
    pub intent: Option<Intent>,
    pub takeover: Option<Takeover>,
    /// How far snapshots are, by key; what the records say is the snapshot's to know.
    pub progress: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// All before this position was on the server when it was written; of a split transaction's commit record at least
    /// the beginning.
    pub fn reaches(&self) -> Lsn {
        self.partial.map_or(self.next_lsn, |partial| self.next_lsn.max(Lsn(partial.commit_lsn.0.saturating_add(1))))
    }

    /// The version of a new checkpoint; `to_json` writes the least that will do.
    pub const VERSION: u32 = PLAIN_VERSION;

    /// As written to the topic.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let version = match (&self.acknowledged, &self.unseen) {
            (Some(_), _) => VERSION,
            (None, Some(_)) => UNSEEN_VERSION,
            (None, None) => PLAIN_VERSION,
        };
        to_json(&Checkpoint { version, ..self.clone() })
    }

    /// Whether this came late from an instance that had been taken over: without transactions no fence stops its last
    /// record. An epoch never goes back, nor does the position within an epoch of a cluster.
    fn is_overtaken_by(&self, newest: &Checkpoint) -> bool {
        let same = self.epoch == newest.epoch && self.system_identifier == newest.system_identifier;
        self.epoch < newest.epoch || same && self.next_lsn < newest.next_lsn
    }
}

impl Intent {
    /// A new intent.
    pub fn new(slot: &str, system_identifier: &str) -> Intent {
        Intent { version: PLAIN_VERSION, slot: slot.to_owned(), system_identifier: system_identifier.to_owned() }
    }

    /// As written to the topic.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        to_json(self)
    }
}

impl Takeover {
    /// A takeover by this instance.
    pub fn new(instance: &str) -> Takeover {
        Takeover { version: PLAIN_VERSION, instance: instance.to_owned() }
    }

    /// As written to the topic.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        to_json(self)
    }
}

impl State {
    /// Takes in one record of the topic, in their order. None is a tombstone.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, offset: i64) -> Result<()> {
        let key = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let read = |what: &str| unreadable(offset, &format!("{what} of key {key:?}"));
        match key {
            CHECKPOINT => {
                let read: Option<Checkpoint> = parse(value, offset)?;
                let newest = self.checkpoint.take();
                self.checkpoint = match (newest, read) {
                    (Some(newest), Some(late)) if late.is_overtaken_by(&newest) => Some(newest),
                    (_, read) => read,
                };
            }
            INTENT => self.intent = parse(value, offset)?,
            TAKEOVER => self.takeover = parse(value, offset)?,
            _ if key.starts_with(PROGRESS) => match value {
                Some(value) => drop(self.progress.insert(key.to_owned(), value.to_vec())),
                None => drop(self.progress.remove(key)),
            },
            // What operators did decides nothing.
            _ if key.starts_with(AUDIT) => {}
            _ if value.is_none() => {}
            _ => return Err(read("a record")),
        }
        Ok(())
    }
}

pub(super) fn to_json<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| Error::new(Kind::Bug, "a checkpoint record has no JSON").because(error))
}

fn parse<T: DeserializeOwned>(value: Option<&[u8]>, offset: i64) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    if value.len() > BYTES_MAX {
        return Err(unreadable(offset, &format!("a record of {} bytes", value.len())));
    }
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = from_json(value, offset)?;
    if version == 0 || version > VERSION {
        let what = format!("a record of format version {version} (this program reads up to {VERSION})");
        return Err(unreadable(offset, &what));
    }
    from_json(value, offset).map(Some)
}

fn from_json<T: DeserializeOwned>(value: &[u8], offset: i64) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| unreadable(offset, "a record that is damaged").because(error))
}

fn unreadable(offset: i64, what: &str) -> Error {
    Error::new(Kind::CheckpointUnreadable, format!("offset {offset} of partition 0 holds {what}"))
}

#[cfg(test)]
mod tests;
