//! The first start on a database that is full of rows, while it is written to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use walwright::model::Lsn;

use super::change::until;
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::sql::Sql;
use crate::support::{Result, poll};

/// A shop with so many orders, of which each is announced as an event, be it read or inserted.
pub(super) fn shop(name: &str, orders: i64) -> Result<Scene> {
    let scene = Scene::new(name)?;
    scene.connector("mode = \"none\"", "mode = \"initial\"")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\", \"rekey\", \"read\"]")?;
    scene.connector("replication = 1 }", "replication = 1 }\nconfig = { \"cleanup.policy\" = \"compact\" }")?;
    scene.connector_more("\n[[tombstone]]\ntable = \"public.orders\"\ntopic = \"orders\"\nkey = \"old.id\"\n")?;
    let sql = scene.sql()?;
    sql.batch(&format!("INSERT INTO orders SELECT i, 'OLD', 1, 'n' || i FROM generate_series(1, {orders}) i"))?;
    sql.batch(&format!("GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}", scene.name))?;
    Ok(scene)
}

/// The topic folded by key is the table.
pub(super) fn same(scene: &Scene) -> Result<()> {
    let mut folded = BTreeMap::new();
    for seen in scene.read_all("orders")? {
        if seen.value.is_none() {
            folded.remove(&seen.key);
        } else {
            let text = |field: &str| seen.field(field).as_str().map(str::to_owned);
            folded.insert(seen.key.clone(), (text("status"), text("note")));
        }
    }
    let rows = scene.sql()?.query("SELECT id::text, status, note FROM orders", &[])?;
    let table: BTreeMap<String, _> = rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    assert_eq!(folded.len(), table.len());
    assert!(folded == table, "{:?}", folded.iter().zip(&table).find(|(a, b)| a != b));
    Ok(())
}

/// All that was there and all that was committed is on Kafka.
pub(super) fn caught_up(scene: &Scene) -> Result<()> {
    let end: Lsn = scene.sql()?.value::<String>("SELECT pg_current_wal_flush_lsn()::text")?.parse()?;
    let reached = poll(WITHIN, || {
        let checkpoint = scene.state()?.checkpoint;
        Ok(checkpoint.is_some_and(|at| at.next_lsn >= end && at.unseen.is_none()).then_some(()))
    })?;
    reached.ok_or_else(|| "the checkpoint does not get there".into())
}

/// What `body` gives, while each of the sessions runs what `write` makes of its seed, again and again.
pub(super) fn while_written<T>(
    scene: &Scene,
    seeds: &[i64],
    write: impl Fn(&mut i64) -> String + Sync,
    body: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let ended = AtomicBool::new(false);
    let session = |sql: Sql, mut seed: i64| -> Result<()> {
        while !ended.load(Ordering::Relaxed) {
            sql.batch(&write(&mut seed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        // Also where the body fails: a scope waits for its threads.
        let _end = Ended(&ended);
        let mut writers = Vec::new();
        for seed in seeds {
            let sql = scene.sql()?;
            writers.push(scope.spawn(|| session(sql, *seed)));
        }
        let got = body()?;
        ended.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(got)
    })
}

/// Kills the daemon as soon as something more was read, so often at most; `between` hears how often it was. The daemon that
/// read the rest, and the number of kills.
pub(super) fn killed_while_read(
    scene: &Scene,
    kills_max: u32,
    between: impl Fn(u32) -> Result<()>,
) -> Result<(Daemon, u32)> {
    let mut kills = 0;
    loop {
        let mut daemon = scene.start()?;
        let before = scene.state()?.progress;
        let moved = poll(WITHIN, || {
            let state = scene.state()?;
            let done = state.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.unseen.is_none());
            let done = done && !state.progress.is_empty();
            Ok((done || kills < kills_max && state.progress != before).then_some(done))
        })?;
        if moved.ok_or("the snapshot stands still")? {
            return Ok((daemon, kills));
        }
        daemon.kill_hard()?;
        kills += 1;
        between(kills)?;
    }
}

/// Ends the writers when it goes.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn rows_that_exist_are_read_and_then_it_streams() -> Result<()> {
    let scene = shop("existing", 10_000)?;
    let daemon = scene.open()?;
    let seen = scene.read("orders", 10_000)?;
    assert!(seen.iter().all(|seen| seen.field("status") == "OLD"));
    scene.insert(10_001, 10_003)?;
    scene.read("orders", 10_003)?;
    scene.finish(daemon)?;
    same(&scene)?;
    // Done is done.
    let daemon = scene.start()?;
    scene.insert(10_004, 10_004)?;
    scene.read("orders", 10_004)?;
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), 10_004);
    Ok(())
}

