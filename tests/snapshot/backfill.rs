//! Tables that are read again while the connector streams, at a person's wish.

use serde_json::Value;

use super::initial::{caught_up, same, shop, while_written};
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// The snapshots as `walwright snapshot` shows them, after what it was asked for.
fn asked(scene: &Scene, daemon: &Daemon, more: &[&str]) -> Result<Vec<Value>> {
    let url = format!("http://{}", daemon.admin());
    let said = scene.says(&[&["snapshot", &scene.name, "--url", &url], more].concat())?;
    Ok(serde_json::from_str(&said)?)
}

/// What it complains of, without what all errors of its kind say.
fn refused(scene: &Scene, daemon: &Daemon, more: &[&str]) -> Result<String> {
    let url = format!("http://{}", daemon.admin());
    let said = scene.complaint(&[&["snapshot", &scene.name, "--url", &url], more].concat(), 1)?;
    assert!(said.contains("\n  more: walwright explain command-refused"), "{said}");
    let first = said.lines().next().and_then(|line| line.strip_prefix("error: "));
    let first = first.ok_or("there is no error")?.replace(&daemon.admin().to_string(), "ADDRESS");
    Ok(first.strip_suffix(" (connector NAME)").map(str::to_owned).unwrap_or(first))
}

/// Waits until the snapshot of the orders is so.
fn until(scene: &Scene, daemon: &Daemon, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let seen = poll(WITHIN, || {
        let tables = asked(scene, daemon, &[])?;
        Ok(tables.into_iter().find(|table| table["table"] == "public.orders").filter(&is_so))
    })?;
    seen.ok_or_else(|| "the snapshot does not get there".into())
}

/// A connector that never read what was there.
fn streaming(name: &str, orders: i64) -> Result<Scene> {
    let scene = shop(name, orders)?;
    scene.connector("mode = \"initial\"", "mode = \"none\"")?;
    Ok(scene)
}

/// Faults: SNP-07.
#[test]
fn a_table_is_read_again_beside_the_stream() -> Result<()> {
    let scene = streaming("again", 30_000)?;
    scene.sql()?.batch("CREATE SEQUENCE moved START 100001")?;
    let write = |i: &mut i64| {
        *i = (*i * 7_919 + 13) % 29_989;
        format!(
            "UPDATE orders SET note = note || '.' WHERE id = {i}; DELETE FROM orders WHERE id = {i} + 1;
             INSERT INTO orders VALUES ({i} + 1, 'NEW', 2, 'again') ON CONFLICT DO NOTHING;
             UPDATE orders SET id = nextval('moved') WHERE id = {i} + 2"
        )
    };
    let daemon = while_written(&scene, &[3, 17], write, || {
        let daemon = scene.open()?;
        scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 500.0)?;
        let tables = asked(&scene, &daemon, &["--table", "public.orders"])?;
        assert_eq!((&tables[0]["variant"], &tables[0]["state"]), (&"backfill".into(), &"running".into()));
        let done = until(&scene, &daemon, |table| table["state"] == "done")?;
        assert!(done["rows"].as_u64() > Some(20_000) && done["chunks"].as_u64() > Some(1), "{done}");
        Ok(daemon)
    })?;
    caught_up(&scene)?;
    let rows = scene.metric(&daemon, "walwright_snapshot_rows", &["table=\"public.orders\""])?;
    assert!(rows > 20_000.0);
    scene.finish(daemon)?;
    same(&scene)?;
    let seen = scene.read_all("orders")?;
    let captured = |capture: &str| seen.iter().filter(|seen| seen.field("meta")["capture"] == capture).count();
    let counts = ["BACKFILL", "STREAM", "SNAPSHOT"].map(captured);
    assert!(counts[0] > 20_000 && counts[1] > 500 && counts[2] == 0, "{counts:?} {:?}", seen[0]);
    Ok(())
}

/// Faults: SNP-02.
#[test]
fn a_backfill_goes_on_where_it_was_when_the_daemon_is_killed() -> Result<()> {
    let scene = streaming("killed", 20_000)?;
    scene.connector("mode = \"none\"", "mode = \"none\"\nrows_per_second = 10000")?;
    let mut daemon = scene.open()?;
    asked(&scene, &daemon, &["--table", "public.orders"])?;
    until(&scene, &daemon, |table| table["rows"].as_u64() > Some(5_000))?;
    daemon.kill_hard()?;
    let daemon = scene.start()?;
    let done = until(&scene, &daemon, |table| table["state"] == "done")?;
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), 20_000);
    same(&scene)?;
    assert_eq!(done["rows"], 20_000);
    Ok(())
}

#[test]
fn only_rows_that_fulfil_a_condition_are_read() -> Result<()> {
    let scene = streaming("where", 1_000)?;
    let daemon = scene.open()?;
    asked(&scene, &daemon, &["--table", "public.orders", "--where", "id > 900 OR id = 5 -- not all"])?;
    let done = until(&scene, &daemon, |table| table["state"] == "done")?;
    assert_eq!((&done["rows"], &done["where"]), (&101.into(), &"id > 900 OR id = 5 -- not all".into()));
    assert_eq!(scene.read("orders", 101)?.len(), 101);

    // Conditions that are none, or more than that, are refused before anything is read.
    for (condition, cause) in [
        ("id >", "syntax error at end of input"),
        ("placed > 5", "column \"placed\" does not exist"),
        ("id", "argument of WHERE must be type boolean, not type bigint"),
        ("true) OR (true", "syntax error at or near \")\""),
        ("true; DELETE FROM orders", "cannot insert multiple commands into a prepared statement"),
    ] {
        let said = refused(&scene, &daemon, &["--table", "public.orders", "--where", condition])?;
        assert!(said.contains(cause), "{condition}: {said}");
    }
    // What only the rows show, or the act itself, ends the backfill and not the connector.
    scene.sql()?.batch(&format!("CREATE SEQUENCE counted; GRANT USAGE ON SEQUENCE counted TO {}", scene.name))?;
    for (condition, cause) in [
        ("1 / (id - 950) > 0", "division by zero"),
        ("nextval('public.counted') > 0", "cannot execute nextval() in a read-only transaction"),
    ] {
        asked(&scene, &daemon, &["--table", "public.orders", "--where", condition])?;
        let ended = until(&scene, &daemon, |table| table["state"] == "cancelled")?;
        assert!(ended["waits_for"].as_str().is_some_and(|text| text.contains(cause)), "{ended}");
    }
    scene.insert(2_001, 2_001)?;
    scene.read("orders", 102)?;
    scene.finish(daemon)
}

