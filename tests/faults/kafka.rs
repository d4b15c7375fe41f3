//! Kafka: answers that are lost, transactions that are left open or run out, topics that go.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use walwright::faults::Failpoint;

use super::{ends_well, opened, pass, published, stands_still, with_fault};
use crate::flow::transactions::{LARGE, LARGE_ROWS};
use crate::support::fault::Fault;
use crate::support::kafka::{Kafka, Options};
use crate::support::proxy::Side;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};
use rustix::process::Signal;

/// The order 2 waits in Postgres, and a daemon stands just before it asks for the commit.
fn before_the_commit(scene: &Scene) -> Result<crate::support::daemon::Daemon> {
    opened(scene)?.kill_hard()?;
    scene.insert(2, 2)?;
    // Behind that of the takeover record.
    let daemon = with_fault(scene, Fault::stop(Failpoint::CommitSent, 2))?;
    stands_still(&daemon)?;
    Ok(daemon)
}

/// The commit is made, and whoever asked for it dies without knowing.
/// Faults: KF-06.
#[test]
fn the_answer_to_a_commit_is_lost_with_the_daemon() -> Result<()> {
    let scene = Scene::new("lostanswer")?;
    let front = scene.through_front()?;
    let mut daemon = before_the_commit(&scene)?;
    front.hold_from(Side::Server);
    daemon.signal(Signal::CONT)?;
    scene.read("orders", 2)?;
    daemon.kill_hard()?;
    front.release();
    ends_well(&scene, scene.start()?, 3)
}

/// The same where it lives, and is answered by nobody for long.
/// Faults: KF-06.
#[test]
fn the_answer_to_a_commit_comes_late() -> Result<()> {
    let scene = Scene::new("lateanswer")?;
    let front = scene.through_front()?;
    let mut daemon = before_the_commit(&scene)?;
    front.hold_from(Side::Server);
    daemon.signal(Signal::CONT)?;
    scene.read("orders", 2)?;
    scene.insert(3, 10)?;
    pass(Duration::from_secs(4))?;
    front.release();
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 11)
}

/// The coordinator dies just before it is asked.
/// Faults: KF-05, KF-04.
#[test]
fn the_broker_is_killed_before_a_commit_and_comes_back() -> Result<()> {
    let stack = Stack::shared()?;
    let mut kafka = Kafka::start(&stack.sandbox, &Options::default())?;
    let scene = Scene::on("commitkill", &stack.postgres, &kafka, stack.registry.url())?;
    let mut daemon = before_the_commit(&scene)?;
    kafka.kill_hard(0)?;
    daemon.signal(Signal::CONT)?;
    kafka.restart(0)?;
    scene.read("orders", 2)?;
    // And a storm of it.
    scene.insert(3, 50)?;
    kafka.kill_hard(0)?;
    kafka.restart(0)?;
    scene.insert(51, 60)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 61)
}

/// The coordinator aborts it meanwhile, which looks like being fenced.
/// Faults: KF-08, KF-07.
#[test]
fn a_transaction_runs_out_while_the_daemon_stands_still() -> Result<()> {
    let scene = Scene::new("ranout")?;
    scene.process("[registry]", "[kafka.client]\n\"transaction.timeout.ms\" = 1000\n\n[registry]")?;
    let mut daemon = before_the_commit(&scene)?;
    pass(Duration::from_secs(5))?;
    daemon.signal(Signal::CONT)?;
    scene.read("orders", 2)?;
    daemon.wait_ready(WITHIN)?;
    let log = daemon.log()?;
    assert!(log.contains("kafka-transaction: "), "it has not run out: {log}");
    ends_well(&scene, daemon, 3)
}

/// What a dead daemon has left open holds readers up until the next one begins.
/// Faults: KF-10.
#[test]
fn a_transaction_that_was_left_open_is_ended_by_the_next_start() -> Result<()> {
    let scene = Scene::new("leftopen")?;
    opened(&scene)?.kill_hard()?;
    scene.insert(2, 2)?;
    with_fault(&scene, Fault::kill(Failpoint::Delivered, 2))?.wait(WITHIN)?;
    assert_eq!(published(&scene)?, [1].into());
    ends_well(&scene, scene.start()?, 3)
}

