//! The network: bytes that come in pieces, late, one way only, or not to the end.

use std::time::Duration;

use rustix::process::Signal;

use super::{ends_well, opened, walsender};
use crate::support::proxy::{Proxy, Side};
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// Faults: PG-04.
#[test]
fn nothing_that_postgres_says_arrives() -> Result<()> {
    let scene = Scene::new("deafened")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = opened(&scene)?;
    proxy.swallow_from(Side::Server);
    let cause = scene.cause(&mut daemon, "postgres-unreachable", "retrying")?;
    assert!(cause.contains("the server has said nothing for 25."), "{cause}");
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 2)
}

/// The server misses us, and ends the connection.
/// Faults: PG-04.
#[test]
fn nothing_that_we_say_arrives_at_postgres() -> Result<()> {
    let scene = Scene::new("silenced")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} SET wal_sender_timeout = '2s'", scene.name))?;
    let proxy = scene.through_proxy()?;
    let daemon = opened(&scene)?;
    let before = walsender(&scene)?;
    proxy.swallow_from(Side::Client);
    let another = poll(WITHIN, || Ok(walsender(&scene)?.filter(|pid| Some(*pid) != before)))?;
    another.ok_or("there is no other walsender")?;
    ends_well(&scene, daemon, 2)
}

/// The slot has heard nothing of what Kafka has: it comes again, and is not published again.
/// Faults: ACK-04.
#[test]
fn no_status_update_arrives_before_the_daemon_is_killed() -> Result<()> {
    let scene = Scene::new("untold")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = opened(&scene)?;
    proxy.swallow_from(Side::Client);
    scene.insert(2, 20)?;
    scene.read("orders", 20)?;
    daemon.kill_hard()?;
    let next = scene.state()?.checkpoint.ok_or("there is no checkpoint")?.next_lsn;
    let behind = format!(
        "SELECT confirmed_flush_lsn < '{next}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    assert!(scene.sql()?.value::<bool>(&behind)?);
    scene.end_walsender()?;
    ends_well(&scene, scene.start()?, 21)
}

/// Cuts the connection that is there, and a new one when this side has said so many bytes; meanwhile orders are written.
fn cut_at(scene: &Scene, proxy: &Proxy, cuts: &[(Side, usize)], next: &mut i64) -> Result<()> {
    let mut reader = scene.reader("orders")?;
    let mut read = 0;
    for (side, count) in cuts {
        proxy.cut(*side, *count, 2);
        let cut = poll(WITHIN, || {
            *next += 1;
            scene.insert(*next, *next)?;
            Ok((proxy.cuts_left() == 0).then_some(()))
        })?;
        cut.ok_or_else(|| format!("no connection brought {count} bytes of the {side:?}"))?;
        // What has worked begins anew with short pauses.
        let last = usize::try_from(*next)?;
        reader.read(last - read, WITHIN)?;
        read = last;
    }
    Ok(())
}

/// Faults: PG-08.
#[test]
fn the_way_to_postgres_comes_in_pieces_and_is_cut_anywhere() -> Result<()> {
    let scene = Scene::new("pieces")?;
    let proxy = scene.through_proxy()?;
    proxy.slice(Some(1));
    let mut daemon = opened(&scene)?;
    proxy.slice(Some(7));
    scene.insert(2, 20)?;
    scene.read("orders", 20)?;
    proxy.slice(None);
    let mut last = 20;
    let cuts = [
        (Side::Client, 0),
        (Side::Client, 30),
        (Side::Client, 500),
        (Side::Server, 0),
        (Side::Server, 1),
        (Side::Server, 7),
        (Side::Server, 100),
        (Side::Server, 600),
        (Side::Server, 1500),
    ];
    cut_at(&scene, &proxy, &cuts, &mut last)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, last + 1)
}

/// In the middle of what is sent, and of what is answered.
/// Faults: KF-01, KF-06.
#[test]
fn the_way_to_kafka_is_cut_anywhere() -> Result<()> {
    let scene = Scene::new("kafkacuts")?;
    let front = scene.through_front()?;
    let mut daemon = opened(&scene)?;
    let mut last = 1;
    let counts = [10, 400, 1500, 3000];
    let cuts: Vec<_> = counts.iter().flat_map(|count| [(Side::Client, *count), (Side::Server, *count)]).collect();
    cut_at(&scene, &front, &cuts, &mut last)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, last + 1)
}

/// Faults: KF-17.
#[test]
fn a_slow_way_to_kafka() -> Result<()> {
    let scene = Scene::new("slowkafka")?;
    let front = scene.through_front()?;
    let daemon = opened(&scene)?;
    front.limit(Some(100_000));
    front.delay(Duration::from_millis(20));
    // Not to be compressed.
    scene.sql()?.batch(
        "INSERT INTO orders SELECT i, 'NEW', 1, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 60) j)
         FROM generate_series(2, 300) i",
    )?;
    scene.read("orders", 300)?;
    front.limit(None);
    front.delay(Duration::ZERO);
    assert!(!daemon.log()?.contains("connector retries"));
    ends_well(&scene, daemon, 301)
}

/// Many small transactions that had to wait are one Kafka transaction, or few.
/// Faults: TXN-11.
#[test]
fn what_gathers_while_kafka_is_away_is_committed_at_once() -> Result<()> {
    let scene = Scene::new("gathered")?;
    let front = scene.through_front()?;
    let daemon = opened(&scene)?;
    let commits = scene.metric(&daemon, "walwright_kafka_commits_total", &[])?;
    front.hold();
    scene.insert(2, 200)?;
    front.release();
    scene.read("orders", 200)?;
    let commits = scene.metric(&daemon, "walwright_kafka_commits_total", &[])? - commits;
    assert!(commits < 40.0, "{commits} commits of 199 transactions");
    ends_well(&scene, daemon, 201)
}

/// The whole machine sleeps: what came meanwhile is delivered all at once.
/// Faults: PRC-03.
#[test]
fn frozen_for_longer_than_any_timeout_of_the_transaction() -> Result<()> {
    let scene = Scene::new("slept")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} SET wal_sender_timeout = '2s'", scene.name))?;
    scene.process("[registry]", "[kafka.client]\n\"transaction.timeout.ms\" = 2000\n\n[registry]")?;
    let mut daemon = opened(&scene)?;
    daemon.signal(Signal::STOP)?;
    scene.insert(2, 30)?;
    super::pass(Duration::from_secs(6))?;
    daemon.signal(Signal::CONT)?;
    scene.read("orders", 30)?;
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 31)
}
