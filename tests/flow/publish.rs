//! Producers, fence, topics and checkpoint store against a real broker.
//!
//! Needs `support::{kafka, sandbox, stack}`; a part of the one integration binary.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use walwright::checkpoint::record::{self, Checkpoint, Delivery, State, Takeover};
use walwright::checkpoint::store::{Store, draw_instance_id};
use walwright::error::Kind;
use walwright::kafka::{Admin, Closing, Isolation, KafkaClient, read_partition};
use walwright::model::{Batch, Header, Lsn, Record};
use walwright::publish::{Fenced, Names, Producer, Progress, fence, topics};

use crate::support::kafka::{self, Kafka};
use crate::support::sandbox::Sandbox;
use crate::support::stack::Stack;
use crate::support::{self, Fault};

type Outcome = Result<(), Fault>;

const TRANSACTION_TIMEOUT_MS: u32 = 60_000;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// A connector of its own on some cluster.
struct Place {
    client: KafkaClient,
    connector: String,
    topics: Vec<String>,
    headers: Vec<String>,
    store: Store,
}

impl Place {
    fn new(kafka: &Kafka, connector: &str, partitions: i32, config: &[(&str, &str)]) -> Result<Place, Fault> {
        let client = KafkaClient::new(&kafka.bootstrap());
        let topic = format!("{connector}.orders");
        kafka.create_topic(&topic, partitions, config)?;
        let store = Store::new(&client, "test.", connector);
        store.ensure_topic(&Admin::new(&client, Duration::from_secs(30))?)?;
        let headers = vec!["ce_id".to_owned(), "ce_type".to_owned()];
        Ok(Place { client, connector: connector.to_owned(), topics: vec![topic], headers, store })
    }

    fn names(&self) -> Names<'_> {
        Names { topics: &self.topics, headers: &self.headers }
    }

    fn topic(&self) -> &str {
        &self.topics[0]
    }

    fn fence(&self) -> Result<Fenced, walwright::error::Error> {
        fence(&self.client, "walwright", &self.connector, self.store.topic(), TRANSACTION_TIMEOUT_MS, soon())
    }

    /// The values that a read_committed reader sees, with everything before it ended.
    fn committed(&self) -> Result<Vec<String>, Fault> {
        let mut values = Vec::new();
        read_partition(&self.client, self.topic(), 0, Isolation::Fenced, soon(), &Closing::default(), |entry| {
            values.push(String::from_utf8_lossy(entry.value.unwrap_or(b"-")).into_owned());
            Ok(())
        })?;
        Ok(values)
    }

    fn send(&self, producer: &mut Producer, values: &[&str]) -> Outcome {
        let batch = batch(values.iter().map(|value| ("key", Some(*value))));
        assert_eq!(producer.send(&batch, 0, self.names(), soon())?, values.len());
        Ok(())
    }

    fn send_checkpoint(&self, producer: &mut Producer, next_lsn: u64) -> Outcome {
        let value = checkpoint(next_lsn).to_json()?;
        let sent = producer.send_raw(self.store.topic(), 0, record::CHECKPOINT.as_bytes(), Some(&value), soon())?;
        assert_eq!(sent, Progress::Done);
        Ok(())
    }
}

fn checkpoint(next_lsn: u64) -> Checkpoint {
    Checkpoint {
        version: Checkpoint::VERSION,
        epoch: 0,
        next_lsn: Lsn(next_lsn),
        timeline: 1,
        system_identifier: "7438201650283190321".to_owned(),
        delivery: Delivery::ExactlyOnce,
        partitions: BTreeMap::new(),
        mapping: "ab".to_owned(),
        partial: None,
        unseen: None,
        acknowledged: None,
    }
}

fn batch<'a>(records: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in records {
        let mut put = |text: &str| {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(text.as_bytes());
            start..batch.bytes.len()
        };
        let (key, id, kind, value) = (put(key), put("id-1"), put("oms.OrderPlaced"), value.map(put));
        let first = batch.headers.len();
        batch.headers.extend([Header { name: 0, value: id }, Header { name: 1, value: kind }]);
        let headers = first..first + 2;
        batch.records.push(Record { topic: 0, partition: 0, key, value, headers, timestamp_ms: 1_700_000_000_123 });
    }
    batch
}

