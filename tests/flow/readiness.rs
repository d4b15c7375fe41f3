//! `/readyz` within half a minute of each stall: it turns red, says why, and is green again once the cause is gone.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::kafka::{self, Kafka};
use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::proxy::{Proxy, Side};
use crate::support::scene::{Scene, WITHIN};
use crate::support::sql::Sql;
use crate::support::stack::Stack;

/// What operators are promised.
const RED_WITHIN: Duration = Duration::from_secs(30);

/// The cause, once `/readyz` is red and names one.
fn turns_red(scene: &Scene, daemon: &mut Daemon) -> Result<String> {
    let since = Instant::now();
    let report = daemon.wait_report(&scene.name, RED_WITHIN, |report| {
        assert!(report["ready"] == true || report["state"] == "starting" || report["cause"].is_string(), "{report}");
        report["cause"].is_string()
    })?;
    println!("red after {:.1} s: {}", since.elapsed().as_secs_f64(), report["cause"]);
    assert!(report["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{report}");
    Ok(scene.masked(report["cause"].as_str().unwrap_or_default()))
}

/// Green again, with all that was inserted on the topic: the first order and one of after the stall.
fn turns_green(scene: &Scene, mut daemon: Daemon) -> Result<()> {
    daemon.wait_ready(WITHIN)?;
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    scene.exactly(2)
}

fn open(scene: &Scene) -> Result<Daemon> {
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    Ok(daemon)
}

fn walsender(scene: &Scene, sql: &Sql) -> Result<Pid> {
    let holder = format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot());
    Pid::from_raw(sql.value(&holder)?).ok_or_else(|| "not a process id".into())
}

/// Nothing is owed on an idle connection, and the network says nothing when it swallows what is sent. The server finds
/// out too and lets go of the slot, so that nobody needs to help.
/// Faults: PG-03, OPS-05.
#[test]
fn the_way_to_postgres_is_a_black_hole() -> Result<()> {
    let scene = Scene::new("blackhole")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = open(&scene)?;
    proxy.swallow();
    let cause = turns_red(&scene, &mut daemon)?;
    let silent = "postgres-unreachable: the replication connection broke: the server has said nothing for 25.";
    assert!(cause.starts_with(silent), "{cause}");
    turns_green(&scene, daemon)
}

/// Faults: PG-09, OPS-05.
#[test]
fn the_walsender_is_frozen() -> Result<()> {
    let scene = Scene::new("frozensender")?;
    let mut daemon = open(&scene)?;
    let sender = walsender(&scene, &scene.sql()?)?;
    kill_process(sender, Signal::STOP)?;
    let cause = turns_red(&scene, &mut daemon);
    let held = daemon.wait_report(&scene.name, WITHIN, |report| report["kind"] == "slot-held");
    kill_process(sender, Signal::CONT)?;
    let cause = cause?;
    assert!(cause.contains("the server has said nothing for 25."), "{cause}");
    let pid = format!("held by pid {}", sender.as_raw_nonzero());
    assert!(held?["cause"].as_str().is_some_and(|cause| cause.contains(&pid)), "{pid}");
    turns_green(&scene, daemon)
}

/// Faults: PG-01, OPS-05.
#[test]
fn postgres_is_gone() -> Result<()> {
    let stack = Stack::shared()?;
    let mut postgres = Postgres::start(&stack.sandbox, Options::default())?;
    let scene = Scene::on("gonepostgres", &postgres, &stack.kafka, stack.registry.url())?;
    let mut daemon = open(&scene)?;
    postgres.stop(Stop::Immediate)?;
    let cause = turns_red(&scene, &mut daemon)?;
    assert!(cause.starts_with("postgres-"), "{cause}");
    postgres.restart()?;
    turns_green(&scene, daemon)
}

/// Faults: KF-01, OPS-05.
#[test]
fn the_only_broker_is_gone() -> Result<()> {
    let stack = Stack::shared()?;
    let mut kafka = Kafka::start(&stack.sandbox, &kafka::Options::default())?;
    let scene = Scene::on("gonebroker", &stack.postgres, &kafka, stack.registry.url())?;
    let mut daemon = open(&scene)?;
    kafka.kill_hard(0)?;
    scene.insert(2, 2)?;
    let cause = turns_red(&scene, &mut daemon)?;
    assert_eq!(cause, "received changes wait for a commit on Kafka");
    kafka.restart(0)?;
    daemon.wait_ready(WITHIN)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    scene.exactly(2)
}

