//! Starts behind a crash of the fast lane: what it had left on Kafka behind its checkpoint is there once, and nothing is
//! lost where that cannot be told.

use std::collections::BTreeMap;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use walwright::checkpoint::record::Delivery;
use walwright::faults::Failpoint;

use crate::flow::transactions::{LARGE, LARGE_ROWS, ids, keys};
use crate::support::daemon::Daemon;
use crate::support::fault::{Deed, FAILPOINT, Fault};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

const REPEATED: &str = "walwright_events_repeated_total";

/// Its records are acknowledged, its checkpoint is not sent: the takeover record comes first.
const BEFORE_THE_CHECKPOINT: Fault = Fault { point: Failpoint::Delivered, count: 2, deed: Deed::Kill };

fn fast(name: &str) -> Result<Scene> {
    let scene = Scene::new(name)?;
    scene.process("[kafka]", "[kafka]\ndelivery = \"at_least_once\"")?;
    Ok(scene)
}

/// The orders 1 and 2 are published and behind the checkpoint; `sql` is on Kafka to the end or to where the daemon dies.
fn left_behind(scene: &Scene, fault: Fault, sql: &str) -> Result<()> {
    let daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    let mut daemon = scene.launch_with(&[(FAILPOINT, &fault.to_string())])?;
    daemon.wait_ready(WITHIN)?;
    scene.sql()?.batch(sql)?;
    daemon.wait(WITHIN)?;
    Ok(())
}

/// The orders 3 to 10 are on Kafka, and the checkpoint does not say so.
fn eight_left_behind(scene: &Scene) -> Result<()> {
    left_behind(scene, BEFORE_THE_CHECKPOINT, &orders(3, 10))?;
    assert_eq!(scene.read_all("orders")?.len(), 10, "all of them were sent");
    Ok(())
}

fn orders(from: i64, to: i64) -> String {
    format!("INSERT INTO orders SELECT i, 'PLACED' FROM generate_series({from}, {to}) i")
}

/// Goes on with one more order, the last of `count`.
fn goes_on(scene: &Scene, count: i64, records: usize) -> Result<Daemon> {
    let daemon = scene.start()?;
    scene.insert(count, count)?;
    scene.read("orders", records)?;
    Ok(daemon)
}

fn says(daemon: &Daemon, text: &str) -> Result<()> {
    let log = daemon.log()?;
    assert!(log.contains(text), "{text:?} is not said: {log}");
    Ok(())
}

/// Faults: ACK-01.
#[test]
fn what_a_killed_daemon_left_is_not_sent_again_and_counts_once() -> Result<()> {
    let scene = fast("left")?;
    eight_left_behind(&scene)?;
    let before = scene.state()?.checkpoint.and_then(|checkpoint| checkpoint.acknowledged).ok_or("no offsets")?;
    assert_eq!(before[&scene.topic("orders")].iter().sum::<i64>(), 2);
    let daemon = goes_on(&scene, 11, 11)?;
    scene.wait_metric(&daemon, "walwright_changes_published_total", &[], |count| count == 9.0)?;
    assert_eq!(scene.metric(&daemon, REPEATED, &[])?, 8.0);
    assert_eq!(scene.metric(&daemon, "walwright_events_published_total", &[])?, 9.0);
    scene.finish(daemon)?;
    scene.exactly(11)?;
    let after = scene.state()?.checkpoint.and_then(|checkpoint| checkpoint.acknowledged).ok_or("no offsets")?;
    assert_eq!(after[&scene.topic("orders")].iter().sum::<i64>(), 11);
    let daemon = goes_on(&scene, 12, 12)?;
    assert_eq!(scene.metric(&daemon, REPEATED, &[])?, 0.0);
    scene.finish(daemon)?;
    scene.exactly(12)
}

#[test]
fn a_crash_among_what_was_left_and_one_at_the_start_leave_it_found() -> Result<()> {
    let scene = fast("lefttwice")?;
    eight_left_behind(&scene)?;
    for fault in [Fault::kill(Failpoint::RepeatsRead, 1), BEFORE_THE_CHECKPOINT, BEFORE_THE_CHECKPOINT] {
        let mut daemon = scene.launch_with(&[(FAILPOINT, &fault.to_string())])?;
        if fault == BEFORE_THE_CHECKPOINT {
            daemon.wait_ready(WITHIN)?;
            let last: i64 = scene.sql()?.value("SELECT max(id) FROM orders")?;
            scene.sql()?.batch(&orders(last + 1, last + 5))?;
        }
        daemon.wait(WITHIN)?;
    }
    let daemon = goes_on(&scene, 21, 21)?;
    scene.finish(daemon)?;
    scene.exactly(21)
}

