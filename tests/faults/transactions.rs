//! Transactions of other kinds than the plain one, and rows that are wide.

use super::{ends_well, opened, published};
use crate::support::Result;
use crate::support::postgres::{Options, Postgres};
use crate::support::scene::Scene;
use crate::support::stack::Stack;

/// Faults: TXN-02.
#[test]
fn only_what_subtransactions_have_kept_is_published() -> Result<()> {
    let scene = Scene::new("subxacts")?;
    let daemon = opened(&scene)?;
    scene.sql()?.batch(
        "DO $$ BEGIN
           FOR i IN 2..101 LOOP
             BEGIN
               INSERT INTO orders VALUES (i, 'NEW');
               BEGIN INSERT INTO orders VALUES (i, 'TWICE'); EXCEPTION WHEN unique_violation THEN NULL; END;
               BEGIN INSERT INTO orders VALUES (1000 + i, 'GONE'); RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN NULL; END;
             END;
           END LOOP;
         END $$;
         BEGIN; INSERT INTO orders VALUES (102, 'NEW'); SAVEPOINT a; INSERT INTO orders VALUES (2000, 'GONE');
         SAVEPOINT b; INSERT INTO orders VALUES (2001, 'GONE'); RELEASE b; ROLLBACK TO a;
         INSERT INTO orders VALUES (103, 'NEW'); COMMIT",
    )?;
    scene.read("orders", 103)?;
    ends_well(&scene, daemon, 104)
}

/// Faults: TXN-06.
#[test]
fn a_prepared_transaction_is_published_once_it_is_committed() -> Result<()> {
    let stack = Stack::shared()?;
    let server = Postgres::start(&stack.sandbox, Options::default().set("max_prepared_transactions", "5"))?;
    let scene = Scene::on("prepared", &server, &stack.kafka, stack.registry.url())?;
    let mut daemon = opened(&scene)?;
    let sql = scene.sql()?;
    sql.batch("BEGIN; INSERT INTO orders VALUES (2, 'NEW'); PREPARE TRANSACTION 'two'")?;
    sql.batch("BEGIN; INSERT INTO orders VALUES (100, 'NEW'); PREPARE TRANSACTION 'none'")?;
    scene.insert(3, 3)?;
    scene.read("orders", 2)?;
    assert_eq!(published(&scene)?, [1, 3].into());
    daemon.kill_hard()?;
    let daemon = scene.start()?;
    sql.batch("COMMIT PREPARED 'two'")?;
    sql.batch("ROLLBACK PREPARED 'none'")?;
    scene.read("orders", 3)?;
    ends_well(&scene, daemon, 4)
}

/// Faults: TXN-13.
#[test]
fn rows_that_came_to_the_source_by_replication() -> Result<()> {
    let scene = Scene::new("origins")?;
    let daemon = opened(&scene)?;
    let sql = scene.sql()?;
    let origin = &scene.name;
    sql.batch(&format!(
        "SELECT pg_replication_origin_create('{origin}'), pg_replication_origin_session_setup('{origin}')"
    ))?;
    sql.batch(
        "BEGIN; SELECT pg_replication_origin_xact_setup('0/ABC', now()); INSERT INTO orders VALUES (2, 'NEW'); COMMIT",
    )?;
    scene.read("orders", 2)?;
    sql.batch(&format!("SELECT pg_replication_origin_session_reset(), pg_replication_origin_drop('{origin}')"))?;
    ends_well(&scene, daemon, 3)
}

/// An event is measured, not the rows that it is made of: old and new together are over the limit.
/// Faults: TXN-10, TXN-09.
#[test]
fn a_wide_row_whose_old_one_is_sent_too() -> Result<()> {
    let scene = Scene::new("wideold")?;
    scene
        .sql()?
        .batch("ALTER TABLE orders REPLICA IDENTITY FULL; ALTER TABLE orders ALTER note SET STORAGE EXTERNAL")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\"]")?;
    let daemon = opened(&scene)?;
    let sql = scene.sql()?;
    sql.batch("INSERT INTO orders VALUES (2, 'NEW', 1, repeat('x', 700000))")?;
    sql.batch("UPDATE orders SET status = 'PAID' WHERE id = 2")?;
    let seen = scene.read("orders", 3)?;
    let wide = seen.iter().filter(|seen| seen.field("note").as_str().is_some_and(|note| note.len() == 700_000));
    assert_eq!(wide.count(), 2, "the update has what it did not change");
    scene.finish(daemon)
}

/// A transaction of more than the process may hold.
/// Faults: TXN-01, PRC-04.
#[test]
fn a_transaction_of_hundreds_of_megabytes_in_little_memory() -> Result<()> {
    const ROWS: usize = 150_000;
    // So long a transaction would hold up the slots of others on the shared server.
    let stack = Stack::shared()?;
    let server = Postgres::start(&stack.sandbox, Options::default())?;
    let scene = Scene::on("inlittle", &server, &stack.kafka, stack.registry.url())?;
    let daemon = opened(&scene)?;
    scene.sql()?.batch(&format!(
        "INSERT INTO orders SELECT i, 'NEW', 1, repeat(md5(i::text), 40) FROM generate_series(2, {ROWS}) i"
    ))?;
    scene.wait_metric(&daemon, "walwright_changes_published_total", &[], |count| count == ROWS as f64)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?.trim();
    let kib: u64 = peak.trim_end_matches(" kB").parse()?;
    println!("peak {} MiB", kib / 1024);
    assert!(kib < 160 * 1024, "{kib} KiB");
    scene.finish(daemon)
}
