//! What changes while tables are, or were, read: their keys, the connector file, the slot.

use rustix::process::Signal;
use serde_json::Value;
use walwright::checkpoint::record::State;

use super::initial::{caught_up, same, shop};
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// What the daemon says of the snapshot of a table.
fn progress(daemon: &Daemon, scene: &Scene, table: &str) -> Result<Option<Value>> {
    let said = daemon.get(&format!("/connectors/{}/snapshots", scene.name))?;
    let body = said.split_once("\r\n\r\n").map_or(said.as_str(), |(_, body)| body);
    let tables: Vec<Value> = serde_json::from_str(body)?;
    Ok(tables.into_iter().find(|known| known["table"] == table))
}

pub(super) fn until(daemon: &Daemon, scene: &Scene, table: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let seen = poll(WITHIN, || Ok(progress(daemon, scene, table)?.filter(&is_so)))?;
    seen.ok_or_else(|| format!("the snapshot of {table} does not get there").into())
}

/// Another key for the orders: in the reverse order, and with the columns that the rules need.
const OTHER_KEY: &str = "
ALTER TABLE orders ADD COLUMN place text COLLATE \"C\";
UPDATE orders SET place = 'p' || (1000000 - id);
ALTER TABLE orders ALTER place SET NOT NULL;
CREATE UNIQUE INDEX orders_place ON orders (place, id);";

/// Faults: DDL-07.
#[test]
fn a_table_whose_identity_changes_while_it_is_read_begins_anew() -> Result<()> {
    let scene = shop("rekeyed", 20_000)?;
    scene.sql()?.batch(OTHER_KEY)?;
    scene.connector("mode = \"initial\"", "mode = \"initial\"\nrows_per_second = 5000")?;
    let daemon = scene.open()?;
    until(&daemon, &scene, "public.orders", |table| table["rows"].as_u64() > Some(3_000))?;
    let sql = scene.sql()?;
    sql.batch("ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_place")?;
    sql.batch(
        "UPDATE orders SET note = 'late' WHERE id % 3 = 0; DELETE FROM orders WHERE id % 7 = 0;
         INSERT INTO orders SELECT i, 'NEW', 1, 'new', 'q' || i FROM generate_series(20001, 20100) i",
    )?;
    let done = until(&daemon, &scene, "public.orders", |table| table["state"] == "done")?;
    caught_up(&scene)?;
    let log = daemon.log()?;
    assert_eq!(log.matches("a table's key has changed while its rows are read: it begins anew").count(), 1, "{log}");
    assert_eq!(done["rows"].as_u64(), Some(17_143 + 100), "{done}");
    scene.finish(daemon)?;
    same(&scene)
}

/// Faults: PRC-16.
#[test]
fn a_table_that_is_named_anew_is_read_and_one_that_is_not_named_is_left() -> Result<()> {
    let scene = shop("named", 500)?;
    let sql = scene.sql()?;
    sql.batch("CREATE TABLE archived (LIKE orders INCLUDING ALL); INSERT INTO archived SELECT * FROM orders")?;
    let daemon = scene.open()?;
    scene.read("orders", 500)?;

    // Named in the file and added to the publication: a reload reads what was there before.
    sql.batch(&format!(
        "ALTER PUBLICATION {0} ADD TABLE archived; GRANT SELECT ON archived TO {1}",
        scene.slot(),
        scene.name
    ))?;
    let file = format!("connectors/{}.toml", scene.name);
    let before = std::fs::read_to_string(scene.folder.join(&file))?;
    let rules = &before[before.find("[[event]]").ok_or("no event")?..];
    let rules = rules.replace("public.orders", "public.archived").replace("topic = \"orders\"", "topic = \"archived\"");
    scene.connector_more(&format!(
        "\n[[topic]]\nname = \"archived\"\ncreate = {{ partitions = 1, replication = 1 }}\n\
         config = {{ \"cleanup.policy\" = \"compact\" }}\n\n{rules}"
    ))?;
    scene.push()?;
    daemon.signal(Signal::HUP)?;
    until(&daemon, &scene, "public.archived", |table| table["state"] == "done" && table["variant"] == "initial")?;
    assert_eq!(scene.read("archived", 500)?.len(), 500);
    // The other one was read already.
    assert_eq!(scene.read_all("orders")?.len(), 500);

    // Named no longer: nothing is known of it any more, and named again it is read again.
    let with_archived = std::fs::read_to_string(scene.folder.join(&file))?;
    scene.write(&file, &before)?;
    daemon.signal(Signal::HUP)?;
    let known = |state: &State| state.progress.keys().any(|key| key.starts_with("progress/public.archived"));
    let gone = poll(WITHIN, || Ok((!known(&scene.state()?)).then_some(())))?;
    gone.ok_or("the table is known still")?;
    scene.write(&file, &with_archived)?;
    daemon.signal(Signal::HUP)?;
    until(&daemon, &scene, "public.archived", |table| table["state"] == "done")?;
    assert_eq!(scene.read("archived", 1_000)?.len(), 1_000);
    scene.finish(daemon)
}

/// A table that has streamed has subscribers: an initial snapshot would leave out deletes that they are to know of.
#[test]
fn a_table_that_streamed_without_being_read_is_read_only_when_asked_for() -> Result<()> {
    let scene = shop("streamed", 100)?;
    scene.connector("mode = \"initial\"", "mode = \"none\"")?;
    let daemon = scene.open()?;
    scene.insert(101, 101)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
    scene.connector("mode = \"none\"", "mode = \"initial\"")?;
    let daemon = scene.start()?;
    let known = progress(&daemon, &scene, "public.orders")?.ok_or("nothing is known of the table")?;
    assert_eq!((&known["state"], &known["rows"]), (&"cancelled".into(), &0.into()));
    scene.insert(102, 102)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)
}

#[test]
fn what_a_gap_has_lost_is_read_again_by_a_resync() -> Result<()> {
    let scene = shop("resynced", 1_000)?;
    let daemon = scene.open()?;
    scene.read("orders", 1_000)?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    assert_eq!(
        scene.says(&["resync", &scene.name, "--yes"])?,
        "connector NAME has no gap: nothing was done; `walwright snapshot NAME --table ..` reads a table again"
    );
    // The slot goes, and with it what is committed before the next one is there.
    let sql = scene.sql()?;
    sql.query("SELECT pg_drop_replication_slot($1)", &[&scene.slot()])?;
    sql.batch("UPDATE orders SET note = 'unseen' WHERE id <= 10; INSERT INTO orders VALUES (1001, 'NEW', 1); DELETE FROM orders WHERE id = 500")?;
    scene.unwatched();
    scene.halts("slot-missing")?;
    let shown = scene.says(&["resync", &scene.name, "--dry-run"])?;
    assert!(shown.contains("\nread again: public.orders\nnever told: deletes in the gap"), "{shown}");
    let said = scene.says(&["resync", &scene.name, "--yes"])?;
    assert!(
        said.lines().last().is_some_and(|line| line.ends_with("reads the tables beside; restart or reload the daemon")),
        "{said}"
    );
    assert_eq!(scene.state()?.checkpoint.map(|checkpoint| checkpoint.epoch), Some(1));
    let daemon = scene.start()?;
    until(&daemon, &scene, "public.orders", |table| table["state"] == "done" && table["variant"] == "backfill")?;
    scene.insert(1_002, 1_002)?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    // All that is in the table is told; the delete is not, as was said.
    sql.batch("INSERT INTO orders VALUES (500, 'OLD', 1, 'n500')")?;
    same(&scene)
}