/// Faults: SNP-01.
#[test]
fn writers_go_on_while_rows_are_read() -> Result<()> {
    let scene = shop("writers", 40_000)?;
    scene.sql()?.batch("CREATE SEQUENCE moved START 100001")?;
    let write = |i: &mut i64| {
        *i = (*i * 7_919 + 13) % 39_989;
        format!(
            "UPDATE orders SET note = note || '.' WHERE id = {i}; DELETE FROM orders WHERE id = {i} + 1;
             INSERT INTO orders VALUES ({i} + 1, 'NEW', 2, 'again') ON CONFLICT DO NOTHING;
             UPDATE orders SET id = nextval('moved') WHERE id = {i} + 2"
        )
    };
    let daemon = while_written(&scene, &[3, 17], write, || {
        let daemon = scene.open()?;
        scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 45_000.0)?;
        Ok(daemon)
    })?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    same(&scene)
}

/// What a snapshot may not read is told before it starts, and halts it; the stream has lost nothing once it may.
/// Faults: SNP-09.
#[test]
fn rows_that_may_not_be_read_halt_by_name() -> Result<()> {
    let scene = shop("forbidden", 100)?;
    let sql = scene.sql()?;
    sql.batch(&format!("REVOKE SELECT ON orders FROM {}", scene.name))?;
    scene.push()?;
    let warned = scene.says(&["check", "--live"])?;
    let expected = "warn NAME warning: public.orders: the role may not read the rows that are there already; run what \
                    `walwright grants NAME` prints";
    assert!(warned.contains(expected), "{warned}");
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "permission", "halted")?;
    assert!(cause.contains("permission denied for table orders") && cause.contains("table public.orders"), "{cause}");
    drop(daemon);

    sql.batch(&format!(
        "GRANT SELECT ON orders TO {0}; ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
         CREATE POLICY few ON orders FOR SELECT TO {0} USING (id < 10)",
        scene.name
    ))?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "permission", "halted")?;
    assert!(cause.contains("query would be affected by row-level security policy for table \"orders\""), "{cause}");
    drop(daemon);

    sql.batch("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")?;
    let daemon = scene.start()?;
    scene.read("orders", 100)?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    // What was read is never read again: nobody needs the right for it.
    sql.batch(&format!("REVOKE SELECT ON orders FROM {}", scene.name))?;
    let daemon = scene.start()?;
    scene.insert(101, 101)?;
    scene.read("orders", 101)?;
    scene.finish(daemon)
}

/// Chunks come between the pieces of a transaction that is too long to gather.
#[test]
fn a_long_transaction_while_rows_are_read() -> Result<()> {
    let scene = shop("longread", 30_000)?;
    scene.connector("mode = \"initial\"", "mode = \"initial\"\nrows_per_second = 20000")?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 2_000.0)?;
    sql.batch("UPDATE orders SET note = repeat('y', 300) WHERE id % 2 = 0")?;
    sql.batch(
        "BEGIN; DELETE FROM orders WHERE id > 10000;
         INSERT INTO orders SELECT i, 'BACK', 3 FROM generate_series(20001, 25000) i; COMMIT",
    )?;
    caught_up(&scene)?;
    scene.wait_metric(&daemon, "walwright_changes_covered_total", &[], |count| count > 0.0)?;
    scene.finish(daemon)?;
    same(&scene)
}

