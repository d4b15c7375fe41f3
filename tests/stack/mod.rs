//! The servers of the stack start, die, come back with their data, and end with the process that started them.

mod orphans;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use rustix::process::Signal;

use crate::support::cache::verify;
use crate::support::kafka::{self, Kafka};
use crate::support::postgres::{self, Postgres, SUPERUSER, Stop, Version};
use crate::support::registry::get;
use crate::support::sandbox::Sandbox;
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::{Result, poll};

const WITHIN: Duration = Duration::from_secs(60);

fn sandbox() -> Result<Arc<Sandbox>> {
    Ok(Arc::new(Sandbox::new()?))
}

#[test]
fn all_services_come_up_and_answer() -> Result<()> {
    let begun = Instant::now();
    let stack = Stack::shared()?;
    println!("the stack was there after {:.1} s", begun.elapsed().as_secs_f64());
    let scenario = stack.scenario("answer")?;

    let level: String = scenario.sql()?.value("SHOW wal_level")?;
    assert_eq!(level, "logical");

    let topic = format!("{}orders", scenario.topic_prefix());
    stack.kafka.create_topic(&topic, 3, &[("cleanup.policy", "compact")])?;
    produce(&stack.kafka, &topic, "one")?;
    assert_eq!(consume(&stack.kafka, &topic, 1)?, ["one"]);

    let subjects = get(&format!("{}/subjects", stack.registry.url()))?;
    assert!(subjects.starts_with('['), "{subjects}");
    Ok(())
}

#[test]
fn scenarios_do_not_see_each_other_and_leave_no_slot() -> Result<()> {
    let stack = Stack::shared()?;
    let (one, other) = (stack.scenario("same")?, stack.scenario("same")?);
    assert_ne!(one.database(), other.database());
    let slot = one.slot();
    one.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot])?;
    drop(one);
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'walwright_same_%'";
    assert_eq!(other.sql()?.value::<i64>(left)?, 0);
    Ok(())
}

#[test]
fn tcp_wants_the_password() -> Result<()> {
    let postgres = &Stack::shared()?.postgres;
    let right = postgres.connection(SUPERUSER);
    drop(Sql::connect(&right)?);
    let wrong = right.replace("password=postgres", "password=wrong");
    let refused = Sql::connect(&wrong).err().ok_or("a wrong password was accepted")?;
    let cause = refused.to_string();
    assert!(cause.contains("password authentication failed"), "{cause}");
    Ok(())
}

#[test]
fn postgres_comes_back_with_its_data() -> Result<()> {
    let mut postgres = Postgres::start(&sandbox()?, postgres::Options::default())?;
    let address = postgres.address();
    postgres.sql(SUPERUSER)?.batch("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")?;
    postgres.kill_hard()?;
    postgres.restart()?;
    postgres.sql(SUPERUSER)?.batch("INSERT INTO kept VALUES (2)")?;
    postgres.stop(Stop::Immediate)?;
    postgres.set("wal_sender_timeout", "2s");
    postgres.restart()?;
    let sql = postgres.sql(SUPERUSER)?;
    assert_eq!(sql.value::<i64>("SELECT count(*) FROM kept")?, 2);
    assert_eq!(sql.value::<String>("SHOW wal_sender_timeout")?, "2s");
    assert_eq!(postgres.address(), address);
    Ok(())
}

#[test]
fn a_copied_postgres_follows_and_is_promoted() -> Result<()> {
    let mut primary = Postgres::start(&sandbox()?, postgres::Options::default())?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    primary.restart()?;
    standby.follow(&primary)?;
    standby.restart()?;
    primary.sql(SUPERUSER)?.batch("CREATE TABLE followed AS SELECT 7 AS id")?;
    let sql = standby.sql(SUPERUSER)?;
    let there = || Ok(sql.value::<bool>("SELECT to_regclass('followed') IS NOT NULL")?.then_some(()));
    poll(WITHIN, there)?.ok_or("the standby did not follow")?;
    assert!(sql.value::<bool>("SELECT pg_promote()")?);
    sql.batch("INSERT INTO followed VALUES (8)")
}

