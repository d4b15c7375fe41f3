//! The daemon killed at messages, steps and kinds of change that the random kills may miss.

use walwright::faults::Failpoint;

use super::{ends_well, opened, published, with_fault};
use crate::flow::rules::{set_out, told};
use crate::support::Result;
use crate::support::fault::Fault;
use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// One transaction that is never committed on Kafka until the last daemon, and is read anew by each.
/// Faults: ACK-02, ACK-03, ACK-11.
#[test]
fn killed_at_each_message_of_a_transaction_and_each_step_of_its_commit() -> Result<()> {
    let scene = Scene::new("eachmessage")?;
    let mut daemon = opened(&scene)?;
    daemon.kill_hard()?;
    scene.sql()?.batch(
        "BEGIN; INSERT INTO orders VALUES (2, 'NEW'); SELECT pg_logical_emit_message(true, 'p', 'x');
         INSERT INTO orders VALUES (3, 'NEW'), (4, 'NEW'); COMMIT",
    )?;
    let received = [
        (Failpoint::BeginReceived, 1),
        (Failpoint::RelationReceived, 1),
        (Failpoint::RowReceived, 1),
        (Failpoint::MessageReceived, 1),
        (Failpoint::RowReceived, 2),
        (Failpoint::RowReceived, 3),
        (Failpoint::CommitReceived, 1),
    ];
    let committed = [
        (Failpoint::GroupBegun, 1),
        (Failpoint::RecordsSent, 1),
        (Failpoint::CheckpointSent, 1),
        (Failpoint::CommitSent, 2),
    ];
    for (point, count) in received.into_iter().chain(committed) {
        with_fault(&scene, Fault::kill(point, count))?.wait(WITHIN)?;
        assert_eq!(scene.read_all("orders")?.len(), 1, "{point:?}");
    }
    with_fault(&scene, Fault::kill(Failpoint::CommitAcknowledged, 1))?.wait(WITHIN)?;
    assert_eq!(published(&scene)?, (1..=4).collect());
    ends_well(&scene, scene.start()?, 5)
}

/// Rows of one COPY lie at one place in the WAL.
/// Faults: ACK-09.
#[test]
fn killed_in_the_middle_of_a_copy() -> Result<()> {
    let scene = Scene::new("copied")?;
    let mut daemon = opened(&scene)?;
    daemon.kill_hard()?;
    scene.sql()?.batch("COPY orders (id, status) FROM PROGRAM 'seq -f \"%.0f\tNEW\" 2 10000'")?;
    with_fault(&scene, Fault::kill(Failpoint::RowReceived, 5000))?.wait(WITHIN)?;
    ends_well(&scene, scene.start()?, 10_001)
}

/// What a restart finds as the last change before it.
/// Faults: ACK-11, ACK-17.
#[test]
fn killed_behind_a_message_a_truncate_a_new_key_and_an_empty_transaction() -> Result<()> {
    let scene = Scene::new("lastchange")?;
    set_out(&scene)?;
    let mut daemon = scene.open()?;
    let sql = scene.sql()?;
    let mut expected = Vec::new();
    let kinds = [
        "SELECT pg_logical_emit_message(false, 'p', 'x')",
        "BEGIN; SELECT pg_logical_emit_message(true, 'p', 'x'); COMMIT",
        "TRUNCATE orders",
        "INSERT INTO orders VALUES (9, 'LATE'); UPDATE orders SET id = 10 WHERE id = 9",
        "BEGIN; SELECT 1; COMMIT",
    ];
    for (id, kind) in (1..).zip(kinds) {
        sql.batch(&format!("INSERT INTO orders VALUES ({id}, 'NEW')"))?;
        sql.batch(kind)?;
        expected.push(format!("{id} INSERT NEW"));
        if kind.contains("id = 10") {
            expected.extend(["9 INSERT LATE", "9 tombstone -", "10 REKEY LATE"].map(str::to_owned));
        }
        scene.read("state", expected.len())?;
        daemon.kill_hard()?;
        daemon = scene.start()?;
    }
    sql.batch("INSERT INTO orders VALUES (11, 'END')")?;
    expected.push("11 INSERT END".to_owned());
    scene.read("state", expected.len())?;
    scene.finish(daemon)?;
    assert_eq!(told(&scene.read_all("state")?), expected);
    Ok(())
}

/// A row that was written before the checkpoint and is committed behind it.
/// Faults: ACK-10, TXN-07.
#[test]
fn a_transaction_that_outlives_the_daemon() -> Result<()> {
    let scene = Scene::new("outlives")?;
    let mut daemon = opened(&scene)?;
    let holder = scene.sql()?;
    holder.batch("BEGIN; INSERT INTO orders VALUES (2, 'NEW')")?;
    scene.insert(3, 4)?;
    scene.read("orders", 3)?;
    daemon.kill_hard()?;
    let daemon = scene.start()?;
    scene.insert(5, 5)?;
    scene.read("orders", 4)?;
    holder.batch("COMMIT")?;
    ends_well(&scene, daemon, 6)
}

/// The server forgets what it was told since it last wrote the slot down.
/// Faults: ACK-12.
#[test]
fn the_server_crashes_and_its_slot_goes_back() -> Result<()> {
    let stack = Stack::shared()?;
    let mut postgres = Postgres::start(&stack.sandbox, Options::default())?;
    let scene = Scene::on("goesback", &postgres, &stack.kafka, stack.registry.url())?;
    let mut daemon = opened(&scene)?;
    let confirmed = || -> Result<i64> {
        let of = format!("WHERE slot_name = '{}'", scene.slot());
        scene.sql()?.value(&format!("SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots {of}"))
    };
    let mut last = 1;
    // Now and then the server has just written it down.
    for _ in 0..5 {
        let before = confirmed()?;
        last += 1;
        scene.insert(last, last)?;
        let moved = crate::support::poll(WITHIN, || Ok((confirmed()? > before).then_some(())))?;
        moved.ok_or("the slot is not confirmed")?;
        let told = confirmed()?;
        daemon.kill_hard()?;
        postgres.stop(Stop::Immediate)?;
        postgres.restart()?;
        let is_back = confirmed()? < told;
        daemon = scene.start()?;
        if is_back {
            return ends_well(&scene, daemon, last + 1);
        }
    }
    Err("the slot never went back".into())
}