/// A subscriber that counts facts: an order placed while the snapshot runs is announced once, be it read or inserted, also
/// where the daemon is killed again and again.
/// Faults: SNP-02.
#[test]
fn each_order_is_announced_once_whatever_is_killed() -> Result<()> {
    let scene = Scene::new("announced")?;
    scene.connector("mode = \"none\"", "mode = \"initial\"\nrows_per_second = 10000")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"read\"]")?;
    let sql = scene.sql()?;
    sql.batch("INSERT INTO orders SELECT i * 2, 'OLD', 1, repeat('x', 200) FROM generate_series(1, 60000) i")?;
    sql.batch(&format!("GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}", scene.name))?;
    scene.push()?;
    let write = |id: &mut i64| {
        *id = (*id + 7_919 * 2) % 120_000;
        format!("INSERT INTO orders VALUES ({id} | 1, 'NEW', 2) ON CONFLICT DO NOTHING")
    };
    let (mut last, kills) = while_written(&scene, &[1], write, || killed_while_read(&scene, 6, |_| Ok(())))?;
    caught_up(&scene)?;
    last.terminate(WITHIN)?;
    println!("{kills} kills");
    assert!(kills >= 3, "{kills}");
    let seen = scene.read_all("orders")?;
    let mut announced: Vec<&str> = seen.iter().map(|seen| seen.key.as_str()).collect();
    announced.sort_unstable();
    let rows = scene.sql()?.query("SELECT id::text FROM orders", &[])?;
    let mut due: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    due.sort_unstable();
    assert_eq!(announced.len(), due.len());
    assert!(announced == due);
    scene.watched()
}

/// One table is read, and another, without a key, in one chunk, while a third takes ten minutes: what changes in the first
/// two meanwhile is published. Without the limit on rows the rest is read at once.
/// Faults: SNP-07.
#[test]
fn a_table_that_is_read_streams_while_another_is_read_still() -> Result<()> {
    let scene = Scene::new("severaltables")?;
    scene.connector("mode = \"none\"", "mode = \"initial\"\nrows_per_second = 50")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"read\"]")?;
    let sql = scene.sql()?;
    sql.batch(
        "INSERT INTO orders SELECT i, 'OLD', 1 FROM generate_series(1, 60000) i;
         CREATE TABLE archived (LIKE orders INCLUDING ALL); CREATE TABLE keyless (LIKE orders);
         INSERT INTO archived SELECT * FROM orders WHERE id <= 200; INSERT INTO keyless SELECT * FROM archived",
    )?;
    let own = std::fs::read_to_string(scene.folder.join(format!("connectors/{}.toml", scene.name)))?;
    let event = &own[own.find("[[event]]").ok_or("no event")?..];
    for table in ["archived", "keyless"] {
        let topic = format!("[[topic]]\nname = \"{table}\"\ncreate = {{ partitions = 1, replication = 1 }}\n\n");
        let rules = event.replace("public.orders", &format!("public.{table}"));
        scene.connector_more(&format!(
            "\n{topic}{}",
            rules.replace("topic = \"orders\"", &format!("topic = {table:?}"))
        ))?;
        sql.batch(&format!("ALTER PUBLICATION {} ADD TABLE {table}", scene.slot()))?;
        sql.batch(&format!("GRANT SELECT ON orders, {table} TO {}", scene.name))?;
    }
    sql.batch(&format!("GRANT USAGE ON SCHEMA public TO {}", scene.name))?;
    let daemon = scene.open()?;
    sql.batch("INSERT INTO archived VALUES (201, 'NEW', 2); INSERT INTO keyless VALUES (201, 'NEW', 2)")?;
    for table in ["archived", "keyless"] {
        scene.read(table, 201)?;
        sql.batch(&format!("INSERT INTO {table} SELECT i, 'NEW', 2 FROM generate_series(202, 211) i"))?;
        scene.read(table, 211)?;
    }
    scene.finish(daemon)?;
    assert!(scene.state()?.checkpoint.is_some_and(|checkpoint| checkpoint.unseen.is_some()));
    scene.connector("rows_per_second = 50", "")?;
    let daemon = scene.start()?;
    caught_up(&scene)?;
    scene.finish(daemon)?;
    for (table, count) in [("orders", 60_000), ("archived", 211), ("keyless", 211)] {
        assert_eq!(scene.read_all(table)?.len(), count, "{table}");
    }
    Ok(())
}

