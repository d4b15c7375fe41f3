//! Three brokers, of which one goes, or is late.

use super::{ends_well, opened};
use crate::support::Result;
use crate::support::kafka::{Kafka, Options};
use crate::support::scene::{Scene, WITHIN, place};
use crate::support::stack::Stack;

fn scene(name: &str, kafka: &Kafka) -> Result<Scene> {
    let stack = Stack::shared()?;
    let scene = Scene::on(name, &stack.postgres, kafka, stack.registry.url())?;
    scene.connector("create = { partitions = 3, replication = 1 }", "create = { partitions = 6, replication = 3 }")?;
    Ok(scene)
}

/// With each goes the leader of some partitions, and once the coordinator of our transactions, and the controller.
/// Faults: KF-02, KF-03, KF-05.
#[test]
#[ignore = "test-full: three brokers"]
fn each_broker_is_killed_in_turn_while_orders_are_written() -> Result<()> {
    let mut kafka = Kafka::start(&Stack::shared()?.sandbox, &Options::brokers(3))?;
    let scene = scene("in_turn", &kafka)?;
    let mut daemon = opened(&scene)?;
    let sql = scene.sql()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| place(&sql, 2, 3000));
        let mut reader = scene.reader("orders")?;
        for round in 0..6 {
            reader.read(200, WITHIN)?;
            if round < 3 {
                kafka.kill_hard(round % 3)?;
            } else {
                kafka.stop(round % 3)?;
            }
            reader.read(100, WITHIN)?;
            kafka.restart(round % 3)?;
        }
        writer.join().map_err(|_| "the writer panicked")?
    })?;
    scene.read("orders", 3000)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 3001)
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
