//! Partitioned tables that are published by their root, read leaf by leaf.

use std::collections::BTreeMap;

use serde_json::Value;
use walwright::decode::CopyRows;
use walwright::model::{Datum, Leaf};
use walwright::source::{ChunkTable, KeyPart, Keys};

use super::chunks::{Chunks, key_text};
use super::initial::{caught_up, killed_while_read, same, shop, while_written};
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::seen::Seen;
use crate::support::{Result, poll};

impl Chunks {
    fn leaves(&self) -> Result<std::result::Result<Vec<Leaf>, &'static str>> {
        let leaves = self.runtime.block_on(async {
            self.reader.begin(&self.table).await?;
            let leaves = self.reader.leaves(&self.table).await?;
            self.reader.end().await?;
            Ok::<_, walwright::error::Error>(leaves)
        })?;
        Ok(leaves)
    }

    /// Where the keys of the leaf are now; None: nobody knows.
    fn part(&self, leaf: &Leaf) -> Result<Option<ChunkTable>> {
        Ok(self.runtime.block_on(self.table.part(self.reader.sql(), leaf))?)
    }

    /// The rows of a part, each column as text, and their keys as the stream would send them.
    fn rows(&self, part: &ChunkTable) -> Result<(Vec<String>, Keys)> {
        let bytes = self.runtime.block_on(async {
            let taken = self.reader.begin(part).await?;
            assert!(taken.is_some());
            let bytes = self.reader.rows(part, None, None, None, Vec::new()).await?;
            self.reader.end().await?;
            Ok::<_, walwright::error::Error>(bytes)
        })?;
        let (slots, width) = (part.slots(), part.key_names().count());
        let (mut rows, mut texts, mut keys) = (CopyRows::new(&bytes, &slots)?, Vec::new(), Keys::new(width));
        while let Some(row) = rows.next_row()? {
            let bytes = |index| match row.get(index) {
                Datum::Text(bytes) | Datum::Binary(bytes) => bytes,
                _ => &[],
            };
            keys.push((0..width).map(bytes));
            texts.push(key_text(part, row)?.join(","));
        }
        Ok((texts, keys))
    }

    fn leaf_of(&self, keys: &Keys, leaves: &[Leaf]) -> Result<Vec<Option<(usize, usize)>>> {
        let part = |leaf| KeyPart { condition: Some(leaf), bounds: Vec::new() };
        let parts: Vec<KeyPart<'_>> = leaves.iter().map(|leaf| part(leaf.condition.as_str())).collect();
        Ok(self.runtime.block_on(self.table.locate(self.reader.sql(), keys, &parts))?)
    }
}

/// Of a table whose key's columns come first: its leaves are what Postgres says, each is read by itself, and each key lies
/// in the leaf in which its row is.
fn leaves(ddl: &str, expected: usize) -> Result<()> {
    let scene = Scene::new("leaves")?;
    scene.sql()?.batch(ddl)?;
    let chunks = Chunks::of(&scene, "t")?;
    let leaves = chunks.leaves()?.map_err(str::to_owned)?;
    assert_eq!(leaves.len(), expected);
    let mut count = 0;
    for (nth, leaf) in leaves.iter().enumerate() {
        let (texts, keys) = chunks.rows(&chunks.part(leaf)?.ok_or("lost")?)?;
        let held: i64 = scene.sql()?.value(&format!("SELECT count(*) FROM t WHERE tableoid = {}", leaf.oid))?;
        assert_eq!((texts.len() as i64, chunks.leaf_of(&keys, &leaves)?), (held, vec![Some((nth, 0)); keys.len()]));
        count += held;
    }
    let all: i64 = scene.sql()?.value("SELECT count(*) FROM t")?;
    assert!(all > 0 && count == all, "{count} of {all}");
    Ok(())
}

#[test]
fn by_ranges_of_dates_and_a_default() -> Result<()> {
    let ddl = "CREATE TABLE t (id bigint, placed timestamptz, v text, PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
        CREATE TABLE t_25 PARTITION OF t FOR VALUES FROM ('2025-01-01 00:00+02') TO ('2026-01-01 00:00+02');
        CREATE TABLE t_27 PARTITION OF t FOR VALUES FROM ('2027-01-01') TO (MAXVALUE); CREATE TABLE t_rest PARTITION OF t DEFAULT;
        INSERT INTO t SELECT i, timestamptz '2024-11-03 12:30:00.25+00' + i * interval '17 days 3 hours', 'x' FROM generate_series(1, 90) i";
    leaves(ddl, 3)
}

