//! A producer that counts what is acknowledged, so that a transaction is committed only with nothing in flight.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::delivery::{Acknowledged, CLIENT_LIMIT, Deliveries, NOWHERE, of_delivery};
use super::polling::Polling;
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::kafka::KafkaClient;
use crate::model::{Batch, Header, Record};

/// What stands unless the user sets it.
///
/// `linger.ms` 0: a group's records are handed over in one go, and what arrives while a request is under way forms the
/// next batch by itself, so waiting for more only adds to each commit's latency. The queue is bounded by kilobytes of keys
/// and values where records are large, and by their number where they are small: librdkafka keeps some 400 bytes with each.
const DEFAULTS: &[(&str, &str)] = &[
    ("linger.ms", "0"),
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "16384"),
    ("queue.buffering.max.kbytes", "16384"),
];

/// What is never the user's: exactly-once rests on it. Without a time limit a record is retried until the broker takes
/// it or the producer is fenced, so no record is given up while later ones go out.
const DECIDED: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("max.in.flight.requests.per.connection", "5"),
    ("message.timeout.ms", "0"),
];

/// The least time that a call to librdkafka gets.
const CALL_MIN: Duration = Duration::from_millis(1);

/// Whether a call that waits has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is pending must be called again"]
pub enum Progress {
    /// It is done.
    Done,
    /// Its time is up; calling it again goes on with it.
    Pending,
}

/// What the indexes in a batch stand for.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The topics' names by `Record::topic`.
    pub topics: &'a [String],
    /// The headers' names by `Header::name`.
    pub headers: &'a [String],
}

/// One Kafka producer, owned by one thread. The first record that fails ends it: abort, drop, fence anew.
pub struct Producer {
    /// Dropped before the client, which its thread has too.
    polling: Polling,
    inner: Arc<BaseProducer<Deliveries>>,
    transactional_id: Option<String>,
    /// Records handed to librdkafka since the producer exists.
    sent: u64,
}

impl Producer {
    /// A transactional producer; `init` comes before anything else.
    pub fn transactional(client: &KafkaClient, id: &str, transaction_timeout_ms: u32) -> Result<Producer> {
        let timeout = transaction_timeout_ms.to_string();
        let own = [("transactional.id", id), ("transaction.timeout.ms", &timeout)];
        Producer::create(client, &own, Some(id), Deliveries::new(None))
    }

    /// A producer without transactions, whose records are neither lost nor doubled while it lives. With `ends`, where each
    /// partition of each topic (by index) ends now, it notes how far its records are acknowledged.
    pub fn idempotent(client: &KafkaClient, ends: Option<Vec<(String, Vec<i64>)>>) -> Result<Producer> {
        Producer::create(client, &[], None, Deliveries::new(ends.map(Acknowledged::new)))
    }

    fn create(
        client: &KafkaClient,
        own: &[(&str, &str)],
        id: Option<&str>,
        deliveries: Deliveries,
    ) -> Result<Producer> {
        let decided: Vec<_> = DECIDED.iter().chain(own).copied().collect();
        let inner = Arc::new(client.config(DEFAULTS, &decided).create_with_context(deliveries)?);
        Ok(Producer { polling: Polling::start(&inner)?, inner, transactional_id: id.map(str::to_owned), sent: 0 })
    }

    /// Takes the transactional id over: fences the producer that had it and aborts or completes its transaction.
    pub fn init(&mut self, until: Instant) -> Result<Progress> {
        let result = self.inner.init_transactions(left(until));
        self.progress("take over", result)
    }

    /// Learns who leads the topics' partitions. A record for one whose leader is not known waits some 100 ms. The answer is
    /// that of a broker of the cluster: a client gives up the address that it began with once that has named the brokers, and
    /// is connected to none for a moment.
    pub(super) fn look_up(&self, topics: &[String], until: Instant) -> Result<()> {
        for topic in topics {
            while self.inner.client().fetch_metadata(Some(topic), left(until))?.orig_broker_id() < 0
                && Instant::now() < until
            {}
        }
        Ok(())
    }

    /// Opens a transaction.
    pub fn begin(&mut self) -> Result<()> {
        let result = self.inner.begin_transaction();
        match self.progress("begin a transaction", result)? {
            Progress::Done => Ok(()),
            Progress::Pending => Err(self.lost("begin a transaction", "no answer")),
        }
    }

    /// Hands the batch's records from index `first` on to the client, which copies them, and returns the index of the
    /// first that it did not take: the number of records, or less where the queue stayed full until then.
    pub fn send(&mut self, batch: &Batch, first: usize, names: Names<'_>, until: Instant) -> Result<usize> {
        if cfg!(feature = "null-sink") {
            return Ok(batch.records.len());
        }
        let sent = self.hand_over_from(first, batch, names, until)?;
        self.polling.wake();
        if sent == batch.records.len() {
            faults::pass(Failpoint::RecordsSent);
        }
        Ok(sent)
    }

