//! Two daemons for one connector: one publishes, no row is lost or doubled, and nobody is fenced to and fro.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use walwright::kafka::KafkaClient;
use walwright::publish::fence;

use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};

fn state(daemon: &Daemon, scene: &Scene) -> (String, String) {
    let report = daemon.report(&scene.name).unwrap_or_default();
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("kind"))
}

/// Waits until one of the two streams and the other has given way for good or waits for the slot.
fn settle(one: &Daemon, other: &Daemon, scene: &Scene) -> Result<bool> {
    let mut last = Default::default();
    let waits = |(state, kind): &(String, String)| {
        (state == "halted" && kind == "taken-over") || (state == "retrying" && kind == "slot-held")
    };
    let settled = crate::support::poll(WITHIN, || {
        last = (state(one, scene), state(other, scene));
        let streams = |(state, _): &(String, String)| state == "streaming";
        Ok(if streams(&last.0) && waits(&last.1) {
            Some(true)
        } else if streams(&last.1) && waits(&last.0) {
            Some(false)
        } else {
            None
        })
    })?;
    settled.ok_or_else(|| format!("two daemons do not settle: {last:?}").into())
}

/// Faults: PRC-10.
#[test]
fn two_that_start_at_once_settle_and_publish_once() -> Result<()> {
    let scene = Scene::new("twins")?;
    scene.push()?;
    let (mut one, mut other) = (scene.launch()?, scene.launch()?);
    let first = settle(&one, &other, &scene)?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    let (winner, loser) = if first { (&mut one, &mut other) } else { (&mut other, &mut one) };
    // What the other does when the winner dies depends on how far it had come; a person is needed only if it halted.
    let waits = state(loser, &scene).0 == "retrying";
    winner.kill_hard()?;
    if waits {
        loser.wait_ready(WITHIN)?;
    } else {
        loser.kill_hard()?;
        *loser = scene.start()?;
    }
    scene.insert(11, 20)?;
    scene.read("orders", 20)?;
    assert!(loser.terminate(WITHIN)?.success());
    scene.watched()?;
    scene.exactly(20)
}

/// Faults: PRC-10.
#[test]
fn two_that_start_at_once_on_an_old_connector_settle() -> Result<()> {
    let scene = Scene::new("oldtwins")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 10)?;
    daemon.kill_hard()?;
    let (one, other) = (scene.launch()?, scene.launch()?);
    settle(&one, &other, &scene)?;
    scene.insert(11, 20)?;
    scene.read("orders", 20)?;
    drop((one, other));
    scene.watched()?;
    scene.exactly(20)
}

/// Faults: PRC-03, KF-07.
#[test]
fn one_that_was_frozen_gives_way_to_its_successor() -> Result<()> {
    let scene = Scene::new("frozen")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} SET wal_sender_timeout = '2s'", scene.name))?;
    let mut frozen = scene.open()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    frozen.signal(Signal::STOP)?;
    scene.insert(11, 20)?;
    let mut successor = scene.launch()?;
    successor.wait_ready(WITHIN)?;
    scene.read("orders", 20)?;
    frozen.signal(Signal::CONT)?;
    let cause = scene.cause(&mut frozen, "taken-over", "halted")?;
    assert_eq!(cause, "taken-over: instance INSTANCE runs this connector now, this one is INSTANCE (connector NAME)");
    scene.insert(21, 30)?;
    scene.read("orders", 30)?;
    assert!(frozen.terminate(WITHIN)?.success(), "a halted connector stops in good order");
    scene.finish(successor)?;
    scene.exactly(30)
}

/// A fence without a takeover record: a coordinator that gave the producer up, or somebody with the same ids.
/// Faults: KF-07, KF-09.
#[test]
fn one_that_was_fenced_by_nobody_goes_on_by_itself() -> Result<()> {
    let scene = Scene::new("fenced")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    let (client, end) = (KafkaClient::new(scene.brokers()), Instant::now() + WITHIN);
    drop(fence(&client, "walwright", &scene.name, scene.store().topic(), 60_000, end).map_err(|error| error.chain())?);
    scene.insert(11, 11)?;
    daemon.wait_log("kafka-transaction: ", WITHIN)?;
    let log = daemon.log()?;
    let mut errors =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["error"].as_str().map(str::to_owned));
    let error = errors.find(|error| error.starts_with("kafka-transaction: ")).ok_or("no line has it as its error")?;
    assert_eq!(
        scene.masked(&error),
        "kafka-transaction: a record for topic NAME.walwright.checkpoint.NAME was not delivered: Message production error: \
         PurgeQueue (Local: Purged in queue) (connector NAME, topic NAME.walwright.checkpoint.NAME)"
    );
    daemon.wait_ready(WITHIN)?;
    scene.insert(12, 20)?;
    scene.read("orders", 20)?;
    scene.finish(daemon)?;
    scene.exactly(20)
}

/// Faults: PRC-03.
#[test]
fn a_frozen_one_without_a_successor_goes_on_by_itself() -> Result<()> {
    let scene = Scene::new("thawed")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} SET wal_sender_timeout = '2s'", scene.name))?;
    let mut daemon = scene.open()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    daemon.signal(Signal::STOP)?;
    scene.insert(11, 20)?;
    let free = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}' AND NOT active", scene.slot());
    let gone = crate::support::poll(WITHIN, || Ok((scene.sql()?.value::<i64>(&free)? == 1).then_some(())))?;
    gone.ok_or("the walsender does not time out")?;
    daemon.signal(Signal::CONT)?;
    scene.read("orders", 20)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(21, 30)?;
    scene.read("orders", 30)?;
    scene.finish(daemon)?;
    scene.exactly(30)
}