/// Hard to compress.
fn noise(length: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state >> 33 & 15).unwrap())
    });
    letters.take(length).collect()
}

#[track_caller]
fn done(progress: walwright::error::Result<Progress>) {
    assert_eq!(progress.unwrap(), Progress::Done);
}

#[test]
fn a_commit_with_nothing_in_flight_takes_milliseconds() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "latency", 1, &[])?;
    let mut producer = place.fence()?.data;
    let (mut whole, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let start = Instant::now();
        producer.begin()?;
        place.send(&mut producer, &["a"; 10])?;
        place.send_checkpoint(&mut producer, 1)?;
        done(producer.wait_delivered(soon()));
        let delivered = Instant::now();
        done(producer.commit(soon()));
        commits.push(delivered.elapsed());
        whole.push(start.elapsed());
    }
    whole.sort();
    commits.sort();
    println!("begin, send, deliver, commit: p50 {:?}, p95 {:?}, p99 {:?}", whole[100], whole[190], whole[198]);
    println!("commit alone: p50 {:?}, p95 {:?}, p99 {:?}", commits[100], commits[190], commits[198]);
    // The client's own flush would make it 100 ms each.
    assert!(commits[100] < Duration::from_millis(10), "p50 {:?}", commits[100]);
    Ok(())
}

#[test]
fn records_arrive_with_key_headers_and_time_and_without_value() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "content", 1, &[])?;
    let mut producer = Producer::idempotent(&place.client, None)?;
    assert_eq!(producer.send(&batch([("k1", Some("v1")), ("k2", None)]), 0, place.names(), soon())?, 2);
    done(producer.wait_delivered(soon()));
    assert_eq!(producer.in_flight(), 0);

    let mut client = Stack::shared()?.kafka.client();
    let consumer: BaseConsumer = client.set("group.id", "x").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(place.topic(), 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    for (key, value) in [("k1", Some("v1")), ("k2", None)] {
        let message = consumer.poll(Duration::from_secs(30)).ok_or("no record")??;
        assert_eq!(message.key(), Some(key.as_bytes()));
        assert_eq!(message.payload(), value.map(str::as_bytes));
        assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_123));
        let headers = message.headers().ok_or("no headers")?;
        let pairs: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
        assert_eq!(pairs, [("ce_id", Some(&b"id-1"[..])), ("ce_type", Some(&b"oms.OrderPlaced"[..]))]);
    }
    Ok(())
}

#[test]
fn an_aborted_transaction_is_never_seen_and_the_producer_goes_on() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "abort", 1, &[])?;
    let mut producer = place.fence()?.data;
    producer.begin()?;
    place.send(&mut producer, &["a"])?;
    done(producer.commit(soon()));
    producer.begin()?;
    place.send(&mut producer, &["b"])?;
    done(producer.wait_delivered(soon()));
    place.send(&mut producer, &["c", "d"])?;
    done(producer.abort(soon()));
    producer.begin()?;
    place.send(&mut producer, &["e"])?;
    done(producer.commit(soon()));
    assert_eq!(place.committed()?, ["a", "e"]);
    Ok(())
}

#[test]
fn after_a_second_fence_the_first_can_commit_nothing() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "fence", 1, &[])?;
    let mut first = place.fence()?;
    first.data.begin()?;
    place.send(&mut first.data, &["lost"])?;
    place.send_checkpoint(&mut first.data, 5)?;
    done(first.data.wait_delivered(soon()));

    let start = Instant::now();
    let mut second = place.fence()?;
    println!("fence with an open transaction: {:?}", start.elapsed());
    let start = Instant::now();
    let third = place.fence()?;
    println!("fence with none: {:?}", start.elapsed());
    drop(third);

    let error = first.data.commit(soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaTransaction, "{error}");
    let takeover = Takeover::new(&draw_instance_id()?).to_json()?;
    for fenced in [&mut first, &mut second] {
        let record = [(record::TAKEOVER, Some(&takeover[..]))];
        let error = fenced.control.commit_records(place.store.topic(), &record, soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::KafkaTransaction, "{error}");
    }
    assert_eq!(place.store.read_fenced(soon())?, State::default());
    assert_eq!(place.committed()?, Vec::<String>::new());

    let mut last = place.fence()?;
    let (one, other) = (Takeover::new("one").to_json()?, Takeover::new("other").to_json()?);
    last.control.commit_records(place.store.topic(), &[(record::TAKEOVER, Some(&one))], soon())?;
    last.control.commit_records(place.store.topic(), &[(record::TAKEOVER, Some(&other))], soon())?;
    assert_eq!(place.store.read_fenced(soon())?.takeover, Some(Takeover::new("other")));
    last.control.commit_records(place.store.topic(), &[(record::TAKEOVER, None)], soon())?;
    assert_eq!(place.store.read_fenced(soon())?.takeover, None);
    Ok(())
}

