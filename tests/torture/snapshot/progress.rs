//! How far the snapshot is, by what is committed on the checkpoint topic.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Message;
use serde_json::Value;
use walwright::model::Lsn;

use crate::support::Result;
use crate::support::subscriber::Subscriber;

const TABLE: &str = "progress/public.orders";

pub(super) struct Progress {
    brokers: String,
    topic: String,
    /// None until there is a topic.
    subscriber: Option<Subscriber>,
    /// By key; of ranges until they are joined, in the end of the table.
    rows: BTreeMap<String, u64>,
    done: bool,
    /// When the reading that is under way was asked for, in microseconds since 1970.
    asked_us: u64,
    /// No snapshot is remembered any more.
    forgotten: bool,
    next_lsn: Option<Lsn>,
}

impl Progress {
    pub(super) fn new(brokers: String, topic: &str) -> Self {
        let (rows, topic) = (BTreeMap::new(), topic.to_owned());
        Self { brokers, topic, subscriber: None, rows, done: false, asked_us: 0, forgotten: false, next_lsn: None }
    }

    /// Reads on to the end.
    pub(super) fn refresh(&mut self) -> Result<()> {
        if self.subscriber.is_none() {
            // Before the first start has made it there is no topic.
            self.subscriber = Subscriber::at(&self.brokers, std::slice::from_ref(&self.topic)).ok();
        }
        let Some(subscriber) = self.subscriber.take() else { return Ok(()) };
        // Faults pass: the client connects again by itself, and who waits for rows has a deadline.
        while let Ok(Some(message)) = subscriber.next(Duration::from_millis(1)) {
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            let value = message.payload().map(serde_json::from_slice).transpose()?;
            self.see(key, value);
        }
        self.subscriber = Some(subscriber);
        Ok(())
    }

    fn see(&mut self, key: String, value: Option<Value>) {
        let Some(value) = value else {
            self.rows.remove(&key);
            return;
        };
        if key == "checkpoint" {
            self.next_lsn = value["next_lsn"].as_str().and_then(|lsn| lsn.parse().ok());
            self.forgotten = value.get("unseen").is_none();
        } else if key == TABLE {
            self.done = value["state"] == "done";
            self.asked_us = value["asked_us"].as_u64().unwrap_or_default();
            self.rows.insert(key, value["rows"].as_u64().filter(|_| self.done).unwrap_or_default());
        } else if key.starts_with(TABLE) {
            self.rows.insert(key, value["rows"].as_u64().unwrap_or_default());
        }
    }

    /// Rows that are published.
    pub(super) fn rows(&self) -> u64 {
        let table = self.rows.get(TABLE).copied().unwrap_or_default();
        let ranges: u64 = self.rows.iter().filter(|(key, _)| *key != TABLE).map(|(_, rows)| rows).sum();
        table.max(ranges)
    }

    /// Whether all rows are, and the stream has passed them.
    pub(super) fn is_over(&self) -> bool {
        self.done && self.forgotten
    }

    pub(super) fn asked_us(&self) -> u64 {
        self.asked_us
    }

    pub(super) fn next_lsn(&self) -> Option<Lsn> {
        self.next_lsn
    }
}
