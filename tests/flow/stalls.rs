//! Large transactions that take long: a source that falls silent inside one, and one that outlasts its Kafka transaction.

use std::time::Duration;

use super::transactions::{LARGE, LARGE_ROWS, ids, keys};
use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::kafka::{Kafka, Options};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Bytes of the large transaction that pass before its connection falls silent: pieces of it have left by then.
const BEFORE: usize = 3 << 20;

/// The whole large transaction was published, once, and nothing else but the order before it.
fn published_once(scene: &Scene, daemon: Daemon) -> Result<()> {
    let seen = scene.read("orders", LARGE_ROWS + 1)?;
    assert_eq!((keys(&seen).len(), ids(&seen).len()), (LARGE_ROWS + 1, LARGE_ROWS + 1));
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), LARGE_ROWS + 1);
    Ok(())
}

#[test]
fn ten_seconds_of_silence_inside_a_large_transaction_abort_it_and_it_comes_again() -> Result<()> {
    let scene = Scene::new("silence")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = scene.open()?;
    scene.insert(0, 0)?;
    scene.read("orders", 1)?;
    proxy.stall(BEFORE, WITHIN, 1);
    scene.sql()?.batch(LARGE)?;
    let cause = scene.cause(&mut daemon, "postgres-unreachable", "retrying")?;
    assert_eq!(
        cause,
        "postgres-unreachable: the source was silent for 10 s inside the transaction committed at LSN (connector NAME)"
    );
    daemon.wait_ready(WITHIN)?;
    published_once(&scene, daemon)
}

#[test]
fn a_source_that_is_silent_at_the_same_place_each_time_gets_through() -> Result<()> {
    let scene = Scene::new("slowsource")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = scene.open()?;
    scene.insert(0, 0)?;
    scene.read("orders", 1)?;
    // As where the server skips through changes of tables that are not published, and will again.
    proxy.stall(BEFORE, Duration::from_secs(15), usize::MAX);
    scene.sql()?.batch(LARGE)?;
    scene.cause(&mut daemon, "postgres-unreachable", "retrying")?;
    published_once(&scene, daemon)
}

/// Faults: TXN-12.
#[test]
fn a_transaction_that_outlasts_its_kafka_transaction_twice_halts() -> Result<()> {
    let stack = Stack::shared()?;
    // The coordinator looks for transactions that are over their time as often.
    let options = Options::default().set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let kafka = Kafka::start(&stack.sandbox, &options)?;
    let scene = Scene::on("outlasting", &stack.postgres, &kafka, stack.registry.url())?;
    let proxy = scene.through_proxy()?;
    scene.process("[registry]", "[kafka.client]\n\"transaction.timeout.ms\" = 2000\n\n[registry]")?;
    let mut daemon = scene.open()?;
    scene.insert(0, 0)?;
    scene.read("orders", 1)?;
    proxy.stall(BEFORE, Duration::from_secs(5), usize::MAX);
    scene.sql()?.batch(LARGE)?;
    let cause = scene.cause(&mut daemon, "transaction-too-long", "halted")?;
    assert_eq!(
        cause.split(": kafka-transaction: ").next().unwrap_or_default(),
        "transaction-too-long: the transaction committed at LSN did not fit into transaction.timeout.ms = 2000 (connector NAME, position LSN change 0)"
    );
    let log = daemon.log()?;
    assert_eq!(log.matches("did not fit into").count(), 2, "it is tried again once: {log}");
    assert_eq!(scene.read_all("orders")?.len(), 1, "nothing of it is seen");
    scene.watched()?;
    drop(daemon);

    // As the remedy says.
    scene.process("\"transaction.timeout.ms\" = 2000", "\"transaction.timeout.ms\" = 60000")?;
    let daemon = scene.start()?;
    published_once(&scene, daemon)
}
