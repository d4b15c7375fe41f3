//! The ends of many partitions, and what lies in them from given offsets on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use super::client::left;
use super::read::{Closing, READING, SLICE, passing, serve};
use super::{Context, KafkaClient};
use crate::error::{At, Error, Kind, Result};

/// Beside `READING`: retention may take the first records away meanwhile. What is fetched ahead is kept small.
const TAILS: &[(&str, &str)] = &[
    ("isolation.level", "read_committed"),
    ("auto.offset.reset", "earliest"),
    ("queued.max.messages.kbytes", "16384"),
];

/// From the offset of the first record that is there to that behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What lay before is deleted.
    pub low: i64,
    /// Records of open transactions count.
    pub high: i64,
}

/// A stretch of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset of interest.
    pub from: i64,
    /// The one at which the reader may stop.
    pub to: i64,
}

/// A record as it is found.
pub struct Found<'a>(&'a BorrowedMessage<'a>);

impl Found<'_> {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers()?.iter().find(|header| header.key == name)?.value
    }

    /// The time that its producer gave it; None where the topic has the broker's instead.
    pub fn time_ms(&self) -> Option<i64> {
        match self.0.timestamp() {
            Timestamp::CreateTime(ms) => Some(ms),
            Timestamp::LogAppendTime(_) | Timestamp::NotAvailable => None,
        }
    }
}

/// The bounds of all partitions of these topics, given with their partition counts.
pub fn bounds(
    client: &KafkaClient,
    topics: &BTreeMap<String, i32>,
    until: Instant,
) -> Result<BTreeMap<String, Vec<Bounds>>> {
    let consumer = client.consumer(&[("isolation.level", "read_uncommitted")])?;
    let (low, high) =
        (offsets(&consumer, topics, Offset::Beginning, until)?, offsets(&consumer, topics, Offset::End, until)?);
    let both = |(low, high): (&i64, &i64)| Bounds { low: *low, high: *high };
    let of = |(topic, low): (&String, &Vec<i64>)| (topic.clone(), low.iter().zip(&high[topic]).map(both).collect());
    Ok(low.iter().map(of).collect())
}

/// Hands every committed record of these stretches to `each`, in order within each partition. Waits for the transactions
/// before their ends; `patience` is for how long nothing may come. False: `stopped` came first.
pub fn read_tails(
    client: &KafkaClient,
    tails: &[Tail],
    patience: Duration,
    stopped: impl Fn() -> bool,
    mut each: impl FnMut(&Found<'_>),
) -> Result<bool> {
    let topics: BTreeSet<&str> = tails.iter().map(|tail| tail.topic.as_str()).collect();
    let closing = Closing::default();
    for topic in topics {
        // The end of a partition is reported without its topic, so each has a consumer of its own.
        let of_topic: Vec<&Tail> = tails.iter().filter(|tail| tail.topic == topic).collect();
        let consumer = client.consumer(&READING.iter().chain(TAILS).copied().collect::<Vec<_>>())?;
        await_stable(&consumer, &of_topic, Instant::now() + patience)?;
        let read = read_topic(&consumer, &of_topic, patience, &stopped, &mut each);
        closing.close(consumer);
        if !read.map_err(|error| error.at(At::topic(topic)))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_topic(
    consumer: &BaseConsumer<Context>,
    tails: &[&Tail],
    patience: Duration,
    stopped: impl Fn() -> bool,
    each: &mut impl FnMut(&Found<'_>),
) -> Result<bool> {
    let mut list = TopicPartitionList::new();
    let mut open = BTreeMap::new();
    for tail in tails {
        list.add_partition_offset(&tail.topic, tail.partition, Offset::Offset(tail.from))?;
        open.insert(tail.partition, tail.to);
    }
    consumer.assign(&list)?;
    let mut until = Instant::now() + patience;
    while !open.is_empty() {
        if stopped() {
            return Ok(false);
        }
        match consumer.poll(left(until).min(SLICE)) {
            Some(Ok(message)) => {
                each(&Found(&message));
                until = Instant::now() + patience;
                // Where others go on writing, the end may never be reported.
                if open.get(&message.partition()).is_some_and(|to| message.offset().saturating_add(1) >= *to) {
                    open.remove(&message.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => passing(consumer, error)?,
            None if left(until).is_zero() => {
                return Err(consumer.context().unreachable("read what lies behind the checkpoint", "no end in time"));
            }
            None => {}
        }
    }
    Ok(true)
}

/// Waits until everything before the tails' ends is decided.
fn await_stable(consumer: &BaseConsumer<Context>, tails: &[&Tail], until: Instant) -> Result<()> {
    let mut topics = BTreeMap::new();
    for tail in tails {
        let count = topics.entry(tail.topic.clone()).or_default();
        *count = tail.partition.saturating_add(1).max(*count);
    }
    loop {
        let stable = offsets(consumer, &topics, Offset::End, until)?;
        let stable_of = |tail: &Tail| {
            let partition = usize::try_from(tail.partition).unwrap_or(usize::MAX);
            stable[&tail.topic].get(partition).copied().unwrap_or_default()
        };
        let Some(open) = tails.iter().find(|tail| stable_of(tail) < tail.to) else { return Ok(()) };
        if left(until).is_zero() {
            let Tail { topic, partition, to, .. } = open;
            let detail = format!(
                "a transaction stays open in partition {partition} of topic {topic}: offset {to} is written, {} is the last stable offset",
                stable_of(open)
            );
            return Err(Error::new(Kind::KafkaUnreachable, detail).at(At::topic(topic)));
        }
        // Nothing is assigned yet: this only waits, and serves the client's events meanwhile.
        if let Some(Err(error)) = consumer.poll(Duration::from_millis(5)) {
            passing(consumer, error)?;
        }
    }
}

/// What the brokers say of `which` end of each partition; to a `read_committed` consumer the last stable offset.
fn offsets(
    consumer: &BaseConsumer<Context>,
    topics: &BTreeMap<String, i32>,
    which: Offset,
    until: Instant,
) -> Result<BTreeMap<String, Vec<i64>>> {
    let explain = |error| consumer.context().explain("ask for the ends of the topics", error);
    let mut asked = TopicPartitionList::new();
    for (topic, count) in topics {
        for partition in 0..*count {
            asked.add_partition_offset(topic, partition, which)?;
        }
    }
    loop {
        let timeout = left(until).min(Duration::from_secs(5)).max(SLICE);
        let answered = consumer.offsets_for_times(asked.clone(), timeout).map_err(explain);
        match answered.and_then(|answered| by_topic(&answered, explain)) {
            Err(error) if error.kind() == Kind::KafkaUnreachable && !left(until).is_zero() => serve(consumer),
            answered => return answered,
        }
    }
}

fn by_topic(
    answered: &TopicPartitionList,
    explain: impl Fn(KafkaError) -> Error,
) -> Result<BTreeMap<String, Vec<i64>>> {
    let mut offsets: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for element in answered.elements() {
        element.error().map_err(&explain)?;
        let offset = element.offset().to_raw().unwrap_or_default();
        let of_topic = offsets.entry(element.topic().to_owned()).or_default();
        let partition = usize::try_from(element.partition()).unwrap_or_default();
        of_topic.resize(of_topic.len().max(partition.saturating_add(1)), 0);
        of_topic[partition] = offset;
    }
    Ok(offsets)
}