#[test]
fn a_part_of_a_large_transaction_is_not_sent_again() -> Result<()> {
    for (name, split) in [("leftlarge", false), ("leftsplit", true)] {
        let scene = fast(name)?;
        if split {
            scene.connector("[snapshot]", "large_transactions = \"split\"\n\n[snapshot]")?;
        }
        left_behind(&scene, Fault::kill(Failpoint::PieceSent, 3), &LARGE.replace("(1,", "(3,"))?;
        let left = scene.read_all("orders")?.len();
        let daemon = goes_on(&scene, 20_001, LARGE_ROWS + 1)?;
        scene.wait_metric(&daemon, REPEATED, &[], |count| count as usize >= left.saturating_sub(2))?;
        scene.finish(daemon)?;
        scene.exactly(20_001)?;
    }
    Ok(())
}

#[test]
fn exactly_once_does_not_send_again_what_the_fast_lane_left() -> Result<()> {
    let scene = fast("leftfast")?;
    eight_left_behind(&scene)?;
    scene.process("\"at_least_once\"", "\"exactly_once\"")?;
    let daemon = goes_on(&scene, 11, 11)?;
    scene.finish(daemon)?;
    scene.exactly(11)?;
    let checkpoint = scene.state()?.checkpoint.ok_or("there is no checkpoint")?;
    assert_eq!((checkpoint.delivery, checkpoint.acknowledged, checkpoint.version), (Delivery::ExactlyOnce, None, 1));
    Ok(())
}

/// What two servers have committed at the same LSN could not be told apart there, so after a failover nothing is left out.
#[test]
fn a_topic_that_has_the_broker_s_times_is_no_exception() -> Result<()> {
    let scene = fast("leftstamped")?;
    let create = "create = { partitions = 3, replication = 1 }";
    let stamped = format!("{create}\nconfig = {{ \"message.timestamp.type\" = \"LogAppendTime\" }}");
    scene.connector(create, &stamped)?;
    eight_left_behind(&scene)?;
    let daemon = goes_on(&scene, 11, 11)?;
    scene.finish(daemon)?;
    scene.exactly(11)
}

/// Between the two a mapping published other events, or the same with other values.
#[test]
fn where_the_mapping_has_changed_all_is_sent_again_and_said() -> Result<()> {
    let scene = fast("leftmapped")?;
    eight_left_behind(&scene)?;
    scene.connector("note = \"note\"", "note = \"status\"")?;
    let daemon = goes_on(&scene, 11, 19)?;
    says(&daemon, "the mapping has changed since the checkpoint: what lies on Kafka behind it is published again")?;
    assert_eq!(scene.metric(&daemon, REPEATED, &[])?, 0.0);
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    assert_eq!((seen.len(), ids(&seen).len()), (19, 11), "the same events have the same ids");
    assert_eq!(seen.iter().filter(|seen| seen.field("note") == "PLACED").count(), 9);
    Ok(())
}

