//! Where a connector's state is kept: one compacted topic of one partition, `<topic_prefix>walwright.checkpoint.<connector>`.
//!
//! A topic of its own, since in a shared partition another connector's open transaction would hide the newest record.
//! This file reads; the records are written by producers, in the transaction of the events that they cover.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::time::Instant;

use tracing::{info, warn};

use super::record::State;
use crate::error::{At, Error, Kind, Result};
use crate::kafka::{Admin, Closing, Creation, Isolation, KafkaClient, Topic, read_partition};

/// A replica more than this would add nothing that the checkpoint needs.
const REPLICAS_MAX: i32 = 3;

/// The checkpoint topic of one connector.
pub struct Store {
    client: KafkaClient,
    topic: String,
    closing: Closing,
}

impl Store {
    /// Asks nobody yet.
    pub fn new(client: &KafkaClient, topic_prefix: &str, connector: &str) -> Store {
        Store {
            client: client.clone(),
            topic: format!("{topic_prefix}walwright.checkpoint.{connector}"),
            closing: Closing::default(),
        }
    }

    /// The topic's name. Records go to its partition 0.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Creates the topic where it is missing and checks it. A topic that is missing only in passing (a broker that
    /// restarts) is found again by this, since creation is decided by the controller.
    pub fn ensure_topic(&self, admin: &Admin) -> Result<()> {
        if admin.topic(&self.topic)?.is_none() {
            let brokers = i32::try_from(admin.broker_count()?).unwrap_or(REPLICAS_MAX);
            let replication = brokers.clamp(1, REPLICAS_MAX);
            let config = topic_settings(replication).to_vec();
            admin.create(&[Creation { name: &self.topic, partitions: 1, replication, config }])?;
            info!(topic = self.topic, replication, "created checkpoint topic");
        }
        let topic = admin.topic(&self.topic)?;
        let missing = || Error::new(Kind::TopicMissing, format!("checkpoint topic {} does not exist", self.topic));
        check(&topic.ok_or_else(missing)?).map_err(|error| error.at(At::topic(&self.topic)))
    }

    /// The state up to the last stable offset. Never waits for an open transaction, so it may be stale.
    pub fn read_stable(&self, until: Instant) -> Result<State> {
        self.read(Isolation::Stable, until)
    }

    /// The state up to the present high watermark. To be called after the fence, when no transaction can stay open:
    /// then nothing that was committed before is missing.
    pub fn read_fenced(&self, until: Instant) -> Result<State> {
        self.read(Isolation::Fenced, until)
    }

    fn read(&self, isolation: Isolation, until: Instant) -> Result<State> {
        let mut state = State::default();
        read_partition(&self.client, &self.topic, 0, isolation, until, &self.closing, |entry| {
            state.apply(entry.key, entry.value, entry.offset).map_err(|error| error.at(At::topic(&self.topic)))
        })?;
        Ok(state)
    }

    /// The keys that have a value, up to the last stable offset; whatever they hold, understood or not.
    pub fn keys(&self, until: Instant) -> Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        read_partition(&self.client, &self.topic, 0, Isolation::Stable, until, &self.closing, |entry| {
            let key = String::from_utf8_lossy(entry.key.unwrap_or_default()).into_owned();
            match entry.value {
                Some(_) => drop(keys.insert(key)),
                None => drop(keys.remove(&key)),
            }
            Ok(())
        })?;
        Ok(keys)
    }
}

/// A new instance id: 16 random bytes of the operating system, as hex. Drawn at each start of a connector.
pub fn draw_instance_id() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::new(Kind::Bug, "cannot read /dev/urandom").because(error))?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Small segments, so that compaction, which leaves the newest segment alone, keeps the topic short to read. The brokers' time
/// on the records: they refuse ours where our clock is an hour ahead of theirs (`message.timestamp.after.max.ms`).
fn topic_settings(replication: i32) -> [(&'static str, &'static str); 5] {
    [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "LogAppendTime"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "3600000"),
        ("min.insync.replicas", if replication >= REPLICAS_MAX { "2" } else { "1" }),
    ]
}

fn check(topic: &Topic) -> Result<()> {
    let name = &topic.name;
    let refuse = |detail: String| Err(Error::new(Kind::KafkaSetting, detail));
    if topic.partitions != 1 {
        return refuse(format!("checkpoint topic {name} has {} partitions, it must have 1", topic.partitions));
    }
    match topic.settings.get("cleanup.policy").map(String::as_str) {
        None | Some("compact") => {}
        Some(policy) => {
            return refuse(format!(
                "checkpoint topic {name} has cleanup.policy={policy}, it must be compact: retention would delete the checkpoint"
            ));
        }
    }
    let insync: i32 = topic.settings.get("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    if insync > topic.replication {
        return refuse(format!(
            "checkpoint topic {name} has min.insync.replicas={insync} and {} replicas: no record can be acknowledged",
            topic.replication
        ));
    }
    if insync < 2 && topic.replication > 2 {
        warn!(topic = name, "min.insync.replicas=1: an acknowledged checkpoint can be lost with one broker");
    }
    if topic.settings.get("message.timestamp.type").is_some_and(|times| times == "CreateTime") {
        warn!(
            topic = name,
            "message.timestamp.type=CreateTime: no checkpoint can be written while the clock here is an hour ahead of the brokers'; LogAppendTime is better"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn topic(partitions: i32, replication: i32, settings: &[(&str, &str)]) -> Topic {
        let settings: BTreeMap<_, _> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Topic { name: "walwright.checkpoint.oms".to_owned(), partitions, replication, settings }
    }

    #[test]
    fn the_topic_has_one_compacted_partition() {
        check(&topic(1, 3, &topic_settings(3))).unwrap();
        check(&topic(1, 1, &topic_settings(1))).unwrap();
        check(&topic(1, 1, &[])).unwrap();
        for bad in [
            topic(2, 3, &topic_settings(3)),
            topic(1, 3, &[("cleanup.policy", "delete")]),
            topic(1, 3, &[("cleanup.policy", "compact,delete")]),
            topic(1, 1, &[("cleanup.policy", "compact"), ("min.insync.replicas", "2")]),
        ] {
            assert_eq!(check(&bad).unwrap_err().kind(), Kind::KafkaSetting, "{bad:?}");
        }
    }

    #[test]
    fn instance_ids_are_drawn_anew() {
        let (one, other) = (draw_instance_id().unwrap(), draw_instance_id().unwrap());
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
    }
}