/// How many records a reader that does not mind aborted ones finds.
fn found_uncommitted(scene: &Scene) -> Result<usize> {
    let mut client = Stack::shared()?.kafka.client();
    client.set("group.id", "anything").set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = client.set("enable.partition.eof", "true").create()?;
    let (topic, mut list) = (scene.topic("orders"), TopicPartitionList::new());
    (0..3).try_for_each(|partition| list.add_partition_offset(&topic, partition, Offset::Beginning))?;
    consumer.assign(&list)?;
    let (mut found, mut ended, end) = (0, 0, Instant::now() + WITHIN);
    while ended < 3 && Instant::now() < end {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(_)) => found += 1,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            _ => {}
        }
    }
    Ok(found)
}

/// A part of it is on Kafka already.
/// Faults: TXN-08, KF-21.
#[test]
fn killed_in_the_middle_of_a_large_transaction() -> Result<()> {
    let scene = Scene::new("halflarge")?;
    let mut daemon = scene.open()?;
    scene.insert(0, 0)?;
    scene.read("orders", 1)?;
    daemon.kill_hard()?;
    scene.sql()?.batch(LARGE)?;
    let mut daemon = with_fault(&scene, Fault::hold(Failpoint::PieceSent, 3))?;
    let part = poll(WITHIN, || Ok((found_uncommitted(&scene)? > 1).then_some(())))?;
    part.ok_or("no part of it gets to Kafka")?;
    daemon.kill_hard()?;
    assert_eq!(published(&scene)?, [0].into());
    let daemon = scene.start()?;
    scene.read("orders", LARGE_ROWS + 1)?;
    scene.finish(daemon)?;
    assert_eq!(published(&scene)?.len(), LARGE_ROWS + 1);
    let found = found_uncommitted(&scene)?;
    assert!(found > LARGE_ROWS + 1, "only who reads what is not committed sees the part: {found}");
    Ok(())
}

/// Faults: KF-11.
#[test]
fn a_topic_that_is_deleted_while_it_is_written_to() -> Result<()> {
    let scene = Scene::new("deleted")?;
    let kafka = &Stack::shared()?.kafka;
    scene.connector("create = { partitions = 3, replication = 1 }\n", "")?;
    kafka.create_topic(&scene.topic("orders"), 3, &[])?;
    let mut daemon = opened(&scene)?;
    kafka.delete_topic(&scene.topic("orders"))?;
    scene.insert(2, 2)?;
    let cause = scene.cause(&mut daemon, "topic-missing", "halted")?;
    assert!(cause.starts_with("topic-missing: topic NAME.orders does not exist; create it: "), "{cause}");
    daemon.kill_hard()?;
    scene.watched()?;
    kafka.create_topic(&scene.topic("orders"), 3, &[])?;
    let daemon = scene.start()?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
    assert_eq!(published(&scene)?, [2].into(), "what was not published is");
    Ok(())
}

/// A clock of the source that is an hour ahead is refused by the same rule, seen from its other side: here the commit is too long
/// ago, and the markers of aborted transactions are not.
/// Faults: PRC-13.
#[test]
fn a_record_whose_time_the_topic_does_not_take() -> Result<()> {
    let (scene, kafka) = (Scene::new("recordtime")?, &Stack::shared()?.kafka);
    kafka.create_topic(&scene.topic("orders"), 3, &[])?;
    opened(&scene)?.kill_hard()?;
    kafka.set_topic(&scene.topic("orders"), "message.timestamp.before.max.ms", "5000")?;
    scene.insert(2, 2)?;
    pass(Duration::from_secs(6))?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "record-time", "retrying")?;
    assert_eq!(
        cause,
        "record-time: a record for topic NAME.orders was not delivered: Message production error: InvalidTimestamp (Broker: Invalid timestamp) (connector NAME, topic NAME.orders)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    kafka.set_topic(&scene.topic("orders"), "message.timestamp.type", "LogAppendTime")?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    scene.exactly(2)
}

/// Faults: KF-20.
#[test]
fn a_checkpoint_topic_that_forgets_by_age_is_refused() -> Result<()> {
    let scene = Scene::new("forgets")?;
    let store = scene.store();
    Stack::shared()?.kafka.create_topic(store.topic(), 1, &[("cleanup.policy", "delete")])?;
    scene.push()?;
    assert_eq!(
        scene.halts("kafka-setting")?,
        "kafka-setting: checkpoint topic NAME.walwright.checkpoint.NAME has cleanup.policy=delete, it must be compact: \
         retention would delete the checkpoint (connector NAME, topic NAME.walwright.checkpoint.NAME)"
    );
    Ok(())
}
