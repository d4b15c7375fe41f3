//! Reading one partition from its start to its end, with or without a fence behind the reader.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::client::left;
use super::{Context, KafkaClient};
use crate::error::{At, Error, Kind, Result};
use crate::faults::{Mutation, mutated};

/// Where the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The last stable offset: what is committed before the first open transaction. Never waits for one.
    Stable,
    /// The high watermark at the time of the call. Waits for the transactions before it to end, which after a fence
    /// they do at once.
    Fenced,
}

/// One record.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Waits in slices of this while polling, so that a deadline is met.
pub(super) const SLICE: Duration = Duration::from_millis(100);
/// Events that are handed over at most before an error is worded: with the client's `debug`, many are log lines.
const SERVED_MAX: usize = 4096;
/// librdkafka assigns partitions only to a client with a group; nothing is committed and no group is joined.
const GROUP: &str = "walwright-reader";
/// Of whoever reads partitions to their ends.
pub(super) const READING: &[(&str, &str)] = &[
    ("group.id", GROUP),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // The end of the partition is reported by the answer to a fetch that found nothing; it must not wait for data.
    ("fetch.wait.max.ms", "10"),
    ("fetch.error.backoff.ms", "50"),
];

/// Readers that are done. Each leaves the group that it never was in, for 100 ms, which nobody needs to wait for but who
/// drops this: a client must not outlive `main`.
#[derive(Default)]
pub struct Closing(Mutex<Vec<JoinHandle<()>>>);

impl Closing {
    pub(super) fn close(&self, consumer: BaseConsumer<Context>) {
        // Without a thread it is dropped here.
        if let Ok(thread) = Builder::new().name("close".to_owned()).spawn(move || drop(consumer)) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let threads = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What a panic there says has been said.
        threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Hands every committed record of the partition to `each`, in order, from the start to the end that `isolation` names.
///
/// Transactions that were aborted are left out. Errors: `TopicMissing`; `KafkaUnreachable` at the deadline or when a
/// transaction before the high watermark stays open until then; whatever `each` returns.
pub fn read_partition(
    client: &KafkaClient,
    topic: &str,
    partition: i32,
    isolation: Isolation,
    until: Instant,
    closing: &Closing,
    mut each: impl FnMut(Entry<'_>) -> Result<()>,
) -> Result<()> {
    let believed = if mutated(Mutation::ReadUncommittedState) { "read_uncommitted" } else { "read_committed" };
    let own = [("isolation.level", believed), ("auto.offset.reset", "error")];
    let consumer = client.consumer(&READING.iter().copied().chain(own).collect::<Vec<_>>())?;
    let mut run = || -> Result<()> {
        match isolation {
            Isolation::Fenced => await_stable(client, &consumer, topic, partition, until)?,
            // A client that does not know yet who leads the partition looks for its start half a second later.
            Isolation::Stable => _ = high(&consumer, topic, partition, until)?,
        }
        assign(&consumer, topic, partition)?;
        while let Some(message) = next(&consumer, topic, until)? {
            each(Entry { offset: message.offset(), key: message.key(), value: message.payload() })?;
        }
        Ok(())
    };
    let read = run().map_err(|error| error.at(At::topic(topic)));
    closing.close(consumer);
    read
}

/// Waits until everything below the present high watermark is stable. A reader that starts afterwards and reads to the
/// last stable offset has passed that watermark, whatever control records or compacted offsets stand at the end.
fn await_stable(
    client: &KafkaClient,
    committed: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    until: Instant,
) -> Result<()> {
    // A read_committed consumer is told the last stable offset as high watermark, hence the second client.
    let uncommitted = client.consumer(&[("isolation.level", "read_uncommitted")])?;
    let end = high(&uncommitted, topic, partition, until)?;
    loop {
        let stable = high(committed, topic, partition, until)?;
        if stable >= end {
            return Ok(());
        }
        if left(until).is_zero() {
            let detail = format!(
                "a transaction stays open in topic {topic}: offset {end} is written, {stable} is the last stable offset"
            );
            return Err(Error::new(Kind::KafkaUnreachable, detail));
        }
        // Nothing is assigned yet: this only waits, and serves the client's events meanwhile.
        if let Some(Err(error)) = committed.poll(Duration::from_millis(5)) {
            passing(committed, error)?;
        }
    }
}

fn high(consumer: &BaseConsumer<Context>, topic: &str, partition: i32, until: Instant) -> Result<i64> {
    loop {
        let timeout = left(until).min(Duration::from_secs(5)).max(SLICE);
        match consumer.fetch_watermarks(topic, partition, timeout) {
            Ok((_, high)) => return Ok(high),
            Err(error) => {
                serve(consumer);
                let error = consumer.context().explain(&format!("ask for the end of topic {topic}"), error);
                if left(until).is_zero() || error.kind() != Kind::KafkaUnreachable {
                    return Err(error);
                }
            }
        }
    }
}

fn assign(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)?;
    Ok(consumer.assign(&list)?)
}

/// The next record, or None at the end.
fn next<'a>(consumer: &'a BaseConsumer<Context>, topic: &str, until: Instant) -> Result<Option<BorrowedMessage<'a>>> {
    loop {
        match consumer.poll(left(until).min(SLICE)) {
            Some(Ok(message)) => return Ok(Some(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) => passing(consumer, error)?,
            None => {}
        }
        if left(until).is_zero() {
            return Err(consumer.context().unreachable(&format!("read topic {topic}"), "no end in time"));
        }
    }
}

/// Errors that librdkafka reports while it goes on trying are no errors here; the deadline decides. The group is only
/// a name, so a missing right on it does not matter.
pub(super) fn passing(consumer: &BaseConsumer<Context>, error: KafkaError) -> Result<()> {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
        return Ok(());
    }
    let error = consumer.context().explain("read", error);
    if error.kind() == Kind::KafkaUnreachable { Ok(()) } else { Err(error) }
}

/// Lets the client hand over the events that tell why nobody answers.
pub(super) fn serve(consumer: &BaseConsumer<Context>) {
    for _ in 0..SERVED_MAX {
        drop(consumer.poll(Duration::ZERO));
    }
}