/// Faults: SNP-10.
#[test]
fn a_snapshot_is_paused_resumed_and_cancelled() -> Result<()> {
    let scene = shop("paused", 30_000)?;
    scene.connector("mode = \"initial\"", "mode = \"initial\"\nrows_per_second = 5000")?;
    let daemon = scene.open()?;
    until(&scene, &daemon, |table| table["rows"].as_u64() > Some(500))?;
    let paused = asked(&scene, &daemon, &["--pause"])?;
    assert_eq!(paused[0]["state"], "paused");
    // What is not read is covered, also while nothing is read, and the unseen set does not grow for ever.
    scene.sql()?.batch("UPDATE orders SET note = 'late' WHERE id > 29000")?;
    caught_up_but_for_rows(&scene)?;
    let still = asked(&scene, &daemon, &[])?;
    assert_eq!(still[0]["rows"], paused[0]["rows"]);
    let forgotten = poll(WITHIN, || {
        let unseen = scene.state()?.checkpoint.and_then(|checkpoint| checkpoint.unseen).unwrap_or_default();
        scene.sql()?.batch("UPDATE orders SET note = 'later' WHERE id = 30000")?;
        Ok((unseen.values().map(Vec::len).sum::<usize>() <= 8).then_some(()))
    })?;
    forgotten.ok_or("the unseen set grows")?;
    assert_eq!(refused(&scene, &daemon, &["--pause"])?, "command-refused: no snapshot is running");

    let resumed = asked(&scene, &daemon, &["--resume", "--table", "public.orders"])?;
    assert_eq!(resumed[0]["state"], "running");
    until(&scene, &daemon, |table| table["rows"].as_u64() > paused[0]["rows"].as_u64())?;
    let cancelled = asked(&scene, &daemon, &["--cancel"])?;
    assert_eq!(cancelled[0]["state"], "cancelled");
    let rows = cancelled[0]["rows"].as_u64();
    caught_up(&scene)?;
    // What comes now is published, whatever was read before.
    scene.insert(40_001, 40_001)?;
    poll(WITHIN, || Ok(scene.read_all("orders")?.iter().any(|seen| seen.key == "40001").then_some(())))?
        .ok_or("the stream is silent")?;
    assert!(rows < Some(30_000));
    scene.finish(daemon)
}

/// All that was committed is on Kafka; what is to be read may pend.
fn caught_up_but_for_rows(scene: &Scene) -> Result<()> {
    let end: walwright::model::Lsn =
        scene.sql()?.value::<String>("SELECT pg_current_wal_flush_lsn()::text")?.parse()?;
    let reached = poll(WITHIN, || Ok(scene.state()?.checkpoint.is_some_and(|at| at.next_lsn >= end).then_some(())))?;
    reached.ok_or_else(|| "the checkpoint does not get there".into())
}

/// Faults: SNP-10.
#[test]
fn what_cannot_be_asked_for_is_refused() -> Result<()> {
    let scene = streaming("unasked", 10)?;
    let mut daemon = scene.open()?;
    let of = |table: &str| refused(&scene, &daemon, &["--table", table]);
    let expected =
        "command-refused: no rule of the connector fires on \"read\" of public.nothing: nothing would be published";
    assert_eq!(of("public.nothing")?, expected);
    for (option, cause) in [("--pause", "running"), ("--resume", "paused"), ("--cancel", "running or paused")] {
        assert_eq!(refused(&scene, &daemon, &[option])?, format!("command-refused: no snapshot is {cause}"));
    }
    // One at a time.
    let sql = scene.sql()?;
    sql.batch("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")?;
    asked(&scene, &daemon, &["--table", "public.orders"])?;
    let twice = of("public.orders")?;
    let expected = "command-refused: public.orders: a snapshot of it is under way, or was until just now; cancel it, or wait for its end";
    assert_eq!(twice, expected);
    sql.batch("COMMIT")?;
    until(&scene, &daemon, |table| table["state"] == "done")?;

    // A connector that is not streaming, and a daemon that is not there.
    drop(sql);
    let sql = scene.sql()?;
    sql.batch(&format!("ALTER PUBLICATION {} DROP TABLE orders", scene.slot()))?;
    scene.unwatched();
    scene.cause(&mut daemon, "publication-mismatch", "halted")?;
    let halted = refused(&scene, &daemon, &["--table", "public.orders"])?;
    assert!(
        halted.starts_with("command-refused: the connector is halted, not streaming: publication-mismatch"),
        "{halted}"
    );
    daemon.kill_hard()?;
    let gone = refused(&scene, &daemon, &[])?;
    assert!(
        gone.starts_with("command-refused: no daemon answers at http://ADDRESS/connectors/NAME/snapshots: "),
        "{gone}"
    );
    Ok(())
}
