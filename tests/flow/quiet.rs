//! Sources that are idle, or busy with what is not published, and Kafka that is away for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::kafka::{self, Kafka};
use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::sandbox::Sandbox;
use crate::support::scene::{Scene, WITHIN};
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::{Result, poll};

/// 20 MB of WAL that no rule is about.
const NOISE: &str =
    "CREATE TABLE noise (text text); INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)";

/// The slot follows to where the server is now, and no lag is left.
fn follows(scene: &Scene, daemon: &Daemon) -> Result<()> {
    let sql = scene.sql()?;
    let end: String = sql.value("SELECT pg_current_wal_flush_lsn()::text")?;
    let behind = format!(
        "SELECT confirmed_flush_lsn < '{end}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    let followed = poll(WITHIN, || Ok((!sql.value::<bool>(&behind)?).then_some(())))?;
    followed.ok_or_else(|| format!("the slot does not follow to {end}"))?;
    scene.wait_metric(daemon, "walwright_lag_bytes", &[], |bytes| bytes == 0.0)?;
    assert_eq!(scene.metric(daemon, "walwright_lag_seconds", &[])?, 0.0);
    retained_is_bounded(scene, &sql)
}

/// What is kept goes back once the server has noted a newer start, which a checkpoint of its own makes it do.
fn retained_is_bounded(scene: &Scene, sql: &Sql) -> Result<()> {
    let retained = format!(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    let bounded = poll(WITHIN, || {
        sql.batch("CHECKPOINT")?;
        Ok((sql.value::<i64>(&retained)? < 16 << 20).then_some(()))
    })?;
    bounded.ok_or_else(|| "the slot retains WAL".into())
}

/// Faults: ACK-06, ACK-18.
#[test]
fn busy_other_tables_do_not_hold_the_slot_back() -> Result<()> {
    let scene = Scene::new("othertables")?;
    let daemon = scene.open()?;
    scene.sql()?.batch(NOISE)?;
    follows(&scene, &daemon)?;
    scene.finish(daemon)
}

/// Faults: ACK-06.
#[test]
fn busy_other_databases_do_not_hold_the_slot_back() -> Result<()> {
    let scene = Scene::new("otherdbs")?;
    let other = Stack::shared()?.scenario("noisy")?;
    let daemon = scene.open()?;
    other.sql()?.batch(NOISE)?;
    follows(&scene, &daemon)?;
    scene.finish(daemon)
}

/// Faults: ACK-18.
#[test]
fn filtered_changes_do_not_hold_the_slot_back() -> Result<()> {
    let scene = Scene::new("filtering")?;
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch("UPDATE orders SET note = 'x'; DELETE FROM orders")?;
    scene.wait_metric(&daemon, "walwright_changes_filtered_total", &["unmatched"], |count| count == 2.0)?;
    follows(&scene, &daemon)?;
    scene.finish(daemon)
}

/// Alerts look at the lag: what does not stream may not seem to have none.
/// Faults: OPS-06.
#[test]
fn a_halted_connector_tells_of_its_lag() -> Result<()> {
    let scene = Scene::new("haltedlag")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.wait_metric(&daemon, "walwright_changes_published_total", &[], |count| count == 1.0)?;
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds == 0.0)?;
    scene.sql()?.batch("TRUNCATE orders")?;
    scene.cause(&mut daemon, "unmapped", "halted")?;
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds > 0.5)?;
    scene.watched()
}

/// What it commits meanwhile nobody can know: long before the silence is taken for the stream's end, it is no zero.
#[test]
fn a_server_that_does_not_answer_is_a_lag() -> Result<()> {
    let scene = Scene::new("silentlag")?;
    let proxy = scene.through_proxy()?;
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds == 0.0)?;
    proxy.hold();
    scene.insert(2, 2)?;
    let told = scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds > 0.5);
    let report = daemon.report(&scene.name).unwrap_or_default();
    proxy.release();
    told?;
    assert_eq!(report["state"], "streaming", "{report}");
    scene.read("orders", 2)?;
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds == 0.0)?;
    scene.finish(daemon)?;
    scene.exactly(2)
}

fn sandbox() -> Result<Arc<Sandbox>> {
    Ok(Arc::new(Sandbox::new()?))
}

fn walsender(scene: &Scene) -> Result<Option<i32>> {
    let holder = format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot());
    scene.sql()?.value(&holder)
}

/// Faults: PG-07, KF-16.
#[test]
fn the_server_hears_from_us_while_a_broker_is_frozen() -> Result<()> {
    let stack = Stack::shared()?;
    let kafka = Kafka::start(&sandbox()?, &kafka::Options::default().patient())?;
    let scene = Scene::on("frozen_broker", &stack.postgres, &kafka, stack.registry.url())?;
    scene.sql()?.batch("ALTER ROLE frozen_broker SET wal_sender_timeout = '2s'")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    let pid = walsender(&scene)?;
    kafka.signal(0, Signal::STOP)?;
    let frozen = Instant::now();
    // More than all queues hold, so that the reader is held up too.
    scene.sql()?.batch("INSERT INTO orders SELECT i, 'NEW', 1, repeat('x', 1000) FROM generate_series(2, 100000) i")?;
    let report = daemon.wait_report(&scene.name, WITHIN, |report| report["ready"] == false)?;
    assert_eq!(report["cause"], "received changes wait for a commit on Kafka");
    assert!(frozen.elapsed() > Duration::from_secs(10), "five times wal_sender_timeout");
    assert_eq!(walsender(&scene)?, pid, "the walsender has not timed out");
    kafka.signal(0, Signal::CONT)?;
    daemon.wait_ready(WITHIN)?;
    scene.read("orders", 100_000)?;
    scene.finish(daemon)?;
    scene.exactly(100_000)
}

/// Faults: PG-01, KF-01.
#[test]
fn kafka_away_for_a_minute_and_postgres_stopped_meanwhile() -> Result<()> {
    let stack = Stack::shared()?;
    let mut kafka = Kafka::start(&sandbox()?, &kafka::Options::default())?;
    let mut postgres = Postgres::start(&sandbox()?, Options::default())?;
    let scene = Scene::on("away", &postgres, &kafka, stack.registry.url())?;
    scene.push()?;
    // Away at the start.
    kafka.stop(0)?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "kafka-unreachable", "retrying")?;
    assert!(cause.contains("Connection refused"), "{cause}");
    kafka.restart(0)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;

    // Away in the middle.
    kafka.kill_hard(0)?;
    let killed = Instant::now();
    scene.insert(11, 20)?;
    postgres.stop(Stop::Fast)?;
    let stopped = killed.elapsed();
    println!("Postgres' fast shutdown took {:.1} s", stopped.as_secs_f64());
    assert!(stopped < Duration::from_secs(50), "{stopped:?}");
    let cause = daemon.wait_report(&scene.name, WITHIN, |report| report["state"] == "retrying")?;
    assert_eq!(cause["ready"], false, "{cause}");
    postgres.restart()?;
    let over = poll(WITHIN, || Ok((killed.elapsed() > Duration::from_secs(60)).then_some(())))?;
    over.ok_or("a minute does not pass")?;
    scene.insert(21, 30)?;
    kafka.restart(0)?;
    daemon.wait_ready(WITHIN)?;
    scene.read("orders", 30)?;
    scene.finish(daemon)?;
    scene.exactly(30)
}
