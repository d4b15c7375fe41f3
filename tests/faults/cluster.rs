//! Three brokers, of which one goes, or is late.

use std::sync::atomic::{AtomicI64, Ordering};

use super::{ends_well, opened, while_placing};
use crate::support::Result;
use crate::support::kafka::{Kafka, Options};
use crate::support::scene::{Scene, WITHIN};
use crate::support::seen::Reader;
use crate::support::stack::Stack;

fn scene(name: &str, kafka: &Kafka) -> Result<Scene> {
    let stack = Stack::shared()?;
    let scene = Scene::on(name, &stack.postgres, kafka, stack.registry.url())?;
    scene.connector("create = { partitions = 3, replication = 1 }", "create = { partitions = 6, replication = 3 }")?;
    Ok(scene)
}

/// Reads on until it finds an order that was not written yet when this began.
fn goes_on(reader: &mut Reader, last: &AtomicI64) -> Result<()> {
    let written = last.load(Ordering::Relaxed);
    while reader.read(1, WITHIN)?.iter().all(|seen| seen.field("id").as_i64() <= Some(written)) {}
    Ok(())
}

/// With each goes the leader of some partitions, and once the coordinator of our transactions, and the controller.
/// Faults: KF-02, KF-03, KF-05.
#[test]
#[ignore = "test-full: three brokers"]
fn each_broker_is_killed_in_turn_while_orders_are_written() -> Result<()> {
    let mut kafka = Kafka::start(&Stack::shared()?.sandbox, &Options::brokers(3))?;
    let scene = scene("in_turn", &kafka)?;
    let mut daemon = opened(&scene)?;
    let (sql, mut reader) = (scene.sql()?, scene.reader("orders")?);
    let last = while_placing(&sql, 1, |last| {
        for round in 0..6 {
            goes_on(&mut reader, last)?;
            if round < 3 {
                kafka.kill_hard(round % 3)?;
            } else {
                kafka.stop(round % 3)?;
            }
            goes_on(&mut reader, last)?;
            kafka.restart(round % 3)?;
        }
        Ok(())
    })?;
    scene.read("orders", usize::try_from(last)?)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, last + 1)
}

/// Records of other brokers' partitions are acknowledged long before: nothing is confirmed.
/// Faults: ACK-07.
#[test]
#[ignore = "test-full: three brokers"]
fn one_broker_is_late_and_the_slot_waits() -> Result<()> {
    let kafka = Kafka::start(&Stack::shared()?.sandbox, &Options::brokers(3).fronts(1))?;
    let scene = scene("late_broker", &kafka)?;
    let front = kafka.front()?;
    scene.process(&format!("brokers = \"{}\"", scene.brokers()), &format!("brokers = \"{}\"", front.bootstrap))?;
    let mut daemon = opened(&scene)?;
    for (broker, late) in (0_i64..).zip(&front.proxies) {
        late.hold();
        let first = 2 + broker * 50;
        scene.insert(first, first + 49)?;
        scene.sql()?.batch("SELECT pg_switch_wal()")?;
        super::pass(std::time::Duration::from_secs(4))?;
        late.release();
        scene.read("orders", usize::try_from(first + 49)?)?;
    }
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 152)
}