#[test]
fn without_headers_all_is_sent_again_and_said() -> Result<()> {
    let scene = fast("leftbare")?;
    scene.process("[kafka]", "[kafka]\nheaders = \"none\"")?;
    // No offsets are written at the start.
    left_behind(&scene, BEFORE_THE_CHECKPOINT, &orders(3, 10))?;
    let daemon = goes_on(&scene, 11, 19)?;
    says(&daemon, "headers = \\\"none\\\": events cannot be told by their ids")?;
    scene.finish(daemon)?;
    assert_eq!(keys(&scene.read_all("orders")?), (1..=11).collect());
    assert_eq!(scene.state()?.checkpoint.and_then(|checkpoint| checkpoint.acknowledged), None);
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_gets_what_the_checkpoint_lacks() -> Result<()> {
    let scene = fast("leftgone")?;
    eight_left_behind(&scene)?;
    let (kafka, topic) = (&Stack::shared()?.kafka, scene.topic("orders"));
    kafka.delete_topic(&topic)?;
    let gone = poll(WITHIN, || Ok(kafka.create_topic(&topic, 3, &[]).ok()))?;
    gone.ok_or("the topic is not deleted")?;
    let daemon = goes_on(&scene, 11, 9)?;
    says(&daemon, "the topic ends before what was acknowledged")?;
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    assert_eq!((seen.len(), keys(&seen)), (9, (3..=11).collect()));
    Ok(())
}

/// By retention, or by somebody: some partitions wholly, one in the middle.
#[test]
fn an_emptied_topic_gets_what_it_lacks_and_each_key_s_newest_last() -> Result<()> {
    let scene = fast("leftempty")?;
    eight_left_behind(&scene)?;
    let (kafka, topic) = (&Stack::shared()?.kafka, scene.topic("orders"));
    let mut left: BTreeMap<i32, usize> = BTreeMap::new();
    for seen in scene.read_all("orders")? {
        *left.entry(seen.partition).or_default() += 1;
    }
    // The first two of a partition, then all of another; the third stays.
    let largest = *left.iter().max_by_key(|(_, count)| **count).ok_or("no partition")?.0;
    let other = *left.keys().find(|partition| **partition != largest).ok_or("one partition alone")?;
    kafka.delete_records(&topic, largest, 3)?;
    kafka.delete_records(&topic, other, i64::try_from(left[&other])?)?;
    let daemon = scene.start()?;
    scene.insert(11, 11)?;
    let repeats = "walwright_changes_published_total";
    scene.wait_metric(&daemon, repeats, &[], |count| count == 9.0)?;
    says(&daemon, "records behind the checkpoint are deleted")?;
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    assert!((3..=11).all(|id| keys(&seen).contains(&id)), "{:?}", keys(&seen));
    let stays = |seen: &&crate::support::seen::Seen| seen.partition != largest && seen.partition != other;
    let third: Vec<_> = seen.iter().filter(stays).map(|seen| seen.id().to_owned()).collect();
    assert_eq!(third.len(), ids(&seen).iter().filter(|id| third.contains(id)).count(), "the third has none twice");
    Ok(())
}

const STATE: &str = r#"
[[tombstone]]
table = "public.orders"
topic = "orders"
key = "old.id"
"#;

/// Of a compacted topic's records behind the checkpoint only each key's newest stays: what comes again may not end before it.
#[test]
fn a_compacted_topic_ends_with_each_key_s_newest_value() -> Result<()> {
    let scene = fast("leftcompact")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\"]")?;
    scene.connector(
        "create = { partitions = 3, replication = 1 }",
        "create = { partitions = 1, replication = 1 }\nconfig = { \"cleanup.policy\" = \"compact\", \"segment.ms\" = \"100\", \"min.cleanable.dirty.ratio\" = \"0.001\" }",
    )?;
    scene.connector_more(STATE)?;
    let updates: String =
        (1..=6).map(|step| format!("; UPDATE orders SET status = 'S{step}' WHERE id IN (1, 2, 3)")).collect();
    left_behind(&scene, BEFORE_THE_CHECKPOINT, &format!("BEGIN; {}{updates}; COMMIT", orders(3, 3)))?;
    // The next record rolls the segment, the one behind it is in the active one.
    let producer: BaseProducer = Stack::shared()?.kafka.client().create()?;
    let compacted = poll(WITHIN, || {
        producer
            .send(BaseRecord::<[u8], [u8]>::to(&scene.topic("orders")).key(b"other"))
            .map_err(|(error, _)| error)?;
        producer.flush(WITHIN)?;
        let seen = scene.read_all("orders")?;
        let left = seen.iter().filter(|seen| seen.key != "other").count();
        Ok((left == 3).then_some(()))
    })?;
    compacted.ok_or("the topic is not compacted")?;
    let daemon = scene.start()?;
    scene.insert(4, 4)?;
    scene.wait_metric(&daemon, "walwright_changes_published_total", &[], |count| count == 20.0)?;
    scene.finish(daemon)?;
    let mut newest = BTreeMap::new();
    for seen in scene.read_all("orders")?.into_iter().filter(|seen| seen.key != "other") {
        newest.insert(seen.key.clone(), seen.field("status"));
    }
    let newest: Vec<_> =
        newest.into_iter().map(|(key, status)| format!("{key} {}", status.as_str().unwrap_or(""))).collect();
    assert_eq!(newest, ["1 S6", "2 S6", "3 S6", "4 PLACED"]);
    Ok(())
}

/// Each has its own source id in the ids, and LSNs of the same server.
#[test]
fn connectors_that_share_a_topic_leave_out_their_own_alone() -> Result<()> {
    let scene = fast("leftshared")?;
    let own = std::fs::read_to_string(scene.folder.join(format!("connectors/{}.toml", scene.name)))?;
    let other = own
        .replace("id = \"/shop/test\"", "id = \"/shop/other\"")
        .replace(&format!("slot = \"{}\"", scene.slot()), &format!("slot = \"{}_other\"", scene.slot()));
    scene.write(&format!("connectors/{}_other.toml", scene.name), &other)?;
    let mut daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 4)?;
    assert!(daemon.terminate(WITHIN)?.success());
    // Behind the takeover records of both one of them dies with its records sent, the other somewhere.
    let fault = Fault::kill(Failpoint::Delivered, 3).to_string();
    let mut daemon = scene.launch_with(&[(FAILPOINT, &fault)])?;
    daemon.wait_ready(WITHIN)?;
    scene.sql()?.batch(&orders(3, 10))?;
    daemon.wait(WITHIN)?;
    let mut daemon = scene.start()?;
    scene.insert(11, 11)?;
    let seen = scene.read("orders", 22)?;
    assert_eq!((keys(&seen), ids(&seen).len()), ((1..=11).collect(), 22));
    assert!(daemon.terminate(WITHIN)?.success());
    assert_eq!(scene.read_all("orders")?.len(), 22);
    scene.watched()
}
