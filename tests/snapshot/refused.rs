//! What comes between while rows are read: tables that go, connections that are cut, brokers that are away; and what is
//! never read.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::kafka::{Kafka, Options};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

/// So many orders that are announced, be they read or inserted; a worker reads so many rows a second.
fn shop(scene: Scene, orders: i64, rows_per_second: u32) -> Result<Scene> {
    let rate = format!("mode = \"initial\"\nworkers = 1\nrows_per_second = {rows_per_second}");
    scene.connector("mode = \"none\"", &rate)?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"read\"]")?;
    let sql = scene.sql()?;
    sql.batch(&format!("INSERT INTO orders SELECT i, 'OLD', 1, 'n' || i FROM generate_series(1, {orders}) i"))?;
    sql.batch(&format!("GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}", scene.name))?;
    Ok(scene)
}

/// Adds the rule of `orders` for another table, with a topic of its name.
fn also(scene: &Scene, table: &str) -> Result<()> {
    let own = std::fs::read_to_string(scene.folder.join(format!("connectors/{}.toml", scene.name)))?;
    let own = &own[own.find("[[event]]").ok_or("no event")?..];
    let event =
        own.split("\n[[topic]]").next().unwrap_or_default().replace("public.orders", &format!("public.{table}"));
    let topic = format!("[[topic]]\nname = \"{table}\"\ncreate = {{ partitions = 1, replication = 1 }}\n\n");
    scene
        .connector_more(&format!("\n{topic}{}", event.replace("topic = \"orders\"", &format!("topic = {table:?}"))))?;
    scene.sql()?.batch(&format!("GRANT SELECT ON {table} TO {}", scene.name))
}

/// The kind and the cause of its halt.
fn halt(scene: &Scene, daemon: &mut Daemon) -> Result<(String, String)> {
    let report = daemon.wait_report(&scene.name, WITHIN, |report| report["state"] == "halted")?;
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    assert!(text("remedy").len() > 20, "{report}");
    println!("{report:#}");
    Ok((text("kind"), scene.masked(&text("cause"))))
}

/// Ranges that are published, by their records on the checkpoint topic.
fn done(scene: &Scene, table: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let prefix = format!("progress/public.{table}/");
    Ok(scene.state()?.progress.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect())
}

/// Every range is published, and the stream has passed each of them.
fn read_to_end(scene: &Scene) -> Result<()> {
    let read = poll(WITHIN, || {
        let state = scene.state()?;
        let done = !state.progress.is_empty() && state.checkpoint.is_some_and(|at| at.unseen.is_none());
        Ok(done.then_some(()))
    })?;
    read.ok_or_else(|| "the rows are not read to their end".into())
}

#[test]
fn a_table_that_is_dropped_while_it_is_read_halts_by_name() -> Result<()> {
    let scene = shop(Scene::new("dropped")?, 20_000, 2_000)?;
    let mut daemon = scene.open()?;
    scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 200.0)?;
    scene.sql()?.batch("DROP TABLE orders")?;
    let (kind, cause) = halt(&scene, &mut daemon)?;
    assert_eq!(kind, "schema-mismatch");
    assert!(cause.contains("public.orders") && cause.contains("does not exist"), "{cause}");
    scene.watched()
}

/// What is published is not read again, be the connection cut or the daemon killed: nobody needs the right to read it.
#[test]
fn what_is_read_is_not_read_again_after_a_crash() -> Result<()> {
    let scene = shop(Scene::new("readonce")?, 20_000, 2_000)?;
    let sql = scene.sql()?;
    sql.batch(&format!(
        "CREATE TABLE archived (LIKE orders INCLUDING ALL); INSERT INTO archived SELECT * FROM orders WHERE id <= 1000;
         ALTER PUBLICATION {} ADD TABLE archived",
        scene.slot()
    ))?;
    also(&scene, "archived")?;
    scene.connector("workers = 1", "workers = 2")?;
    let mut daemon = scene.open()?;
    let both = poll(WITHIN, || {
        let archived = scene.state()?.progress.get("progress/public.archived").cloned().unwrap_or_default();
        let archived = String::from_utf8_lossy(&archived).contains("\"state\":\"done\"");
        Ok((archived && !done(&scene, "orders")?.is_empty()).then_some(()))
    })?;
    both.ok_or("the smaller table is not read first")?;
    daemon.kill_hard()?;
    assert!(scene.state()?.checkpoint.is_some_and(|at| at.unseen.is_some()), "the orders were read too fast");
    sql.batch(&format!("REVOKE SELECT ON archived FROM {}", scene.name))?;
    let daemon = scene.start()?;
    read_to_end(&scene)?;
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("archived")?.len(), 1_000);
    scene.exactly(20_000)
}

/// Faults: SNP-03.
#[test]
fn connections_that_are_cut_in_the_middle_of_a_chunk() -> Result<()> {
    let scene = shop(Scene::new("cutoff")?, 20_000, 2_000)?;
    let daemon = scene.open()?;
    let (sql, mut cut) = (scene.sql()?, 0);
    let read = poll(WITHIN, || {
        let sessions = sql.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend'
             AND query ~ '^COPY|pg_current_snapshot|OFFSET|wal_(flush|insert)_lsn'",
            &[&scene.name],
        )?;
        cut += sessions.len();
        Ok(scene.state()?.checkpoint.is_some_and(|at| at.unseen.is_none() && cut > 0).then_some(()))
    })?;
    println!("{cut} connections cut");
    read.ok_or_else(|| format!("the rows are not read to their end, with {cut} connections cut"))?;
    assert!(cut >= 5, "{cut}");
    scene.finish(daemon)?;
    scene.exactly(20_000)
}

