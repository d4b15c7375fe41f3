//! Slots that go, or are another, while the daemon runs; and slots that only look like its own.

use rustix::process::Signal;

use super::{ends_well, opened};
use crate::resume::{servers, slots};
use crate::support::Result;
use crate::support::postgres::{Options, Postgres, Stop, Version};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Faults: PG-13.
#[test]
fn a_slot_that_is_dropped_under_a_running_daemon() -> Result<()> {
    let scene = Scene::new("pulled")?;
    let mut daemon = opened(&scene)?;
    daemon.signal(Signal::STOP)?;
    scene.end_walsender()?;
    slots::drop_slot(&scene)?;
    daemon.signal(Signal::CONT)?;
    assert_eq!(
        scene.cause(&mut daemon, "slot-missing", "halted")?,
        "slot-missing: slot walwright_NAME does not exist, but the checkpoint is at LSN (connector NAME)"
    );
    scene.watched()
}

/// Faults: PG-13.
#[test]
fn a_slot_that_is_made_anew_under_a_running_daemon() -> Result<()> {
    let scene = Scene::new("swapped")?;
    scene.unwatched();
    let mut daemon = opened(&scene)?;
    daemon.signal(Signal::STOP)?;
    scene.end_walsender()?;
    slots::drop_slot(&scene)?;
    scene.insert(2, 2)?;
    slots::create_slot(&scene)?;
    daemon.signal(Signal::CONT)?;
    assert_eq!(
        scene.cause(&mut daemon, "slot-ahead", "halted")?,
        "slot-ahead: slot walwright_NAME stands ahead of the checkpoint: changes from LSN to LSN were not published (connector NAME)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    Ok(())
}

/// Kafka is away, WAL is written, and the server has had enough.
/// Faults: PG-11.
#[test]
fn a_slot_that_is_invalidated_under_a_running_daemon() -> Result<()> {
    let stack = Stack::shared()?;
    let server = Postgres::start(&stack.sandbox, Options::default().set("max_slot_wal_keep_size", "1MB"))?;
    let scene = Scene::on("given_up", &server, &stack.kafka, stack.registry.url())?;
    let front = scene.through_front()?;
    let mut daemon = opened(&scene)?;
    front.hold();
    let sql = scene.sql()?;
    let lost = format!("SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot());
    for id in 2..40 {
        scene.insert(id, id)?;
        sql.batch("SELECT pg_switch_wal()")?;
        sql.batch("CHECKPOINT")?;
        if sql.value(&lost)? {
            break;
        }
    }
    assert!(sql.value::<bool>(&lost)?);
    scene.unwatched();
    front.release();
    let cause = scene.cause(&mut daemon, "slot-lost", "halted")?;
    assert!(cause.starts_with("slot-lost: slot walwright_NAME is lost"), "{cause}");
    Ok(())
}

/// Faults: PG-12.
#[test]
#[ignore = "test-full: on Postgres 18"]
fn a_slot_that_was_idle_for_too_long_on_18() -> Result<()> {
    let stack = Stack::shared()?;
    let options = Options::version(Version::Major(18)).set("idle_replication_slot_timeout", "1s");
    let server = Postgres::start(&stack.sandbox, options)?;
    let scene = Scene::on("idled", &server, &stack.kafka, stack.registry.url())?;
    let daemon = opened(&scene)?;
    scene.finish(daemon)?;
    let sql = scene.sql()?;
    let gone = format!(
        "SELECT coalesce(invalidation_reason = 'idle_timeout', false) FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    let given_up = crate::support::poll(WITHIN, || {
        scene.insert(2, 2).or(Ok::<_, crate::support::Fault>(()))?;
        sql.batch("CHECKPOINT")?;
        Ok(sql.value::<bool>(&gone)?.then_some(()))
    })?;
    given_up.ok_or("the slot is not invalidated")?;
    let cause = scene.halts("slot-lost")?;
    assert!(cause.contains("idle_timeout"), "{cause}");
    Ok(())
}

/// A standby without the slot takes over.
/// Faults: PG-15.
#[test]
fn a_promoted_standby_that_has_no_slot() -> Result<()> {
    let mut primary = servers::server()?;
    let mut scene = servers::stopped("slotless", &primary)?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    for slot in std::fs::read_dir(standby.data().join("pg_replslot"))? {
        std::fs::remove_dir_all(slot?.path())?;
    }
    standby.follow(&primary)?;
    standby.restart()?;
    standby.sql("slotless")?.batch("SELECT pg_promote()")?;
    scene.move_to(&primary, &standby)?;
    assert_eq!(
        scene.halts("slot-missing")?,
        "slot-missing: slot walwright_NAME does not exist, but the checkpoint is at LSN (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-10.
#[test]
fn no_slot_is_left() -> Result<()> {
    let stack = Stack::shared()?;
    let server = Postgres::start(&stack.sandbox, Options::default().set("max_replication_slots", "1"))?;
    let scene = Scene::on("slotless_server", &server, &stack.kafka, stack.registry.url())?;
    let sql = scene.sql()?;
    sql.batch("SELECT pg_create_physical_replication_slot('other')")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "postgres-exhausted", "retrying")?;
    assert_eq!(cause, "postgres-exhausted: the server said: all replication slots are in use (connector NAME)");
    sql.batch("SELECT pg_drop_replication_slot('other')")?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 1)
}

/// The names of two pipelines differ where one has what is a wildcard in LIKE.
/// Faults: PG-28.
#[test]
fn a_removal_leaves_the_slot_with_a_similar_name() -> Result<()> {
    let scene = slots::stopped("wild_card")?;
    scene.unwatched();
    let similar = scene.slot().replace('_', "x");
    scene.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&similar])?;
    scene.says(&["remove", &scene.name, "--yes"])?;
    let left = "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(scene.sql()?.value::<String>(left)?, similar);
    Ok(())
}