/// The way is dead, whole or one way, to those who come anew as well, until `/readyz` is red; the cause.
fn dead(scene: &Scene, daemon: &mut Daemon, proxy: &Proxy, sides: &[Side]) -> Result<String> {
    sides.iter().for_each(|side| proxy.hold_from(*side));
    // Something waits, so that a dead way to Kafka is missed.
    scene.insert(2, 2)?;
    let cause = turns_red(scene, daemon);
    proxy.release();
    cause
}

/// The same as [`turns_green`], where the second order was inserted during the stall.
fn turns_green_with_both(scene: &Scene, mut daemon: Daemon) -> Result<()> {
    daemon.wait_ready(WITHIN)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    scene.exactly(2)
}

#[test]
fn nothing_that_postgres_says_arrives() -> Result<()> {
    let scene = Scene::new("mutepostgres")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = open(&scene)?;
    let cause = dead(&scene, &mut daemon, &proxy, &[Side::Server])?;
    assert!(cause.contains("the server has said nothing for 25."), "{cause}");
    turns_green_with_both(&scene, daemon)
}

/// The server hears nothing and hangs up after its `wal_sender_timeout`.
#[test]
fn nothing_that_is_said_to_postgres_arrives() -> Result<()> {
    let scene = Scene::new("deafpostgres")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = open(&scene)?;
    let cause = dead(&scene, &mut daemon, &proxy, &[Side::Client])?;
    assert!(cause.starts_with("postgres-unreachable: "), "{cause}");
    turns_green_with_both(&scene, daemon)
}

fn dead_way_to_kafka(name: &str, sides: &[Side]) -> Result<()> {
    let scene = Scene::new(name)?;
    let proxy = scene.through_front()?;
    let mut daemon = open(&scene)?;
    let cause = dead(&scene, &mut daemon, &proxy, sides)?;
    assert_eq!(cause, "received changes wait for a commit on Kafka");
    turns_green_with_both(&scene, daemon)
}

#[test]
fn the_way_to_kafka_is_a_black_hole() -> Result<()> {
    dead_way_to_kafka("blackkafka", &[Side::Client, Side::Server])
}

#[test]
fn nothing_that_kafka_says_arrives() -> Result<()> {
    dead_way_to_kafka("mutekafka", &[Side::Server])
}

#[test]
fn nothing_that_is_said_to_kafka_arrives() -> Result<()> {
    dead_way_to_kafka("deafkafka", &[Side::Client])
}

#[test]
fn the_only_broker_is_frozen() -> Result<()> {
    let stack = Stack::shared()?;
    let kafka = Kafka::start(&stack.sandbox, &kafka::Options::default().patient())?;
    let scene = Scene::on("frozenkafka", &stack.postgres, &kafka, stack.registry.url())?;
    let mut daemon = open(&scene)?;
    kafka.signal(0, Signal::STOP)?;
    scene.insert(2, 2)?;
    let cause = turns_red(&scene, &mut daemon);
    kafka.signal(0, Signal::CONT)?;
    assert_eq!(cause?, "received changes wait for a commit on Kafka");
    turns_green_with_both(&scene, daemon)
}

/// A daemon that is started again while the way is dead says why it does not start, and starts once the way is good.
fn dead_at_the_start(scene: &Scene, proxy: &Proxy, kind: &str) -> Result<()> {
    scene.finish(open(scene)?)?;
    proxy.hold();
    let mut daemon = scene.launch()?;
    let cause = turns_red(scene, &mut daemon);
    proxy.release();
    let cause = cause?;
    assert!(cause.starts_with(&format!("{kind}: ")), "{cause}");
    turns_green(scene, daemon)
}

#[test]
fn the_way_to_postgres_is_a_black_hole_at_the_start() -> Result<()> {
    let scene = Scene::new("startpostgres")?;
    dead_at_the_start(&scene, &scene.through_proxy()?, "postgres-unreachable")
}

#[test]
fn the_way_to_kafka_is_a_black_hole_at_the_start() -> Result<()> {
    let scene = Scene::new("startkafka")?;
    dead_at_the_start(&scene, &scene.through_front()?, "kafka-unreachable")
}

#[test]
fn the_way_to_the_registry_is_a_black_hole_at_the_start() -> Result<()> {
    let scene = Scene::new("startregistry")?;
    dead_at_the_start(&scene, &scene.through_registry_proxy()?, "registry-unreachable")
}