#[test]
fn a_broker_that_is_away_while_rows_are_read() -> Result<()> {
    let stack = Stack::shared()?;
    let kafka = Kafka::start(&stack.sandbox, &Options::default().patient())?;
    let scene = Scene::on("brokeraway", &stack.postgres, &kafka, stack.registry.url())?;
    let scene = shop(scene, 20_000, 4_000)?;
    let mut daemon = scene.open()?;
    scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count > 1_000.0)?;
    kafka.signal(0, Signal::STOP)?;
    let cause = scene.cause(&mut daemon, "kafka-unreachable", "retrying");
    kafka.signal(0, Signal::CONT)?;
    println!("{}", cause?);
    read_to_end(&scene)?;
    scene.finish(daemon)?;
    scene.exactly(20_000)
}

/// Wide rows, of which nobody knows before that so many do not fit, and a broker that takes 600 kB a second: of the chunks
/// that go together at first no more than half do.
/// Faults: KF-17.
#[test]
fn a_chunk_that_does_not_fit_into_a_transaction_is_read_in_smaller_ones() -> Result<()> {
    const ORDERS: i64 = 2_500;
    let stack = Stack::shared()?;
    // The coordinator looks for transactions that are over their time as often; a quota counts two seconds together.
    let options = Options::default()
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200")
        .set("quota.window.num", "2");
    let kafka = Kafka::start(&stack.sandbox, &options)?;
    let scene = Scene::on("slowbroker", &stack.postgres, &kafka, stack.registry.url())?;
    let scene = shop(scene, ORDERS, 1_000_000)?;
    scene.sql()?.batch(
        "UPDATE orders SET note = (SELECT string_agg(md5(id || ' ' || i), '') FROM generate_series(1, 128) i)",
    )?;
    scene.process("[registry]", "[kafka.client]\n\"transaction.timeout.ms\" = 4000\n\n[registry]")?;
    kafka.access(&[&["quota", "600000"]])?;
    let mut daemon = scene.open()?;
    let cause = scene.cause(&mut daemon, "transaction-too-long", "retrying")?;
    assert_eq!(
        cause.split(": kafka-transaction: ").next().unwrap_or_default(),
        "transaction-too-long: rows that were read did not get to Kafka within transaction.timeout.ms = 4000: \
         fewer are read at once now; set [snapshot] bytes_per_second if it comes again (connector NAME, table public.orders)"
    );
    read_to_end(&scene)?;
    let log = daemon.log()?;
    assert_eq!(log.matches("did not get to Kafka within").count(), 1, "a quarter of it fits: {log}");
    scene.finish(daemon)?;
    scene.exactly(ORDERS)
}

/// Faults: SNP-04.
#[test]
fn a_large_table_without_a_key_is_refused_by_name() -> Result<()> {
    let scene = shop(Scene::new("keyless")?, 10, 1_000)?;
    let sql = scene.sql()?;
    sql.batch(&format!(
        "CREATE TABLE heap (LIKE orders); ALTER TABLE heap ALTER note SET STORAGE EXTERNAL;
         INSERT INTO heap SELECT i, 'OLD', 1, repeat('x', 65000) FROM generate_series(1, 1100) i;
         ALTER PUBLICATION {} ADD TABLE heap",
        scene.slot()
    ))?;
    also(&scene, "heap")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let (kind, cause) = halt(&scene, &mut daemon)?;
    assert_eq!(kind, "replica-identity");
    let expected = "a table without a key is read at once, up to 64 MiB; this one has 7";
    assert!(cause.contains(expected) && cause.contains("table public.heap"), "{cause}");
    daemon.kill_hard()?;
    // As the remedy says; what was inserted meanwhile is not lost.
    sql.batch("ALTER TABLE heap ADD PRIMARY KEY (id)")?;
    let daemon = scene.start()?;
    scene.read("heap", 1_100)?;
    read_to_end(&scene)?;
    scene.finish(daemon)
}

/// Faults: DDL-17.
#[test]
fn foreign_tables_and_views_are_not_read() -> Result<()> {
    let scene = shop(Scene::new("notables")?, 10, 1_000)?;
    scene.sql()?.batch(
        "CREATE VIEW viewed AS SELECT * FROM orders; CREATE EXTENSION file_fdw;
         CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE remote (id bigint, status text, amount numeric(12,2), note text)
             SERVER files OPTIONS (filename '/dev/null')",
    )?;
    also(&scene, "viewed")?;
    also(&scene, "remote")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let (kind, cause) = halt(&scene, &mut daemon)?;
    assert_eq!(kind, "schema-mismatch");
    let expected = "schema-mismatch: 2 faults\n  \
        - public.remote, which rules name, is a foreign table, and Postgres publishes the rows of tables only: name the tables that its rows come from\n  \
        - public.viewed, which rules name, is a view, and Postgres publishes the rows of tables only: name the tables that its rows come from (connector NAME)";
    assert_eq!(cause, expected);
    Ok(())
}