    fn hand_over_from(&mut self, first: usize, batch: &Batch, names: Names<'_>, until: Instant) -> Result<usize> {
        for (index, record) in batch.records.iter().enumerate().skip(first) {
            let topic = named(names.topics, record.topic)?;
            let neighbour = neighbour(batch, index);
            let record = neighbour.as_ref().unwrap_or(record);
            if self.hand_over(base_record(batch, record, topic, names)?, until)? == Progress::Pending {
                return Ok(index);
            }
        }
        Ok(batch.records.len())
    }

    /// Hands over one record; `Pending` means that it was not taken.
    pub fn send_raw(
        &mut self,
        topic: &str,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
        until: Instant,
    ) -> Result<Progress> {
        let mut record = BaseRecord::with_opaque_to(topic, NOWHERE).partition(partition).key(key);
        record.payload = value;
        let progress = self.hand_over(record, until)?;
        self.polling.wake();
        Ok(progress)
    }

    /// Waits until the broker has acknowledged every record that was handed over. The first that failed is the error:
    /// `RecordTooLarge`, `RecordTime` and `TopicMissing` with the topic, else mostly `KafkaTransaction`.
    pub fn wait_delivered(&mut self, until: Instant) -> Result<Progress> {
        let all = self.deliveries().wait(self.sent, until);
        self.failure()?;
        // The last batch's memory is freed just after its callbacks; a commit that begins before would find the queue
        // not empty and wait for 100 ms.
        while all && self.inner.in_flight_count() > 0 {
            if Instant::now() >= until {
                return Ok(Progress::Pending);
            }
            std::thread::yield_now();
        }
        if !all {
            return Ok(Progress::Pending);
        }
        faults::pass(Failpoint::Delivered);
        Ok(Progress::Done)
    }

    /// Waits for the deliveries, then commits. After `Pending` only the same call may follow: the outcome is open.
    /// `KafkaTransaction`: it was refused, or its outcome cannot be learned from this producer.
    pub fn commit(&mut self, until: Instant) -> Result<Progress> {
        if self.wait_delivered(until)? == Progress::Pending {
            return Ok(Progress::Pending);
        }
        faults::pass(Failpoint::CommitSent);
        let result = self.inner.commit_transaction(left(until));
        if mutated(Mutation::RefusalAsSuccess) {
            return Ok(Progress::Done);
        }
        self.progress("commit", result)
    }

    /// Aborts the open transaction and what is in flight; afterwards the producer can begin again.
    pub fn abort(&mut self, until: Instant) -> Result<Progress> {
        let result = self.inner.abort_transaction(left(until));
        let progress = self.progress("abort", result)?;
        if progress == Progress::Done {
            self.deliveries().clear();
        }
        Ok(progress)
    }

    /// One small transaction on partition 0 of `topic`; a value of None is a tombstone. An error where it is not
    /// committed by `until`: the outcome may then be open, so the producer must be dropped.
    pub fn commit_records(&mut self, topic: &str, records: &[(&str, Option<&[u8]>)], until: Instant) -> Result<()> {
        self.begin()?;
        for (key, value) in records {
            if self.send_raw(topic, 0, key.as_bytes(), *value, until)? == Progress::Pending {
                return Err(self.lost("send", "the queue is full"));
            }
        }
        match self.commit(until)? {
            Progress::Done => Ok(()),
            Progress::Pending => Err(self.inner.context().context.unreachable("commit", "no answer in time")),
        }
    }

    /// Behind the last acknowledged record of each partition; None where that is not noted.
    pub fn acknowledged(&self) -> Option<BTreeMap<String, Vec<i64>>> {
        self.deliveries().acknowledged()
    }