/// A worker that waits for the lock behind an ALTER reads the table as it is then, not as it was when it asked.
/// Faults: SNP-08.
#[test]
fn a_column_that_is_retyped_while_rows_are_read_halts() -> Result<()> {
    let scene = shop("retyped", 20_000)?;
    scene.connector("mode = \"initial\"", "mode = \"initial\"\nrows_per_second = 2000")?;
    let mut daemon = scene.open()?;
    scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 200.0)?;
    let (sql, watch) = (scene.sql()?, scene.sql()?);
    sql.batch("BEGIN; ALTER TABLE orders ALTER note TYPE integer USING 7")?;
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted";
    let waited = poll(WITHIN, || Ok((watch.value::<i64>(waits)? > 0).then_some(())))?;
    waited.ok_or("no worker waits for the lock")?;
    sql.batch("COMMIT")?;
    let cause = scene.cause(&mut daemon, "schema-mismatch", "halted")?;
    assert!(cause.contains("public.orders") && cause.contains("note"), "{cause}");
    let seen = scene.read_all("orders")?;
    assert!(seen.iter().all(|seen| seen.field("note").as_str().is_some_and(|note| note.starts_with('n'))));
    scene.watched()
}

/// A chunk is in memory, so few wide rows make one, from the first on.
/// Faults: SNP-05.
#[test]
fn wide_rows_are_read_few_at_once() -> Result<()> {
    const CHUNKS_MIN: u64 = 8;
    let scene = shop("wide", 1)?;
    let sql = scene.sql()?;
    sql.batch(
        "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;
         INSERT INTO orders SELECT i, 'OLD', 1, repeat('n', 100000) FROM generate_series(2, 200) i",
    )?;
    let daemon = scene.open()?;
    scene.read("orders", 200)?;
    let done = until(&daemon, &scene, "public.orders", |table| table["state"] == "done")?;
    // 200 rows of 100 kB in chunks of at most 2 MiB; nobody has analyzed the table.
    assert!(done["chunks"].as_u64() >= Some(CHUNKS_MIN), "{done}");
    scene.finish(daemon)?;
    same(&scene)
}

/// A column that no rule on `read` uses is not asked for: nothing is sent of it, however wide it is.
#[test]
fn columns_that_no_rule_reads_are_left_in_the_database() -> Result<()> {
    let scene = shop("unread", 1)?;
    scene.connector("mode = \"initial\"", "mode = \"initial\"\nworkers = 1")?;
    let sql = scene.sql()?;
    sql.batch(
        "ALTER TABLE orders ADD scan text; ALTER TABLE orders ALTER scan SET STORAGE EXTERNAL;
         ALTER TABLE orders SET (autovacuum_enabled = false, toast.autovacuum_enabled = false);
         INSERT INTO orders SELECT i, 'OLD', 1, 'n', repeat('n', 100000) FROM generate_series(2, 100) i",
    )?;
    let count = |what: &str| {
        sql.value::<i64>(&format!(
            "SELECT ({what})::bigint FROM pg_stat_user_tables t JOIN pg_statio_user_tables b USING (relid) WHERE t.relname = 'orders'"
        ))
    };
    const ROWS: &str = "seq_tup_read + idx_tup_fetch";
    const TOAST: &str = "toast_blks_read + toast_blks_hit";
    // What this session did itself is counted first.
    sql.batch("SELECT pg_stat_force_next_flush()")?;
    let (rows, toast) = (count(ROWS)?, count(TOAST)?);
    let daemon = scene.open()?;
    scene.read("orders", 100)?;
    scene.finish(daemon)?;
    // The server counts what a session did at its end at the latest.
    poll(WITHIN, || Ok((count(ROWS)? >= rows + 100).then_some(())))?.ok_or("the rows were not counted")?;
    assert_eq!(count(TOAST)?, toast, "pages of the wide column were read");
    same(&scene)
}