#[test]
fn a_killed_broker_comes_back_with_its_data() -> Result<()> {
    let mut kafka = Kafka::start(&sandbox()?, &kafka::Options::default())?;
    let bootstrap = kafka.bootstrap();
    kafka.create_topic("kept", 1, &[])?;
    produce(&kafka, "kept", "one")?;
    kafka.kill_hard(0)?;
    let begun = Instant::now();
    kafka.restart(0)?;
    produce(&kafka, "kept", "two")?;
    println!("killed broker restarted and written to after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(consume(&kafka, "kept", 2)?, ["one", "two"]);
    assert_eq!(kafka.bootstrap(), bootstrap);
    Ok(())
}

#[test]
fn three_brokers_outlive_one() -> Result<()> {
    let begun = Instant::now();
    let mut kafka = Kafka::start(&sandbox()?, &kafka::Options::brokers(3))?;
    println!("three brokers after {:.1} s", begun.elapsed().as_secs_f64());
    kafka.create_topic("kept", 1, &[])?;
    produce(&kafka, "kept", "one")?;
    kafka.kill_hard(1)?;
    produce(&kafka, "kept", "two")?;
    kafka.signal(2, Signal::STOP)?;
    kafka.signal(2, Signal::CONT)?;
    kafka.restart(1)?;
    assert_eq!(consume(&kafka, "kept", 2)?, ["one", "two"]);
    Ok(())
}

#[test]
#[ignore = "test-full: fetches and boots four versions of Postgres"]
fn every_supported_postgres_boots() -> Result<()> {
    let sandbox = sandbox()?;
    for major in [14, 16, 17, 18] {
        let begun = Instant::now();
        let postgres = Postgres::start(&sandbox, postgres::Options::version(Version::Major(major)))?;
        println!("Postgres {major} after {:.1} s", begun.elapsed().as_secs_f64());
        let sql = postgres.sql(SUPERUSER)?;
        let version: i32 = sql.value("SELECT current_setting('server_version_num')::int / 10000")?;
        assert_eq!(u32::try_from(version)?, major);
        for plugin in ["pgoutput", "test_decoding"] {
            sql.query("SELECT pg_create_logical_replication_slot($1, $1)", &[&plugin])?;
        }
    }
    Ok(())
}

#[test]
fn a_package_that_is_not_the_locked_one_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.jar"), "abc")?;
    // FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let refusal = |lock: &[(&str, &str)]| match verify(folder.path(), &lock.iter().copied().collect()) {
        Ok(()) => String::new(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(refusal(&[("a.jar", abc)]), "");
    assert!(refusal(&[("a.jar", "00")]).contains("packages.lock says 00"));
    assert!(refusal(&[("b.jar", abc)]).contains("a.jar is not in packages.lock"));
    assert!(refusal(&[("a.jar", abc), ("b.jar", abc)]).contains("did not bring b.jar"));
    Ok(())
}

/// Keeps what became of the records.
#[derive(Default)]
struct Outcomes(Mutex<Vec<KafkaResult<()>>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }
}

/// Sends one record and waits for its acknowledgement by all replicas.
fn produce(kafka: &Kafka, topic: &str, value: &str) -> Result<()> {
    let mut config = kafka.client();
    config.set("acks", "all").set("message.timeout.ms", "60000");
    let producer: BaseProducer<Outcomes> = config.create_with_context(Outcomes::default())?;
    producer.send(BaseRecord::to(topic).key("key").payload(value)).map_err(|(error, _)| error)?;
    producer.flush(WITHIN)?;
    let mut outcomes = producer.context().0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(outcomes.pop().ok_or("the record was not reported on")??)
}

/// The first `count` values of a topic, in the order of arrival.
fn consume(kafka: &Kafka, topic: &str, count: usize) -> Result<Vec<String>> {
    let mut config = kafka.client();
    config.set("group.id", "none").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), WITHIN)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut values = Vec::new();
    while values.len() < count {
        let message = consumer.poll(WITHIN).ok_or("no record within a minute")??;
        values.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
    }
    Ok(values)
}
