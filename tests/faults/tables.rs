//! Tables that are changed, rewritten, renamed or made anew under a connector.

use super::{ends_well, opened};
use crate::support::Result;
use crate::support::scene::Scene;
use crate::support::seen::Seen;

/// Faults: DDL-08, DDL-09.
#[test]
fn a_change_of_a_table_that_is_rolled_back() -> Result<()> {
    let scene = Scene::new("ddlaborted")?;
    let daemon = opened(&scene)?;
    scene.sql()?.batch(
        "BEGIN; ALTER TABLE orders ADD more text; INSERT INTO orders VALUES (100, 'X', 1, 'x', 'm');
         ALTER TABLE orders DROP COLUMN status; INSERT INTO orders (id) VALUES (101); ROLLBACK;
         BEGIN; SAVEPOINT s; ALTER TABLE orders ALTER note TYPE varchar(9); INSERT INTO orders VALUES (102, 'X');
         ROLLBACK TO s; INSERT INTO orders VALUES (2, 'NEW', 1, 'kept'); COMMIT",
    )?;
    let seen = scene.read("orders", 2)?;
    assert!(seen.iter().any(|seen| seen.field("note") == "kept"), "{seen:?}");
    // One that is not, between two rows.
    scene.sql()?.batch(
        "BEGIN; INSERT INTO orders VALUES (3, 'NEW', 1, 'before'); ALTER TABLE orders ADD more text, DROP COLUMN amount;
         ALTER TABLE orders ADD amount numeric(12,2); INSERT INTO orders VALUES (4, 'NEW', 'behind', 'm', 7.5); COMMIT",
    )?;
    let told = |seen: &Seen| (seen.field("note"), seen.field("amount"));
    let mut seen: Vec<_> = scene.read("orders", 4)?.iter().map(told).map(|told| format!("{told:?}")).collect();
    seen.sort();
    assert!(seen.iter().any(|told| told.contains("before") && told.contains("100")), "{seen:?}");
    assert!(seen.iter().any(|told| told.contains("behind") && told.contains("750")), "{seen:?}");
    ends_well(&scene, daemon, 5)
}

/// A new label comes without a new description of the table.
/// Faults: DDL-10.
#[test]
fn a_label_that_an_enum_gets_while_it_streams() -> Result<()> {
    let scene = Scene::new("newlabel")?;
    scene.sql()?.batch(
        "CREATE TYPE state AS ENUM ('PLACED'); ALTER TABLE orders ALTER status TYPE state USING status::state",
    )?;
    scene.sql()?.batch("CREATE CAST (text AS state) WITH INOUT AS ASSIGNMENT")?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    sql.batch("INSERT INTO orders VALUES (1, 'PLACED')")?;
    scene.read("orders", 1)?;
    sql.batch("ALTER TYPE state ADD VALUE 'PAID'")?;
    sql.batch("INSERT INTO orders VALUES (2, 'PAID')")?;
    sql.batch("ALTER TYPE state RENAME VALUE 'PAID' TO 'SETTLED'")?;
    sql.batch("INSERT INTO orders VALUES (3, 'SETTLED')")?;
    let mut states: Vec<_> = scene.read("orders", 3)?.iter().map(|seen| seen.field("status").to_string()).collect();
    states.sort();
    assert_eq!(states, ["\"PAID\"", "\"PLACED\"", "\"SETTLED\""]);
    scene.finish(daemon)
}

/// Faults: DDL-11.
#[test]
fn a_table_that_is_dropped_and_made_anew() -> Result<()> {
    let scene = Scene::new("anewtable")?;
    let mut daemon = opened(&scene)?;
    scene.sql()?.batch("DROP TABLE orders; CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, amount numeric(12,2), note text)")?;
    // Its rows are not published, which nobody would see in the stream.
    let cause = scene.cause(&mut daemon, "publication-mismatch", "halted")?;
    assert!(cause.contains("does not send table public.orders"), "{cause}");
    scene.sql()?.batch(&format!("ALTER PUBLICATION walwright_{} ADD TABLE orders", scene.name))?;
    daemon.kill_hard()?;
    ends_well(&scene, scene.start()?, 2)
}

/// Rules name tables, so one with another name is not theirs.
/// Faults: DDL-12.
#[test]
fn a_table_that_is_renamed() -> Result<()> {
    let scene = Scene::new("renamedtable")?;
    let mut daemon = opened(&scene)?;
    scene.sql()?.batch("ALTER TABLE orders RENAME TO purchases")?;
    let report =
        daemon.wait_report(&scene.name, crate::support::scene::WITHIN, |report| report["state"] == "halted")?;
    println!("{report}");
    scene.sql()?.batch("ALTER TABLE purchases RENAME TO orders")?;
    daemon.kill_hard()?;
    ends_well(&scene, scene.start()?, 2)
}

/// Faults: DDL-05.
#[test]
fn a_publication_of_all_tables_and_one_of_a_schema() -> Result<()> {
    for (name, tables) in [("alltables", "ALL TABLES"), ("wholeschema", "TABLES IN SCHEMA public")] {
        let scene = Scene::new(name)?;
        let publication = format!("walwright_{}", scene.name);
        scene
            .sql()?
            .batch(&format!("DROP PUBLICATION {publication}; CREATE PUBLICATION {publication} FOR {tables}"))?;
        let daemon = opened(&scene)?;
        ends_well(&scene, daemon, 2)?;
    }
    Ok(())
}

/// A child's rows are the child's: they are not those of the table that it inherits from.
/// Faults: DDL-15.
#[test]
fn a_table_that_others_inherit_from() -> Result<()> {
    let scene = Scene::new("inherited")?;
    scene
        .sql()?
        .batch("CREATE TABLE special (extra text) INHERITS (orders); ALTER TABLE special ADD PRIMARY KEY (id)")?;
    let daemon = opened(&scene)?;
    scene.sql()?.batch("INSERT INTO special VALUES (100, 'X')")?;
    ends_well(&scene, daemon, 2)
}

/// What moves rows about without changing them.
/// Faults: DDL-18, DDL-20.
#[test]
fn rows_that_are_moved_are_no_changes() -> Result<()> {
    let scene = Scene::new("moved")?;
    let daemon = opened(&scene)?;
    let sql = scene.sql()?;
    scene.insert(2, 20)?;
    sql.batch("VACUUM FULL orders")?;
    sql.batch("CLUSTER orders USING orders_pkey")?;
    sql.batch("CREATE INDEX CONCURRENTLY by_status ON orders (status)")?;
    sql.batch("REINDEX TABLE CONCURRENTLY orders")?;
    sql.batch("ALTER TABLE orders ADD other int DEFAULT 7, ALTER note TYPE varchar(100)")?;
    scene.read("orders", 20)?;
    ends_well(&scene, daemon, 21)
}
