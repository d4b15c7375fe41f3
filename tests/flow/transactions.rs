//! Source transactions on Kafka: whole however long, split where it is spelled out, plain under `at_least_once`.

use std::collections::BTreeSet;

use crate::support::Result;
use crate::support::scene::Scene;
use crate::support::seen::Seen;

/// About 4 MiB of events, several of the pieces in which a long transaction leaves.
pub(crate) const LARGE: &str =
    "INSERT INTO orders SELECT i, 'NEW', 1, repeat('x', 200) FROM generate_series(1, 20000) i";
pub(crate) const LARGE_ROWS: usize = 20_000;

pub(crate) fn keys(seen: &[Seen]) -> BTreeSet<i64> {
    seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect()
}

pub(crate) fn ids(seen: &[Seen]) -> BTreeSet<String> {
    seen.iter().map(|seen| seen.id().to_owned()).collect()
}

/// Faults: TXN-01.
#[test]
fn a_large_transaction_arrives_whole_among_small_ones() -> Result<()> {
    let scene = Scene::new("whole")?;
    let daemon = scene.open()?;
    let sql = scene.sql()?;
    sql.batch("INSERT INTO orders VALUES (0, 'NEW')")?;
    sql.batch(LARGE)?;
    sql.batch("INSERT INTO orders VALUES (-1, 'NEW')")?;
    let seen = scene.read("orders", LARGE_ROWS + 2)?;
    assert_eq!((keys(&seen).len(), ids(&seen).len()), (LARGE_ROWS + 2, LARGE_ROWS + 2));
    scene.wait_metric(&daemon, "walwright_transactions_total", &[], |count| count == 3.0)?;
    assert!(scene.metric(&daemon, "walwright_kafka_commits_total", &[])? >= 3.0);
    scene.finish(daemon)
}

/// Faults: TXN-08.
#[test]
fn a_split_transaction_arrives_complete_once_also_across_a_kill() -> Result<()> {
    let scene = Scene::new("split")?;
    scene.connector("[snapshot]", "large_transactions = \"split\"\n\n[snapshot]")?;
    let mut daemon = scene.open()?;
    // More than one group of 16 MiB, so that there is a part on Kafka before the end.
    let rows = 120_000;
    scene
        .sql()?
        .batch(&format!("INSERT INTO orders SELECT i, 'NEW', 1, repeat('x', 200) FROM generate_series(1, {rows}) i"))?;
    scene.read("orders", 1000)?;
    daemon.kill_hard()?;
    let daemon = scene.start()?;
    let seen = scene.read("orders", rows)?;
    assert_eq!((keys(&seen).len(), ids(&seen).len()), (rows, rows));
    scene.insert(rows as i64 + 1, rows as i64 + 1)?;
    let last = scene.read("orders", rows + 1)?;
    assert_eq!(ids(&last).len(), rows + 1);
    scene.finish(daemon)
}

#[test]
fn at_least_once_gives_the_same_events_once_across_a_kill() -> Result<()> {
    let scene = Scene::new("plain")?;
    scene.process("[kafka]", "[kafka]\ndelivery = \"at_least_once\"")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 50)?;
    scene.read("orders", 50)?;
    daemon.kill_hard()?;
    scene.insert(51, 60)?;
    let daemon = scene.start()?;
    scene.insert(61, 70)?;
    scene.wait_metric(&daemon, "walwright_changes_published_total", &[], |count| count >= 20.0)?;
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    assert_eq!(keys(&seen), (1..=70).collect());
    assert_eq!((seen.len(), ids(&seen).len()), (70, 70));
    Ok(())
}

/// Faults: ACK-01.
#[test]
fn committed_rows_are_there_exactly_once_after_kills() -> Result<()> {
    let scene = Scene::new("kills")?;
    let mut daemon = scene.open()?;
    for round in 0..3 {
        scene.insert(round * 20 + 1, round * 20 + 20)?;
        daemon.kill_hard()?;
        daemon = scene.start()?;
    }
    let seen = scene.read("orders", 60)?;
    assert_eq!(keys(&seen), (1..=60).collect());
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), 60);
    Ok(())
}