/// Faults: DDL-16.
#[test]
fn by_a_list_of_what_must_be_quoted() -> Result<()> {
    let ddl = "CREATE TYPE mood AS ENUM ('it''s \"ok\"', 'sad', 'new');
        CREATE TABLE t (\"place\" mood, \"when \"\"x\" varchar(8) COLLATE \"C\", PRIMARY KEY (\"place\", \"when \"\"x\"))
        PARTITION BY LIST (\"place\");
        CREATE TABLE \"t \"\"1\" PARTITION OF t FOR VALUES IN ('it''s \"ok\"') PARTITION BY LIST (\"when \"\"x\");
        CREATE TABLE t_11 PARTITION OF \"t \"\"1\" FOR VALUES IN ('a\\b', '$1'); CREATE TABLE t_12 PARTITION OF \"t \"\"1\" DEFAULT;
        CREATE TABLE \"t-2\" PARTITION OF t FOR VALUES IN ('sad', 'new');
        INSERT INTO t SELECT m, w FROM unnest(enum_range(NULL::mood)) m, unnest(ARRAY['a\\b', '$1', 'é', '', ' ']) w";
    leaves(ddl, 3)
}

/// One leaf has its columns in another order, and one that is dropped.
#[test]
fn by_hashes_in_two_levels() -> Result<()> {
    let ddl = "CREATE TABLE t (a uuid, b int, v text, PRIMARY KEY (a, b)) PARTITION BY HASH (a, b);
        CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY HASH (b);
        CREATE TABLE t_10 PARTITION OF t_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE t_11 (v text, gone int, b int NOT NULL, a uuid NOT NULL); ALTER TABLE t_11 DROP gone;
        ALTER TABLE t_1 ATTACH PARTITION t_11 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO t SELECT md5(i::text)::uuid, i, 'x' FROM generate_series(1, 80) i";
    leaves(ddl, 3)
}

#[test]
fn a_default_partition_alone_has_all_keys() -> Result<()> {
    leaves(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t_rest PARTITION OF t DEFAULT;
         INSERT INTO t SELECT generate_series(1, 9)",
        1,
    )
}

/// What cannot be told by the key is read as one table.
#[test]
fn what_cannot_be_read_leaf_by_leaf() -> Result<()> {
    let scene = Scene::new("oneleaf")?;
    let sql = scene.sql()?;
    sql.batch(
        "CREATE TABLE upper (region text, id int, day int) PARTITION BY LIST (region);
         CREATE TABLE inner_key PARTITION OF upper FOR VALUES IN ('x') PARTITION BY RANGE (day);
         ALTER TABLE inner_key ADD PRIMARY KEY (id, day); CREATE TABLE inner_1 PARTITION OF inner_key DEFAULT;
         CREATE TABLE bare (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE sorted (v text COLLATE \"en-x-icu\") PARTITION BY RANGE (v COLLATE \"C\"); CREATE TABLE sorted_1 PARTITION OF sorted DEFAULT",
    )?;
    for (table, why) in [
        ("inner_key", "its key does not have all columns by which it is partitioned"),
        ("sorted", "its key does not have all columns by which it is partitioned"),
        ("bare", "it has no partitions"),
    ] {
        assert_eq!(Chunks::of(&scene, table)?.leaves()?, Err(why), "{table}");
    }
    Ok(())
}

/// Keys are read where they lie, whatever becomes of the leaf that had them.
#[test]
fn the_keys_of_a_leaf_stay_the_same() -> Result<()> {
    let scene = Scene::new("moved")?;
    let sql = scene.sql()?;
    sql.batch(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10);
         CREATE TABLE t_2 PARTITION OF t DEFAULT PARTITION BY HASH (id);
         CREATE TABLE t_20 PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE t_21 PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO t SELECT generate_series(0, 29)",
    )?;
    let chunks = Chunks::of(&scene, "t")?;
    let leaves = chunks.leaves()?.map_err(str::to_owned)?;
    let keys = |leaf: usize| chunks.rows(&chunks.part(&leaves[leaf])?.ok_or("lost")?).map(|(texts, _)| texts.len());
    let before = (keys(0)?, keys(1)? + keys(2)?);
    assert_eq!(before, (10, 20));

    // Another name, and another table with the same keys.
    sql.batch("ALTER TABLE t_1 RENAME TO \"T 1\"")?;
    assert_eq!(keys(0)?, 10);
    let old = chunks.part(&leaves[0])?.ok_or("lost")?;
    sql.batch(
        "BEGIN; ALTER TABLE t DETACH PARTITION \"T 1\"; CREATE TABLE t_1a PARTITION OF t FOR VALUES FROM (0) TO (4);
         CREATE TABLE t_1b PARTITION OF t FOR VALUES FROM (4) TO (10); INSERT INTO t SELECT * FROM \"T 1\" WHERE id <> 5;
         DROP TABLE \"T 1\"; COMMIT",
    )?;
    assert_eq!(chunks.runtime.block_on(chunks.reader.begin(&old))?, None);
    assert_eq!(keys(0)?, 9);
    // Hashes that nobody counts any more.
    let old = chunks.part(&leaves[1])?.ok_or("lost")?;
    sql.batch("ALTER TABLE t DETACH PARTITION t_2; INSERT INTO t_1b VALUES (5)")?;
    assert_eq!((keys(1)? + keys(2)?, keys(0)?), (0, 10));
    let elsewhere = chunks.part(&leaves[1])?.ok_or("lost")?;
    sql.batch("DROP TABLE t_2")?;
    assert_eq!(chunks.part(&leaves[1])?, None);
    for part in [old, elsewhere] {
        assert_eq!(chunks.runtime.block_on(chunks.reader.begin(&part))?, None);
    }
    Ok(())
}

/// Ids below 10,000 by their hash in two leaves; then a leaf whose columns stand in another order; then the rest.
const ORDERS: &str = "
DROP TABLE orders;
CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, amount numeric(12,2), note text) PARTITION BY RANGE (id);
CREATE TABLE orders_low PARTITION OF orders FOR VALUES FROM (0) TO (10000) PARTITION BY HASH (id);
CREATE TABLE orders_0 PARTITION OF orders_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE orders_1 PARTITION OF orders_low FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE orders_high (note text, gone int, amount numeric(12,2), id bigint NOT NULL, status text NOT NULL);
ALTER TABLE orders_high DROP gone;
ALTER TABLE orders ATTACH PARTITION orders_high FOR VALUES FROM (10000) TO (20000);
CREATE TABLE orders_rest PARTITION OF orders DEFAULT;";

/// A shop whose orders are partitioned, `1..=orders`.
fn partitioned(name: &str, orders: i64) -> Result<Scene> {
    let scene = shop(name, 0)?;
    let sql = scene.sql()?;
    sql.batch(ORDERS)?;
    sql.batch(&format!("INSERT INTO orders SELECT i, 'OLD', 1, 'n' || i FROM generate_series(1, {orders}) i"))?;
    let (publication, role) = (scene.slot(), &scene.name);
    sql.batch(&format!(
        "ALTER PUBLICATION {publication} ADD TABLE orders; ALTER PUBLICATION {publication} SET (publish_via_partition_root = true);
         GRANT SELECT ON orders, orders_0, orders_1, orders_high, orders_rest TO {role}"
    ))?;
    Ok(scene)
}

/// The only snapshot that the daemon tells of, once it is so.
fn until(daemon: &Daemon, scene: &Scene, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let seen = poll(WITHIN, || {
        let said = daemon.get(&format!("/connectors/{}/snapshots", scene.name))?;
        let body = said.split_once("\r\n\r\n").map_or(said.as_str(), |(_, body)| body);
        let tables: Vec<Value> = serde_json::from_str(body)?;
        let [table] = &tables[..] else { return Ok(None) };
        assert_eq!(table["table"], "public.orders");
        Ok(Some(table.clone()).filter(&is_so))
    })?;
    seen.ok_or_else(|| "the snapshot does not get there".into())
}

fn is_done(table: &Value) -> bool {
    table["state"] == "done"
}

fn slowly(scene: &Scene, rows_per_second: u32) -> Result<()> {
    scene.connector("mode = \"initial\"", &format!("mode = \"initial\"\nrows_per_second = {rows_per_second}"))
}

/// A row moves within its leaf, into another leaf, and into one that is made meanwhile.
/// Faults: DDL-14.
#[test]
fn writers_go_on_while_leaves_are_read() -> Result<()> {
    let scene = partitioned("leafwriters", 30_000)?;
    scene.sql()?.batch("CREATE SEQUENCE moved START 100001; CREATE SEQUENCE far START 200001")?;
    slowly(&scene, 15_000)?;
    let write = |i: &mut i64| {
        *i = (*i * 7_919 + 13) % 29_989;
        format!(
            "UPDATE orders SET note = note || '.' WHERE id = {i}; DELETE FROM orders WHERE id = {i} + 1;
             INSERT INTO orders VALUES ({i} + 1, 'NEW', 2, 'again') ON CONFLICT DO NOTHING;
             UPDATE orders SET id = nextval('moved') WHERE id = {i} + 2;
             UPDATE orders SET id = nextval('far') WHERE id = (SELECT max(id) FROM orders WHERE id < 30000 AND id <> {i})"
        )
    };
    let daemon = while_written(&scene, &[3], write, || {
        let daemon = scene.open()?;
        until(&daemon, &scene, |table| table["rows"].as_u64() > Some(2_000))?;
        // What lies in it so far is in the default partition, and goes to the new one.
        scene.sql()?.batch(
            "BEGIN; LOCK TABLE orders; CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM orders WHERE id >= 200000;
             DELETE FROM orders WHERE id >= 200000; CREATE TABLE orders_new PARTITION OF orders FOR VALUES FROM (200000) TO (MAXVALUE);
             INSERT INTO orders SELECT * FROM kept; COMMIT",
        )?;
        until(&daemon, &scene, is_done)?;
        Ok(daemon)
    })?;
    caught_up(&scene)?;
    let log = daemon.log()?;
    assert_eq!(log.matches("a partitioned table is read leaf by leaf").count(), 1, "{log}");
    scene.finish(daemon)?;
    same(&scene)
}

/// An order is announced once, be it read or inserted, in whatever leaf, and whatever is killed.
#[test]
fn each_order_of_a_partitioned_table_is_announced_once() -> Result<()> {
    let scene = partitioned("leafannounced", 0)?;
    let sql = scene.sql()?;
    scene.connector("on = [\"insert\", \"update\", \"rekey\", \"read\"]", "on = [\"insert\", \"read\"]")?;
    slowly(&scene, 2_500)?;
    sql.batch("INSERT INTO orders SELECT i * 2, 'OLD', 1, repeat('x', 100) FROM generate_series(1, 14000) i")?;
    scene.push()?;
    let write = |id: &mut i64| {
        *id = (*id + 7_919 * 2) % 60_000;
        format!("INSERT INTO orders VALUES ({id} | 1, 'NEW', 2) ON CONFLICT DO NOTHING")
    };
    let between = |kills| {
        if kills == 2 {
            let made = "BEGIN; LOCK TABLE orders; DELETE FROM orders WHERE id >= 50000;
                CREATE TABLE orders_new PARTITION OF orders FOR VALUES FROM (50000) TO (60001); COMMIT";
            scene.sql()?.batch(made)?;
        }
        Ok(())
    };
    let (mut last, kills) = while_written(&scene, &[1], write, || killed_while_read(&scene, 4, between))?;
    caught_up(&scene)?;
    last.terminate(WITHIN)?;
    assert!(kills >= 3, "{kills}");
    let seen = scene.read_all("orders")?;
    let is_kept = |key: &&str| key.parse::<i64>().is_ok_and(|id| id < 50_000);
    let mut announced: Vec<&str> =
        seen.iter().filter(|seen| seen.value.is_some()).map(|seen| seen.key.as_str()).collect();
    // Of those above, some were deleted and placed anew.
    announced.retain(|key| is_kept(key));
    announced.sort_unstable();
    let rows = scene.sql()?.query("SELECT id::text FROM orders WHERE id < 50000", &[])?;
    let mut due: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    due.sort_unstable();
    assert_eq!(announced.len(), due.len());
    assert!(announced == due);
    scene.watched()
}

/// Someone holds one leaf for a while: the others are read. Then it is gone, and the snapshot ends without it.
/// Faults: DDL-14.
#[test]
fn a_leaf_that_is_locked_and_then_dropped_keeps_nobody_waiting() -> Result<()> {
    let scene = partitioned("leafdropped", 25_000)?;
    slowly(&scene, 10_000)?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    until(&daemon, &scene, |table| table["rows"].as_u64() > Some(6_000))?;
    sql.batch("BEGIN; LOCK TABLE ONLY orders_rest IN ACCESS EXCLUSIVE MODE")?;
    until(&daemon, &scene, |table| table["rows"].as_u64() >= Some(19_999))?;
    // A change of a key that is still to be read, in the leaf that goes.
    sql.batch("UPDATE orders_rest SET note = 'late' WHERE id = 24000; COMMIT; ALTER TABLE orders DETACH PARTITION orders_rest; DROP TABLE orders_rest")?;
    let done = until(&daemon, &scene, is_done)?;
    sql.batch("CREATE TABLE orders_last PARTITION OF orders FOR VALUES FROM (20000) TO (90000); INSERT INTO orders VALUES (21000, 'NEW', 1, 'n')")?;
    caught_up(&scene)?;
    assert_eq!(done["rows"].as_u64(), Some(19_999), "{done}");
    scene.finish(daemon)?;
    same(&scene)
}

/// Partitions are made anew, with other bounds, of rows that are still to be read.
/// Faults: DDL-14.
#[test]
fn leaves_that_are_cut_anew_while_their_keys_pend() -> Result<()> {
    let scene = partitioned("leafcut", 25_000)?;
    slowly(&scene, 10_000)?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    until(&daemon, &scene, |table| table["rows"].as_u64() > Some(500))?;
    sql.batch(
        "BEGIN; LOCK TABLE orders; ALTER TABLE orders DETACH PARTITION orders_rest;
         CREATE TABLE orders_20 PARTITION OF orders FOR VALUES FROM (20000) TO (22000); CREATE TABLE orders_22 PARTITION OF orders DEFAULT;
         INSERT INTO orders SELECT * FROM orders_rest WHERE id % 10 <> 0; DROP TABLE orders_rest;
         UPDATE orders SET note = 'after' WHERE id % 100 = 1; COMMIT",
    )?;
    until(&daemon, &scene, is_done)?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    same(&scene)
}

/// The table by which rows were hashed goes: nobody can tell its keys any more.
#[test]
fn a_table_of_hashes_that_is_dropped_begins_the_snapshot_anew() -> Result<()> {
    let scene = partitioned("leaflost", 25_000)?;
    slowly(&scene, 4_000)?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    until(&daemon, &scene, |table| table["rows"].as_u64() > Some(500))?;
    sql.batch(
        "BEGIN; LOCK TABLE orders; CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM orders_low WHERE id % 2 = 0;
         DELETE FROM orders_low; DROP TABLE orders_low; CREATE TABLE orders_first PARTITION OF orders FOR VALUES FROM (0) TO (10000);
         INSERT INTO orders SELECT * FROM kept; COMMIT",
    )?;
    sql.batch(&format!("GRANT SELECT ON orders_first TO {}", scene.name))?;
    let done = until(&daemon, &scene, is_done)?;
    assert_eq!(done["variant"], "backfill", "{done}");
    caught_up(&scene)?;
    assert!(daemon.log()?.contains("the snapshot begins anew"));
    scene.finish(daemon)?;
    same(&scene)
}

/// Postgres tells of a truncate of the root, and of none of a leaf alone. Whatever is there afterwards is announced.
/// Faults: DDL-13.
#[test]
fn truncates_of_a_leaf_and_of_the_root_while_leaves_are_read() -> Result<()> {
    let scene = partitioned("leaftruncated", 25_000)?;
    scene.connector("unmatched = \"filter\"", "unmatched = \"filter\"\ntruncate = \"filter\"")?;
    slowly(&scene, 5_000)?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    until(&daemon, &scene, |table| table["rows"].as_u64() > Some(500))?;
    sql.batch(
        "TRUNCATE orders_high; INSERT INTO orders SELECT i, 'NEW', 2, 'second' FROM generate_series(10000, 10500) i",
    )?;
    until(&daemon, &scene, |table| table["rows"].as_u64() > Some(6_000))?;
    sql.batch(
        "BEGIN; TRUNCATE orders; INSERT INTO orders SELECT i, 'NEW', 3, 'third' FROM generate_series(1, 25000, 5) i; COMMIT;
         UPDATE orders SET note = 'fourth' WHERE id % 3 = 0",
    )?;
    until(&daemon, &scene, is_done)?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    let note = |seen: &Seen| seen.field("note").as_str().map(str::to_owned);
    let last: BTreeMap<&str, Option<String>> = seen.iter().map(|seen| (seen.key.as_str(), note(seen))).collect();
    for row in scene.sql()?.query("SELECT id::text, note FROM orders", &[])? {
        let (id, note): (String, String) = (row.get(0), row.get(1));
        assert_eq!(last.get(id.as_str()), Some(&Some(note)), "{id}");
    }
    Ok(())
}

/// A right on the root alone is enough, as it is for whoever queries it: then it is read as one table.
#[test]
fn a_root_whose_leaves_may_not_be_read_is_read_as_one() -> Result<()> {
    let scene = partitioned("leafforbidden", 12_000)?;
    let role = &scene.name;
    scene.sql()?.batch(&format!("REVOKE SELECT ON orders_1 FROM {role}"))?;
    let daemon = scene.open()?;
    until(&daemon, &scene, is_done)?;
    caught_up(&scene)?;
    assert!(daemon.log()?.contains("not all partitions are tables that the role may read"));
    scene.finish(daemon)?;
    same(&scene)
}

/// A backfill of some rows, by a condition that names the table.
#[test]
fn some_rows_of_a_root_are_read_again() -> Result<()> {
    let scene = partitioned("leafagain", 25_000)?;
    scene.connector("mode = \"initial\"", "mode = \"none\"")?;
    let daemon = scene.open()?;
    let url = format!("http://{}", daemon.admin());
    let condition = "orders.id % 5 = 0 AND note <> 'n10'";
    scene.says(&["snapshot", &scene.name, "--url", &url, "--table", "public.orders", "--where", condition])?;
    let done = until(&daemon, &scene, is_done)?;
    assert_eq!((done["rows"].as_u64(), &done["variant"]), (Some(4_999), &"backfill".into()), "{done}");
    assert!(daemon.log()?.contains("leaf by leaf"));
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    assert!(seen.len() == 4_999 && seen.iter().all(|seen| seen.field("meta")["capture"] == "BACKFILL"));
    Ok(())
}

/// Seconds from asking for the snapshot of so many leaves of so many rows to its end.
fn measured(name: &str, leaves: i64, rows: i64, by_leaf: bool) -> Result<f64> {
    let scene = partitioned(name, 0)?;
    let (sql, role) = (scene.sql()?, &scene.name);
    sql.batch("DROP TABLE orders_low, orders_high, orders_rest")?;
    for leaf in 0..leaves {
        let (from, to) = (leaf * rows, (leaf + 1) * rows);
        sql.batch(&format!(
            "CREATE TABLE leaf_{leaf} PARTITION OF orders FOR VALUES FROM ({from}) TO ({to}); GRANT SELECT ON leaf_{leaf} TO {role}"
        ))?;
    }
    let count = leaves * rows;
    sql.batch(&format!(
        "INSERT INTO orders SELECT i, 'OLD', 1, 'n' || i FROM generate_series(0, {count} - 1) i; ANALYZE"
    ))?;
    if !by_leaf {
        sql.batch(&format!("REVOKE SELECT ON leaf_0 FROM {role}"))?;
    }
    let daemon = scene.open()?;
    let done = until(&daemon, &scene, is_done)?;
    let now: i64 = sql.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8")?;
    assert_eq!(done["rows"].as_i64(), Some(count), "{done}");
    println!("{leaves} leaves of {rows}, by leaf {by_leaf}: {} chunks", done["chunks"]);
    scene.finish(daemon)?;
    Ok((now - done["asked_us"].as_i64().unwrap_or_default()) as f64 / 1e6)
}

#[test]
#[ignore = "a measurement"]
fn how_long_many_leaves_take() -> Result<()> {
    for (leaves, rows) in [(200, 500), (200, 5_000), (800, 500)] {
        let seconds = |name, by_leaf| measured(name, leaves, rows, by_leaf);
        let (by_leaf, as_one) = (seconds("leafbyleaf", true)?, seconds("leafasone", false)?);
        println!(
            "{leaves} leaves of {rows}: by leaf {by_leaf:.2} s, as one {as_one:.2} s, ratio {:.2}",
            as_one / by_leaf
        );
    }
    Ok(())
}