    /// Records that were handed over and are not yet acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.deliveries().done())
    }

    /// What a call that is still pending waits for, in words: the last connection error.
    pub fn pending_error(&self, doing: &str) -> Error {
        self.deliveries().context.unreachable(doing, "no answer in time")
    }

    fn hand_over(&mut self, mut record: BaseRecord<'_, [u8], [u8], usize>, until: Instant) -> Result<Progress> {
        let mut was_empty = false;
        loop {
            let topic = record.topic;
            match self.inner.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(Progress::Done);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if was_empty => {
                    let detail = format!("a record for topic {topic} is larger than the client's whole queue");
                    return Err(Error::new(Kind::RecordTooLarge, detail));
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, back)) => {
                    self.failure()?;
                    let bytes = back.key.map_or(0, <[u8]>::len) + back.payload.map_or(0, <[u8]>::len);
                    return Err(of_delivery(error, topic, bytes, CLIENT_LIMIT));
                }
            }
            // It may have become empty since the record was refused: then the record has not been refused for its size.
            was_empty = self.in_flight() == 0 && self.inner.in_flight_count() == 0;
            if self.wait_for_room(until)? == Progress::Pending {
                return Ok(Progress::Pending);
            }
        }
    }

    /// Waits until half of what is in flight is acknowledged.
    fn wait_for_room(&self, until: Instant) -> Result<Progress> {
        self.polling.wake();
        let in_flight = self.in_flight();
        if in_flight == 0 {
            // Acknowledged, and about to be freed.
            std::thread::yield_now();
        }
        let roomy = self.deliveries().wait(self.sent - in_flight / 2, until);
        self.failure()?;
        Ok(if roomy && Instant::now() < until { Progress::Done } else { Progress::Pending })
    }

    fn failure(&self) -> Result<()> {
        if !self.deliveries().failed() || mutated(Mutation::DeliveryErrorIgnored) {
            return Ok(());
        }
        let Some(error) = self.deliveries().error() else { return Ok(()) };
        match self.denied() {
            // Not at the failed record's topic: it may be another that was denied.
            Some(denied) if error.kind() == Kind::KafkaTransaction => Err(denied),
            Some(_) | None => Err(error),
        }
    }

    /// What a person must mend for the open transaction to go on. Records of a transaction that has failed are only said to
    /// be purged; it itself says why to whoever asks to begin another, which an open one never allows.
    fn denied(&self) -> Option<Error> {
        self.transactional_id.as_ref()?;
        let refused = self.inner.begin_transaction().err().map(|error| self.refused("publish", error));
        refused.filter(|error| error.kind() != Kind::KafkaTransaction)
    }

    fn deliveries(&self) -> &Arc<Deliveries> {
        self.inner.context()
    }

    fn progress(&self, doing: &str, result: std::result::Result<(), KafkaError>) -> Result<Progress> {
        match result {
            Ok(()) => Ok(Progress::Done),
            Err(KafkaError::Flush(_)) => Ok(Progress::Pending),
            Err(KafkaError::Transaction(cause))
                if cause.is_retriable() && !cause.is_fatal() && !cause.txn_requires_abort() =>
            {
                Ok(Progress::Pending)
            }
            Err(error) => Err(self.refused(doing, error)),
        }
    }

    /// A refusal that a person must mend keeps its kind; all else is the recovery path's.
    fn refused(&self, doing: &str, error: KafkaError) -> Error {
        let mapped = Error::from(error);
        let kind = match mapped.kind() {
            Kind::KafkaAuthorization | Kind::KafkaSetting => mapped.kind(),
            _ => Kind::KafkaTransaction,
        };
        let id = self.transactional_id.as_deref().unwrap_or("none");
        Error::new(kind, format!("cannot {doing} with transactional id {id}: {}", mapped.detail()))
    }

    fn lost(&self, doing: &str, said: &str) -> Error {
        let id = self.transactional_id.as_deref().unwrap_or("none");
        Error::new(Kind::KafkaTransaction, format!("cannot {doing} with transactional id {id}: {said}"))
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(CALL_MIN)
}

/// The record with the headers of the one before it, where that mistake is to be made.
#[inline]
fn neighbour(batch: &Batch, index: usize) -> Option<Record> {
    if !mutated(Mutation::HeadersOfNeighbour) {
        return None;
    }
    let (record, before) = (batch.records.get(index)?, batch.records.get(index.checked_sub(1)?)?);
    Some(Record { headers: before.headers.clone(), ..record.clone() })
}

fn base_record<'a>(
    batch: &'a Batch,
    record: &Record,
    topic: &'a str,
    names: Names<'_>,
) -> Result<BaseRecord<'a, [u8], [u8], usize>> {
    let place = Acknowledged::place(record.topic, record.partition);
    let mut out = BaseRecord::with_opaque_to(topic, place).partition(record.partition).timestamp(record.timestamp_ms);
    out.key = Some(bytes(batch, &record.key)?);
    out.payload = record.value.as_ref().map(|value| bytes(batch, value)).transpose()?;
    let headers = batch.headers.get(record.headers.clone()).ok_or_else(bad_batch)?;
    if !headers.is_empty() {
        out.headers = Some(kafka_headers(batch, headers, names)?);
    }
    Ok(out)
}

fn kafka_headers(batch: &Batch, headers: &[Header], names: Names<'_>) -> Result<OwnedHeaders> {
    let mut out = OwnedHeaders::new_with_capacity(headers.len());
    for header in headers {
        let value = bytes(batch, &header.value)?;
        out = out.insert(KafkaHeader { key: named(names.headers, header.name)?, value: Some(value) });
    }
    Ok(out)
}

fn bytes<'a>(batch: &'a Batch, range: &Range<usize>) -> Result<&'a [u8]> {
    batch.bytes.get(range.clone()).ok_or_else(bad_batch)
}

fn named(names: &[String], index: usize) -> Result<&str> {
    names.get(index).map(String::as_str).ok_or_else(bad_batch)
}

fn bad_batch() -> Error {
    Error::new(Kind::Bug, "a batch points outside of itself")
}
