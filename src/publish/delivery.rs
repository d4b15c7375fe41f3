//! What the broker acknowledged: one counter that the delivery callback moves and that a sender can wait for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::error::{At, Error, Kind};
use crate::kafka::Context;

/// Nobody waits.
const NONE: u64 = u64::MAX;

/// The context of a producer. The callback runs on the producer's polling thread, once a record.
pub(super) struct Deliveries {
    pub(super) context: Context,
    /// Records that were acknowledged or failed, since the producer exists.
    done: AtomicU64,
    /// The value of `done` for which a sender waits.
    wanted: AtomicU64,
    failed: AtomicBool,
    first_error: Mutex<Option<Failure>>,
    arrived: Condvar,
    /// None: nobody asks.
    acknowledged: Option<Acknowledged>,
}

/// Behind the last acknowledged record of each partition of each topic.
pub(super) struct Acknowledged {
    topics: Vec<(String, Vec<AtomicI64>)>,
}

impl Acknowledged {
    /// `ends` by the topics' indexes: nothing of this producer lies before.
    pub(super) fn new(ends: Vec<(String, Vec<i64>)>) -> Acknowledged {
        let atomic = |ends: Vec<i64>| ends.into_iter().map(AtomicI64::new).collect();
        Acknowledged { topics: ends.into_iter().map(|(topic, ends)| (topic, atomic(ends))).collect() }
    }

    /// What a record to this topic (by index) and partition brings along to its acknowledgement.
    pub(super) fn place(topic: usize, partition: i32) -> usize {
        topic << 32 | usize::try_from(partition).unwrap_or_default()
    }

    fn note(&self, place: usize, offset: i64) {
        let of_topic = self.topics.get(place >> 32);
        if let Some(end) = of_topic.and_then(|(_, ends)| ends.get(place & 0xFFFF_FFFF)) {
            // A broker that had the record already may say that it was acknowledged, and not where.
            end.fetch_max(offset.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn all(&self) -> BTreeMap<String, Vec<i64>> {
        let ends = |ends: &[AtomicI64]| ends.iter().map(|end| end.load(Ordering::Relaxed)).collect();
        self.topics.iter().map(|(topic, of_topic)| (topic.clone(), ends(of_topic))).collect()
    }
}

/// What a record brings along that no acknowledgement is noted of.
pub(super) const NOWHERE: usize = usize::MAX;

struct Failure {
    error: KafkaError,
    topic: String,
    bytes: usize,
}

impl Deliveries {
    pub(super) fn new(acknowledged: Option<Acknowledged>) -> Deliveries {
        Deliveries {
            acknowledged,
            context: Context::default(),
            done: AtomicU64::new(0),
            wanted: AtomicU64::new(NONE),
            failed: AtomicBool::new(false),
            first_error: Mutex::new(None),
            arrived: Condvar::new(),
        }
    }

    /// Records that were acknowledged or failed.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Behind the last acknowledged record of each partition.
    pub(super) fn acknowledged(&self) -> Option<BTreeMap<String, Vec<i64>>> {
        self.acknowledged.as_ref().map(Acknowledged::all)
    }

    /// Waits until so many are done, one has failed, or `until`; true where all are done.
    pub(super) fn wait(&self, wanted: u64, until: Instant) -> bool {
        let mut guard = self.lock();
        loop {
            // The order of these two against the callback's two loses no wake-up: either it sees `wanted`, or this
            // sees `done`. While this holds the lock, its notification waits.
            self.wanted.store(wanted, Ordering::SeqCst);
            let timeout = until.saturating_duration_since(Instant::now());
            if self.done() >= wanted || self.failed() || timeout.is_zero() {
                self.wanted.store(NONE, Ordering::SeqCst);
                return self.done() >= wanted;
            }
            guard = self.arrived.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// The first record that failed.
    pub(super) fn error(&self) -> Option<Error> {
        let guard = self.lock();
        let failure = guard.as_ref()?;
        Some(of_delivery(failure.error.clone(), &failure.topic, failure.bytes, TOPIC_LIMIT))
    }

    /// Forgets failures: the transaction in which they happened was aborted.
    pub(super) fn clear(&self) {
        *self.lock() = None;
        self.failed.store(false, Ordering::SeqCst);
    }

    fn fail(&self, error: &KafkaError, topic: &str, bytes: usize) {
        let mut guard = self.lock();
        if guard.is_none() {
            *guard = Some(Failure { error: error.clone(), topic: topic.to_owned(), bytes });
        }
        self.failed.store(true, Ordering::SeqCst);
        self.arrived.notify_all();
    }

    fn notify(&self) {
        let _guard = self.lock();
        self.wanted.store(NONE, Ordering::SeqCst);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failure>> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a broker refuses a record for.
const TOPIC_LIMIT: &str = "the topic's max.message.bytes";
/// What librdkafka refuses a record for.
pub(super) const CLIENT_LIMIT: &str = "the client's message.max.bytes";

/// A record that was refused or could not be delivered ends its producer. `bytes`: of key and value; `limit`: what one
/// that is too large was measured by.
pub(super) fn of_delivery(error: KafkaError, topic: &str, bytes: usize, limit: &str) -> Error {
    let mapped = Error::from(error);
    if mapped.kind() == Kind::RecordTooLarge {
        let detail = format!("a record of {bytes} bytes for topic {topic} is over {limit}");
        return Error::new(Kind::RecordTooLarge, detail).at(At::topic(topic));
    }
    // Without a time limit of its own a record fails only when the producer is beyond help, so what passes elsewhere
    // is the recovery path's here.
    let kind = if mapped.kind() == Kind::KafkaUnreachable { Kind::KafkaTransaction } else { mapped.kind() };
    Error::new(kind, format!("a record for topic {topic} was not delivered: {}", mapped.detail())).at(At::topic(topic))
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        match (result, &self.acknowledged) {
            (Err((error, record)), _) => {
                let bytes = record.key().map_or(0, <[u8]>::len) + record.payload_len();
                self.fail(error, record.topic(), bytes);
            }
            // Before it counts as done, so that whoever has waited for it sees it.
            (Ok(record), Some(acknowledged)) => acknowledged.note(place, record.offset()),
            (Ok(_), None) => {}
        }
        let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        if done >= self.wanted.load(Ordering::SeqCst) {
            self.notify();
        }
    }
}
