//! The source server: sessions that are ended, settings of the role, a pooler in the way, numbers at their end.

use std::time::Duration;

use super::{ends_well, opened, pass, walsender};
use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::scene::{Scene, WITHIN, place};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

/// Faults: PG-02.
#[test]
fn the_walsender_is_terminated_again_and_again() -> Result<()> {
    let scene = Scene::new("terminated")?;
    let daemon = opened(&scene)?;
    let sql = scene.sql()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| place(&sql, 2, 300));
        let mut ended = 0;
        let enough = poll(WITHIN, || {
            ended += i32::from(scene.end_walsender()?);
            Ok((ended == 10).then_some(()))
        })?;
        enough.ok_or("there are not ten walsenders to end")?;
        writer.join().map_err(|_| "the writer panicked")?
    })?;
    ends_well(&scene, daemon, 301)
}

/// The shortest patience, while Kafka holds us up, and none at all.
/// Faults: PG-06, PG-07.
#[test]
fn a_walsender_that_waits_for_a_second_and_one_that_waits_for_ever() -> Result<()> {
    let scene = Scene::new("patience")?;
    let patience =
        |time: &str| scene.sql()?.batch(&format!("ALTER ROLE {} SET wal_sender_timeout = '{time}'", scene.name));
    patience("1s")?;
    let front = scene.through_front()?;
    let daemon = opened(&scene)?;
    let sender = walsender(&scene)?;
    front.hold();
    scene.insert(2, 10)?;
    pass(Duration::from_secs(5))?;
    assert_eq!(walsender(&scene)?, sender, "the walsender has not timed out");
    front.release();
    scene.read("orders", 10)?;
    scene.finish(daemon)?;

    patience("0")?;
    let daemon = scene.start()?;
    scene.insert(11, 11)?;
    let end: String = scene.sql()?.value("SELECT pg_current_wal_flush_lsn()::text")?;
    let follows = format!(
        "SELECT confirmed_flush_lsn >= '{end}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    poll(WITHIN, || Ok(scene.sql()?.value::<bool>(&follows)?.then_some(())))?.ok_or("the slot does not follow")?;
    ends_well(&scene, daemon, 12)
}

/// What an administrator sets for people ends no session of ours.
/// Faults: PG-23.
#[test]
fn timeouts_of_the_role_do_not_end_our_sessions() -> Result<()> {
    let scene = Scene::new("impatient")?;
    let settings = ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout"];
    for setting in settings {
        scene.sql()?.batch(&format!("ALTER ROLE {} SET {setting} = '1s'", scene.name))?;
    }
    let daemon = opened(&scene)?;
    let sender = walsender(&scene)?;
    pass(Duration::from_secs(8))?;
    assert_eq!(walsender(&scene)?, sender);
    assert!(!daemon.log()?.contains("connector retries"));
    ends_well(&scene, daemon, 2)
}

/// PgBouncer, for one, knows no replication connections.
/// Faults: PG-24.
#[test]
fn a_pooler_in_the_way_is_told_by_its_own_words() -> Result<()> {
    let scene = Scene::new("pooled")?;
    scene.push()?;
    let proxy = scene.through_proxy()?;
    proxy.refuse(
        b"replication\0database\0",
        b"E\0\0\0\x3fSFATAL\0C08P01\0Munsupported startup parameter: replication\0\0",
    );
    let mut daemon = scene.launch()?;
    let report = daemon.wait_report(&scene.name, WITHIN, |report| {
        report["cause"].as_str().is_some_and(|cause| cause.contains("unsupported startup parameter: replication"))
    })?;
    println!("{report}");
    Ok(())
}

/// A cluster that has written nearly all the WAL that there can be, and many times all numbers of transactions.
/// Faults: ACK-19.
#[test]
fn positions_and_transaction_numbers_beyond_32_and_63_bits() -> Result<()> {
    let stack = Stack::shared()?;
    let mut server = Postgres::start(&stack.sandbox, Options::default())?;
    server.stop(Stop::Fast)?;
    server.reset_wal("00000001FFFFFFF000000001", "7")?;
    server.restart()?;
    let scene = Scene::on("extremes", &server, &stack.kafka, stack.registry.url())?;
    assert!(scene.sql()?.value::<bool>(
        "SELECT pg_current_wal_lsn() > 'FFFFFFF0/0' AND pg_current_xact_id()::text::int8 > 1::int8 << 32"
    )?);
    scene.connector("mode = \"none\"", "mode = \"initial\"")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"read\"]")?;
    scene.sql()?.batch(&format!("GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}", scene.name))?;
    scene.insert(1, 5)?;
    let mut daemon = scene.open()?;
    scene.read("orders", 5)?;
    scene.insert(6, 10)?;
    scene.read("orders", 10)?;
    scene.wait_metric(&daemon, "walwright_lag_bytes", &[], |bytes| bytes < 1e9)?;
    daemon.kill_hard()?;
    ends_well(&scene, scene.start()?, 11)
}

/// Faults: PG-25.
#[test]
fn a_slot_that_is_made_behind_a_long_transaction() -> Result<()> {
    let scene = Scene::new("longstart")?;
    scene.push()?;
    let holder = scene.sql()?;
    holder.batch("BEGIN; INSERT INTO orders VALUES (-1, 'NEW')")?;
    let mut daemon = scene.launch()?;
    let waits = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}' AND active", scene.slot());
    poll(WITHIN, || Ok((scene.sql()?.value::<i64>(&waits)? == 1).then_some(())))?.ok_or("no slot is made")?;
    println!("{}", daemon.report(&scene.name).unwrap_or_default());
    assert!(daemon.terminate(Duration::from_secs(60))?.success(), "it can be stopped meanwhile");
    holder.batch("COMMIT")?;
    let daemon = scene.start()?;
    ends_well(&scene, daemon, 1)
}
