//! Kafka: away, without the topic, and with limits.

use crate::support::Result;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Faults: KF-01.
#[test]
fn nobody_listens() -> Result<()> {
    let stack = Stack::shared()?;
    let scene = Scene::new("nobroker")?;
    scene.push()?;
    let elsewhere = stack.sandbox.port()?.to_string();
    scene.process(&stack.kafka.bootstrap(), &elsewhere)?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "kafka-unreachable", "retrying")?;
    assert_eq!(
        cause.replace(&elsewhere, "ADDRESS"),
        "kafka-unreachable: cannot ask for the cluster's metadata: Meta data fetch error: BrokerTransportFailure (Local: Broker transport failure); last connection error: ADDRESS/bootstrap: Connect to ipv4#ADDRESS failed: Connection refused (connector NAME)"
    );
    let sessions: i64 =
        scene.sql()?.value("SELECT count(*) FROM pg_stat_replication WHERE usename = current_database()")?;
    assert_eq!(sessions, 0, "without Kafka there is no replication connection");
    Ok(())
}

/// Faults: KF-11.
#[test]
fn a_topic_that_is_missing() -> Result<()> {
    let scene = Scene::new("notopic")?;
    scene.connector("create = { partitions = 3, replication = 1 }\n", "")?;
    scene.push()?;
    assert_eq!(
        scene.halts("topic-missing")?,
        "topic-missing: topic NAME.orders does not exist; create it: kafka-topics.sh --bootstrap-server BROKERS --create --topic NAME.orders --partitions 12 --replication-factor 3 (connector NAME, topic NAME.orders)"
    );
    let slots: i64 =
        scene.sql()?.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")?;
    assert_eq!(slots, 0, "no slot keeps WAL for a connector that cannot start");
    Ok(())
}

/// Faults: KF-20.
#[test]
fn a_checkpoint_topic_of_two_partitions() -> Result<()> {
    let scene = Scene::new("twoparts")?;
    let store = scene.store();
    Stack::shared()?.kafka.create_topic(store.topic(), 2, &[("cleanup.policy", "compact")])?;
    scene.push()?;
    assert_eq!(
        scene.halts("kafka-setting")?,
        "kafka-setting: checkpoint topic NAME.walwright.checkpoint.NAME has 2 partitions, it must have 1 (connector NAME, topic NAME.walwright.checkpoint.NAME)"
    );
    Ok(())
}

#[test]
fn more_replicas_than_brokers_are_waited_for() -> Result<()> {
    let scene = Scene::new("replicas")?;
    scene.connector("replication = 1", "replication = 2")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "kafka-unreachable", "retrying")?,
        "kafka-unreachable: cannot create topic NAME.orders with 3 partitions and replication 2: Admin operation error: InvalidReplicationFactor (Broker: Invalid replication factor) (connector NAME, topic NAME.orders)"
    );
    Ok(())
}

#[test]
fn a_topic_that_is_there_already() -> Result<()> {
    let scene = Scene::new("ownpart")?;
    Stack::shared()?.kafka.create_topic(&scene.topic("orders"), 2, &[])?;
    scene.connector("create = { partitions = 3, replication = 1 }\n", "")?;
    let daemon = scene.open()?;
    scene.insert(1, 20)?;
    assert_eq!(scene.read("orders", 20)?.len(), 20);
    scene.finish(daemon)
}

/// Faults: ACK-08, TXN-09, KF-13.
#[test]
fn a_message_over_the_topics_limit() -> Result<()> {
    let scene = Scene::new("toolarge")?;
    Stack::shared()?.kafka.create_topic(&scene.topic("orders"), 3, &[("max.message.bytes", "20000")])?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene
        .sql()?
        .batch("INSERT INTO orders SELECT 2, 'NEW', 1, string_agg(md5(i::text), '') FROM generate_series(1, 2000) i")?;
    let cause = scene.cause(&mut daemon, "record-too-large", "halted")?;
    assert_eq!(
        sizeless(&cause),
        "record-too-large: a record of N bytes for topic NAME.orders is over the topic's max.message.bytes (connector NAME, topic NAME.orders)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()
}

/// The size depends on the positions that the record spells.
fn sizeless(cause: &str) -> String {
    let digits = |word: &str| word.chars().all(|char| char.is_ascii_digit());
    cause.split(' ').map(|word| if digits(word) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Faults: KF-13.
#[test]
fn small_messages_pass_however_many_come_at_once() -> Result<()> {
    let scene = Scene::new("manysmall")?;
    Stack::shared()?.kafka.create_topic(&scene.topic("orders"), 1, &[("max.message.bytes", "20000")])?;
    let daemon = scene.open()?;
    scene.sql()?.batch(
        "INSERT INTO orders SELECT i, 'NEW', 1, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 20) j)
         FROM generate_series(1, 500) i",
    )?;
    scene.read("orders", 500)?;
    scene.finish(daemon)
}

/// Faults: TXN-09, KF-13.
#[test]
fn a_message_over_the_clients_limit() -> Result<()> {
    let scene = Scene::new("hugerow")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch("INSERT INTO orders VALUES (2, 'NEW', 1, repeat('x', 3000000))")?;
    let cause = scene.cause(&mut daemon, "record-too-large", "halted")?;
    assert_eq!(
        sizeless(&cause),
        "record-too-large: a record of N bytes for topic NAME.orders is over the client's message.max.bytes (connector NAME, topic NAME.orders)"
    );
    scene.watched()
}

/// Faults: KF-14.
#[test]
fn more_partitions_later_leave_keys_where_they_are() -> Result<()> {
    let scene = Scene::new("grown")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 20)?;
    let before = scene.read("orders", 20)?;
    daemon.kill_hard()?;
    grow(&scene)?;
    let daemon = scene.start()?;
    scene.sql()?.batch("DELETE FROM orders")?;
    scene.insert(1, 20)?;
    let all = scene.read("orders", 40)?;
    for seen in &before {
        let partitions: Vec<_> =
            all.iter().filter(|other| other.key == seen.key).map(|other| other.partition).collect();
        assert_eq!(partitions, [seen.partition, seen.partition], "key {}", seen.key);
    }
    scene.finish(daemon)
}

fn grow(scene: &Scene) -> Result<()> {
    use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
    use rdkafka::client::DefaultClientContext;
    let admin: AdminClient<DefaultClientContext> = Stack::shared()?.kafka.client().create()?;
    let (topic, options) = (scene.topic("orders"), AdminOptions::new().operation_timeout(Some(WITHIN)));
    let grown =
        crate::support::runtime()?.block_on(admin.create_partitions(&[NewPartitions::new(&topic, 7)], &options))?;
    grown.into_iter().try_for_each(|topic| topic.map(drop).map_err(|(topic, code)| format!("{topic}: {code}").into()))
}
