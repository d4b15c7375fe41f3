//! A `read_committed` consumer of some topics, from their beginning: what a subscriber sees, and nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::Kafka;
use super::{Context, Result, poll};

const REQUEST: Duration = Duration::from_secs(30);
/// How long a reader waits for the next record or the end of a partition.
const SILENCE: Duration = Duration::from_secs(60);

pub(crate) struct Subscriber {
    pub(super) consumer: BaseConsumer,
    pub(super) partitions: usize,
}

impl Subscriber {
    /// The topics must exist.
    pub(crate) fn new(kafka: &Kafka, topics: &[String]) -> Result<Self> {
        Self::at(&kafka.bootstrap(), topics)
    }

    /// The same, by `bootstrap.servers`.
    pub(crate) fn at(brokers: &str, topics: &[String]) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // librdkafka assigns partitions only to a client with a group; none is joined.
            .set("group.id", "subscriber")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20")
            .create()?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in partitions(&consumer, topic)? {
                list.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, partitions: list.count() })
    }

    /// The next record, if one comes in time.
    pub(crate) fn next(&self, within: Duration) -> Result<Option<BorrowedMessage<'_>>> {
        match self.consumer.poll(within) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(message) => Ok(Some(message?)),
        }
    }
}

/// Reads all that each topic has, once no transaction is open. Nobody may write meanwhile.
pub(crate) fn read_to_end(
    kafka: &Kafka,
    topics: &[String],
    each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    await_markers(kafka, topics)?;
    read_stable(kafka, topics, each)
}

/// Reads each topic from its beginning until every partition has been read to its end, which is where the first open
/// transaction begins.
pub(crate) fn read_stable(
    kafka: &Kafka,
    topics: &[String],
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    // One at a time, since the end of a partition is told by its number alone.
    topics.iter().try_for_each(|topic| read_topic(kafka, topic, &mut each))
}

fn read_topic(kafka: &Kafka, topic: &str, each: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let subscriber = Subscriber::new(kafka, &[topic.to_owned()])?;
    let mut ended = BTreeSet::new();
    let mut heard = Instant::now();
    while ended.len() < subscriber.partitions {
        match subscriber.consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => return Err(error).context(topic),
            None if heard.elapsed() > SILENCE => return Err(format!("topic {topic} cannot be read to its end").into()),
            None => continue,
        }
        heard = Instant::now();
    }
    Ok(())
}

/// Waits until no transaction in the topics is open: a commit is acknowledged before its markers are in the partitions, and
/// a reader takes the first one that is missing for the end.
fn await_markers(kafka: &Kafka, topics: &[String]) -> Result<()> {
    let client = |isolation: &str| -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        Ok(config.set("bootstrap.servers", kafka.bootstrap()).set("isolation.level", isolation).create()?)
    };
    let (stable, all) = (client("read_committed")?, client("read_uncommitted")?);
    for topic in topics {
        for partition in partitions(&all, topic)? {
            let end =
                |consumer: &BaseConsumer| consumer.fetch_watermarks(topic, partition, REQUEST).map(|(_, end)| end);
            let settled = poll(SILENCE, || Ok((end(&stable)? == end(&all)?).then_some(())))?;
            settled.ok_or_else(|| format!("a transaction in partition {partition} of {topic} stays open"))?;
        }
    }
    Ok(())
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST).context(topic)?;
    let topic = metadata.topics().iter().find(|found| found.name() == topic).ok_or("a topic is missing")?;
    match topic.error() {
        Some(error) => Err(format!("topic {}: {error:?}", topic.name()).into()),
        None => Ok(topic.partitions().iter().map(|partition| partition.id()).collect()),
    }
}

/// A header's value as text.
pub(crate) fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}
