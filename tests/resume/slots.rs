//! The start table by slot and checkpoint, on one server.

use walwright::checkpoint::record::{CHECKPOINT, INTENT, Intent};
use walwright::model::Lsn;

use crate::support::postgres::{self, Postgres};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

pub(crate) fn create_slot(scene: &Scene) -> Result<Lsn> {
    scene.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&scene.slot()])?;
    confirmed(scene)
}

pub(crate) fn drop_slot(scene: &Scene) -> Result<()> {
    scene.sql()?.query("SELECT pg_drop_replication_slot($1)", &[&scene.slot()]).map(drop)
}

pub(super) fn confirmed(scene: &Scene) -> Result<Lsn> {
    let text: String = scene.sql()?.value(&format!(
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    ))?;
    Ok(text.parse()?)
}

/// A connector that has published the orders 1 and 2 and is stopped.
pub(crate) fn stopped(name: &str) -> Result<Scene> {
    let scene = Scene::new(name)?;
    let daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    Ok(scene)
}

/// Starts the connector, and sees that it goes on with order `next` and has lost and repeated nothing.
fn goes_on(scene: &Scene, next: i64) -> Result<()> {
    let daemon = scene.start()?;
    scene.insert(next, next)?;
    scene.read("orders", usize::try_from(next)?)?;
    scene.finish(daemon)?;
    let mut ids: Vec<_> = scene.read_all("orders")?.iter().map(|seen| seen.field("id").as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=next).map(Some).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn none_and_none_is_a_first_start() -> Result<()> {
    let scene = Scene::new("first")?;
    scene.insert(-1, -1)?;
    scene.push()?;
    goes_on(&scene, 1)?;
    let state = scene.state()?;
    let checkpoint = state.checkpoint.ok_or("there is no checkpoint")?;
    assert_eq!((state.intent, checkpoint.epoch, checkpoint.timeline), (None, 0, 1));
    assert_eq!(checkpoint.partitions.get(&scene.topic("orders")), Some(&3));
    assert!(confirmed(&scene)? <= checkpoint.next_lsn);
    Ok(())
}

#[test]
fn a_slot_with_our_intent_is_used() -> Result<()> {
    let scene = Scene::new("intent")?;
    scene.push()?;
    let daemon = scene.start()?;
    scene.finish(daemon)?;
    // As if the first start had ended between the slot and its checkpoint.
    let system: i64 = scene.sql()?.value("SELECT system_identifier FROM pg_control_system()")?;
    let intent = Intent::new(&scene.slot(), &system.to_string()).to_json().map_err(|error| error.chain())?;
    scene.write_state(&[(CHECKPOINT, None), (INTENT, Some(&intent))])?;
    scene.insert(1, 1)?;
    goes_on(&scene, 2)?;
    assert_eq!(scene.state()?.intent, None);
    Ok(())
}

/// Faults: PG-25.
#[test]
fn a_kill_while_the_slot_is_made_is_a_first_start_again() -> Result<()> {
    let scene = Scene::new("making")?;
    scene.push()?;
    // The slot is not consistent before this transaction ends.
    let holder = scene.sql()?;
    holder.batch("BEGIN; INSERT INTO orders VALUES (-1, 'NEW')")?;
    let mut daemon = scene.launch()?;
    let waits = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}' AND active", scene.slot());
    let begun = poll(WITHIN, || Ok((scene.sql()?.value::<i64>(&waits)? == 1).then_some(())))?;
    begun.ok_or("the slot is not being made")?;
    assert!(scene.state()?.intent.is_some(), "the intent is written before the slot");
    daemon.kill_hard()?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "slot-held", "retrying")?;
    holder.batch("COMMIT")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
    goes_on(&scene, 2)
}

#[test]
fn a_slot_without_an_intent_is_someone_elses() -> Result<()> {
    let scene = Scene::new("foreign")?;
    create_slot(&scene)?;
    scene.push()?;
    assert_eq!(
        scene.halts("slot-foreign")?,
        "slot-foreign: slot walwright_NAME exists, but this connector has no checkpoint and did not create it (connector NAME)"
    );
    assert_eq!(scene.state()?.checkpoint, None);
    confirmed(&scene).map(drop)
}

#[test]
fn a_slot_is_adopted_where_the_file_says_so() -> Result<()> {
    let scene = Scene::new("adopt")?;
    create_slot(&scene)?;
    scene.insert(1, 2)?;
    scene.connector("[snapshot]", "adopt_slot = true\n\n[snapshot]")?;
    scene.push()?;
    goes_on(&scene, 3)
}

/// Faults: ACK-16.
#[test]
fn a_missing_slot_with_a_checkpoint_halts() -> Result<()> {
    let scene = stopped("missing")?;
    drop_slot(&scene)?;
    assert_eq!(
        scene.halts("slot-missing")?,
        "slot-missing: slot walwright_NAME does not exist, but the checkpoint is at LSN (connector NAME)"
    );
    let made: i64 =
        scene.sql()?.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")?;
    assert_eq!(made, 0, "a lost slot is never made anew");
    Ok(())
}

#[test]
fn a_slot_behind_the_checkpoint_goes_on() -> Result<()> {
    let scene = stopped("behind")?;
    // A slot that has not heard of the last commits: they come again, and are not published again.
    let state = scene.state()?.checkpoint.ok_or("there is no checkpoint")?;
    let behind = confirmed(&scene)?;
    assert!(behind <= state.next_lsn);
    goes_on(&scene, 3)
}

/// Faults: ACK-13, OPS-09.
#[test]
fn a_slot_ahead_of_the_checkpoint_halts_and_names_the_gap() -> Result<()> {
    let scene = stopped("ahead")?;
    scene.insert(3, 4)?;
    scene.unwatched();
    scene.sql()?.query("SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", &[&scene.slot()])?;
    let from = scene.state()?.checkpoint.ok_or("there is no checkpoint")?.next_lsn;
    let to = confirmed(&scene)?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "slot-ahead", "halted")?,
        "slot-ahead: slot walwright_NAME stands ahead of the checkpoint: changes from LSN to LSN were not published (connector NAME)"
    );
    let log = daemon.log()?;
    assert!(log.contains(&format!("changes from {from} to {to} were not published")), "{log}");
    assert_eq!(scene.read_all("orders")?.len(), 2);
    Ok(())
}

/// A connector whose slot the server gave up after the order 1; the server must outlive it.
pub(super) fn lost(name: &str) -> Result<(Postgres, Scene)> {
    let stack = Stack::shared()?;
    let options = postgres::Options::default().set("max_slot_wal_keep_size", "1MB");
    let server = Postgres::start(&stack.sandbox, options)?;
    let scene = Scene::on(name, &server, &stack.kafka, stack.registry.url())?;
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
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
    Ok((server, scene))
}

/// Faults: PG-11.
#[test]
fn a_lost_slot_halts() -> Result<()> {
    let (_server, scene) = lost("lost_slot")?;
    assert_eq!(
        scene.halts("slot-lost")?,
        "slot-lost: slot walwright_NAME is lost (its WAL was removed): changes from LSN on may be gone (connector NAME)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    Ok(())
}