#[test]
fn a_stable_read_never_waits_and_a_fenced_read_misses_nothing() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "reads", 1, &[])?;
    let next_lsn = |state: State| state.checkpoint.map(|checkpoint| checkpoint.next_lsn.0);
    let start = Instant::now();
    assert_eq!(place.store.read_stable(soon())?, State::default());
    println!("stable read of an empty topic: {:?}", start.elapsed());
    let mut producer = place.fence()?.data;
    for lsn in [1, 2] {
        producer.begin()?;
        place.send_checkpoint(&mut producer, lsn)?;
        done(producer.commit(soon()));
    }
    let start = Instant::now();
    assert_eq!(next_lsn(place.store.read_fenced(soon())?), Some(2));
    println!("fenced read: {:?}", start.elapsed());
    producer.begin()?;
    place.send_checkpoint(&mut producer, 3)?;
    done(producer.wait_delivered(soon()));
    assert_eq!(next_lsn(place.store.read_stable(soon())?), Some(2));
    let error = place.store.read_fenced(within(300)).unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaUnreachable);
    assert!(error.detail().contains("a transaction stays open"), "{error}");

    // The reader waits for the commit that it must not miss.
    let found = std::thread::scope(|threads| {
        let reader = threads.spawn(|| place.store.read_fenced(soon()));
        done(producer.commit(soon()));
        reader.join().unwrap()
    })?;
    assert_eq!(next_lsn(found), Some(3));

    // Left open by a process that died: the fence ends it.
    producer.begin()?;
    place.send_checkpoint(&mut producer, 4)?;
    done(producer.wait_delivered(soon()));
    let _fenced = place.fence()?;
    assert_eq!(next_lsn(place.store.read_fenced(within(5_000))?), Some(3));
    Ok(())
}

#[test]
fn what_the_store_cannot_understand_is_an_error_with_topic_and_offset() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "unreadable", 1, &[])?;
    let mut control = place.fence()?.control;
    let newer = br#"{"version":9}"#;
    control.commit_records(place.store.topic(), &[(record::CHECKPOINT, Some(newer))], soon())?;
    let error = place.store.read_fenced(soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::CheckpointUnreadable);
    assert_eq!(
        error.to_string(),
        "checkpoint-unreadable: offset 0 of partition 0 holds a record of format version 9 (this program reads up to 3) (topic test.walwright.checkpoint.unreadable)"
    );
    Ok(())
}

#[test]
fn a_record_over_the_limit_names_its_topic() -> Outcome {
    let place = Place::new(&Stack::shared()?.kafka, "large", 1, &[("max.message.bytes", "2000")])?;
    let mut producer = place.fence()?.data;
    // Hard to compress, so that the broker sees it at its length.
    let noise = noise(20_000);
    producer.begin()?;
    place.send(&mut producer, &[&noise])?;
    let error = producer.commit(soon()).unwrap_err();
    assert_eq!((error.kind(), error.place().topic.as_deref()), (Kind::RecordTooLarge, Some(place.topic())), "{error}");
    done(producer.abort(soon()));

    producer.begin()?;
    let error = producer.send(&batch([("k", Some(&*noise.repeat(100)))]), 0, place.names(), soon()).unwrap_err();
    assert_eq!((error.kind(), error.place().topic.as_deref()), (Kind::RecordTooLarge, Some(place.topic())), "{error}");
    done(producer.abort(soon()));
    assert_eq!(place.committed()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_full_queue_waits_and_loses_nothing() -> Outcome {
    let mut place = Place::new(&Stack::shared()?.kafka, "queue", 1, &[])?;
    place.client.options.push(("queue.buffering.max.messages".to_owned(), "100".to_owned()));
    let mut producer = place.fence()?.data;
    let values: Vec<String> = (0..5_000).map(|i| i.to_string()).collect();
    let all = batch(values.iter().map(|value| ("k", Some(value.as_str()))));
    producer.begin()?;
    assert_eq!(producer.send(&all, 0, place.names(), soon())?, values.len());
    done(producer.commit(soon()));
    assert_eq!(place.committed()?, values);
    Ok(())
}

#[test]
fn topics_are_checked_and_created_where_asked() -> Outcome {
    let kafka = &Stack::shared()?.kafka;
    let client = KafkaClient::new(&kafka.bootstrap());
    let admin = Admin::new(&client, Duration::from_secs(30))?;
    let mut wanted = topics::Wanted {
        name: "topics.orders".to_owned(),
        create: None,
        config: BTreeMap::from([("retention.ms".to_owned(), "777000".to_owned())]),
        facts: true,
        recorded: None,
    };
    assert_eq!(topics::inspect(&admin, &wanted)?, None);
    let error = topics::ensure(&admin, std::slice::from_ref(&wanted)).unwrap_err();
    assert_eq!(error.kind(), Kind::TopicMissing);
    assert!(error.detail().contains(&format!("--bootstrap-server {}", kafka.bootstrap())), "{error}");

    wanted.create = Some((6, 1));
    let config = BTreeMap::from([("retention.ms".to_owned(), "888000".to_owned())]);
    let before = topics::Wanted { name: "topics.before".to_owned(), create: Some((2, 1)), config, ..wanted };
    // The second exists already when all three are asked for.
    topics::ensure(&admin, std::slice::from_ref(&wanted))?;
    let behind = topics::Wanted { name: "topics.behind".to_owned(), create: Some((3, 1)), ..wanted.clone() };
    for _ in 0..2 {
        let topics = topics::ensure(&admin, &[before.clone(), wanted.clone(), behind.clone()])?;
        let told: Vec<_> = topics.iter().map(|topic| (&*topic.name, topic.partitions, topic.replication)).collect();
        assert_eq!(told, [("topics.before", 2, 1), ("topics.orders", 6, 1), ("topics.behind", 3, 1)]);
        let retention: Vec<_> = topics.iter().map(|topic| &*topic.settings["retention.ms"]).collect();
        assert_eq!(retention, ["888000", "777000", "777000"]);
    }
    let beside = topics::Wanted { name: "topics.beside".to_owned(), create: Some((1, 1)), ..wanted.clone() };
    let too_many = topics::Wanted { name: "topics.other".to_owned(), create: Some((1, 3)), ..wanted };
    let error = topics::ensure(&admin, &[beside, too_many]).unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaUnreachable, "{error}");
    assert_eq!(error.place().topic.as_deref(), Some("topics.other"), "{error}");

    let limits = admin.limits()?;
    assert_eq!(limits.transaction_max_timeout_ms, Some(900_000));
    assert_eq!(topics::check_limits(limits, 900_001).unwrap_err().kind(), Kind::KafkaSetting);
    let error = fence(&client, "walwright", "topics", "topics.orders", 900_001, soon()).err().ok_or("fenced")?;
    assert_eq!(error.kind(), Kind::KafkaSetting, "{error}");
    Ok(())
}

#[test]
fn a_record_for_a_topic_that_vanished_is_topic_missing() -> Outcome {
    let mut place = Place::new(&Stack::shared()?.kafka, "vanished", 1, &[])?;
    place.client.options.push(("topic.metadata.propagation.max.ms".to_owned(), "500".to_owned()));
    place.topics = vec!["vanished.nowhere".to_owned()];
    let mut producer = place.fence()?.data;
    producer.begin()?;
    place.send(&mut producer, &["a"])?;
    let error = producer.commit(soon()).unwrap_err();
    assert_eq!((error.kind(), error.place().topic.as_deref()), (Kind::TopicMissing, Some(place.topic())), "{error}");
    Ok(())
}

#[test]
fn nobody_at_the_address_says_why() -> Outcome {
    let sandbox = Sandbox::new()?;
    let address = sandbox.port()?;
    let client = KafkaClient::new(&address.to_string());
    let start = Instant::now();
    let fenced = fence(&client, "walwright", "nobody", "nowhere", TRANSACTION_TIMEOUT_MS, within(1_500));
    let error = fenced.err().ok_or("fenced")?;
    assert_eq!(error.kind(), Kind::KafkaUnreachable, "{error}");
    assert!(error.detail().contains("Connection refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let admin = Admin::new(&client, Duration::from_secs(1))?;
    let error = admin.topic("x").unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaUnreachable, "{error}");
    assert!(error.detail().contains("Connection refused"), "{error}");
    let error = Store::new(&client, "", "nobody").read_stable(within(1_000)).unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaUnreachable, "{error}");
    assert!(error.detail().contains("Connection refused"), "{error}");
    Ok(())
}

/// Goes on after an outage as the connector does: what is committed is learned from the checkpoint topic alone.
fn recovered(place: &Place, records: &[&str], next_lsn: u64) -> Result<Fenced, Fault> {
    let fenced = place.fence()?;
    let state = place.store.read_fenced(soon())?;
    let committed = state.checkpoint.is_some_and(|checkpoint| checkpoint.next_lsn.0 == next_lsn);
    let values = place.committed()?;
    let seen = values.iter().filter(|value| records.contains(&value.as_str())).count();
    assert_eq!(seen, if committed { records.len() } else { 0 }, "records and checkpoint are one transaction");
    println!("transaction {next_lsn}: {}", if committed { "committed" } else { "aborted" });
    Ok(fenced)
}

#[test]
fn an_outage_in_mid_transaction_is_recovered_from_the_checkpoint() -> Outcome {
    let sandbox = std::sync::Arc::new(Sandbox::new()?);
    let options = kafka::Options::brokers(1).set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let mut kafka = Kafka::start(&sandbox, &options)?;
    let place = Place::new(&kafka, "outage", 1, &[])?;
    let mut fenced = place.fence()?;

    // Killed with records acknowledged, others in flight, nothing committed.
    fenced.data.begin()?;
    place.send(&mut fenced.data, &["a1", "a2"])?;
    done(fenced.data.wait_delivered(soon()));
    kafka.kill_hard(0)?;
    place.send(&mut fenced.data, &["a3"])?;
    place.send_checkpoint(&mut fenced.data, 10)?;
    let start = Instant::now();
    assert_eq!(fenced.data.wait_delivered(within(300))?, Progress::Pending);
    assert_eq!(fenced.data.commit(within(300))?, Progress::Pending);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(fenced.data.pending_error("commit").detail().contains("Connection refused"));
    kafka.restart(0)?;
    // Whether it still goes through is the broker's affair.
    println!("commit after the restart: {:?}", fenced.data.commit(soon()));
    let mut fenced = recovered(&place, &["a1", "a2", "a3"], 10)?;

    // Killed between delivery and the answer to the commit.
    fenced.data.begin()?;
    place.send(&mut fenced.data, &["b1"])?;
    place.send_checkpoint(&mut fenced.data, 20)?;
    done(fenced.data.wait_delivered(soon()));
    kafka.kill_hard(0)?;
    assert_eq!(fenced.data.commit(within(300))?, Progress::Pending);
    drop(fenced);
    kafka.restart(0)?;
    let mut fenced = recovered(&place, &["b1"], 20)?;

    // Longer than transaction.timeout.ms: the coordinator aborted it, which looks like fencing.
    let mut slow = Producer::transactional(&place.client, "walwright.outage.0", 1_000)?;
    done(slow.init(soon()));
    slow.begin()?;
    place.send(&mut slow, &["c1"])?;
    place.send_checkpoint(&mut slow, 30)?;
    done(slow.wait_delivered(soon()));
    let ended = || Ok(place.store.read_fenced(within(100)).ok());
    support::poll(Duration::from_secs(30), ended)?.ok_or("the coordinator never aborted")?;
    let error = slow.commit(soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::KafkaTransaction, "{error}");
    drop(slow);
    drop(std::mem::replace(&mut fenced, recovered(&place, &["c1"], 30)?));

    fenced.data.begin()?;
    place.send(&mut fenced.data, &["d1"])?;
    place.send_checkpoint(&mut fenced.data, 40)?;
    done(fenced.data.commit(soon()));
    recovered(&place, &["d1"], 40)?;
    assert!(place.committed()?.contains(&"d1".to_owned()));
    Ok(())
}
