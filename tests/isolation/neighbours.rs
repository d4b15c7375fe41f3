//! A good connector beside one that is halted, one whose database goes up and down, and one that panics.

use std::time::{Duration, Instant};

use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::scene::{Scene, WITHIN};
use crate::support::seen::Reader;
use crate::support::stack::Stack;

/// Inserts orders one by one, each when the one before is visible; the time that each took, sorted.
fn latencies(scene: &Scene, reader: &mut Reader, ids: std::ops::RangeInclusive<i64>) -> Result<Vec<Duration>> {
    let one = |id| {
        let begun = Instant::now();
        scene.insert(id, id)?;
        reader.read(1, WITHIN)?;
        Ok(begun.elapsed())
    };
    let mut all = ids.map(one).collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn state(daemon: &mut Daemon, connector: &str, state: &str) -> Result<serde_json::Value> {
    daemon.wait_report(connector, WITHIN, |report| report["state"] == state)
}

#[test]
fn one_halted_and_one_flapping_leave_the_good_one_alone() -> Result<()> {
    let stack = Stack::shared()?;
    let mut own = Postgres::start(&stack.sandbox, Options::default())?;
    let scene = Scene::new("good")?;
    own.create_database(&scene.name)?;
    scene.furnish(&own.sql(&scene.name)?)?;
    let port = |server: &Postgres| format!("port = {}", server.address().port());
    let flapping = scene.sibling("flapping")?;
    scene.replace(&format!("connectors/{flapping}.toml"), &port(&stack.postgres), &port(&own))?;
    let halted = scene.sibling("halted")?;
    let publication = format!("publication = \"walwright_{}\"", scene.name);
    scene.replace(&format!("connectors/{halted}.toml"), &publication, "publication = \"nowhere\"")?;
    scene.push()?;

    let mut daemon = scene.launch()?;
    let good = scene.name.clone();
    state(&mut daemon, &good, "streaming")?;
    state(&mut daemon, &flapping, "streaming")?;
    assert_eq!(state(&mut daemon, &halted, "halted")?["kind"], "publication-missing");
    let mut reader = scene.reader("orders")?;
    let alone = latencies(&scene, &mut reader, 1..=40)?;
    let mut beside = Vec::new();
    for round in 1..=3 {
        own.stop(Stop::Immediate)?;
        state(&mut daemon, &flapping, "retrying")?;
        beside.extend(latencies(&scene, &mut reader, round * 40 + 1..=round * 40 + 20)?);
        own.restart()?;
        own.sql(&scene.name)?.batch(&format!("INSERT INTO orders VALUES ({round}, 'PLACED')"))?;
        beside.extend(latencies(&scene, &mut reader, round * 40 + 21..=round * 40 + 40)?);
        state(&mut daemon, &flapping, "streaming")?;
    }
    beside.sort();
    let (was, is) = (alone[alone.len() / 2], beside[beside.len() / 2]);
    println!("median {was:?} alone, {is:?} beside the others; longest {:?} and {:?}", alone.last(), beside.last());
    assert!(is < was * 5 + Duration::from_millis(100), "median {was:?} alone, {is:?} beside the others");

    assert_eq!(scene.read("flapping", 3)?.len(), 3);
    assert_eq!(scene.read_all("flapping")?.len(), 3);
    assert_eq!(scene.read_all("orders")?.len(), 160);
    assert_eq!(scene.metric(&daemon, "walwright_retries_total", &[])?, 0.0);
    assert_eq!(scene.metric(&daemon, "walwright_changes_published_total", &[])?, 160.0);
    assert_eq!(state(&mut daemon, &halted, "halted")?["kind"], "publication-missing");
    scene.finish(daemon)
}

/// Which of the two connectors is halted by a panic, once one is.
#[cfg(feature = "faults")]
fn panicked(daemon: &Daemon, connectors: [&str; 2]) -> Result<String> {
    let halted = crate::support::poll(WITHIN, || {
        let mut reports = connectors.into_iter().map(|name| (name, daemon.report(name).unwrap_or_default()));
        Ok(reports.find(|(_, report)| report["state"] == "halted"))
    })?;
    let (name, report) = halted.ok_or("nobody halts")?;
    assert_eq!(report["kind"], "bug");
    assert_eq!(report["cause"], format!("bug: a thread panicked: a failpoint (connector {name})"));
    Ok(name.to_owned())
}

/// Faults: PRC-12.
#[cfg(feature = "faults")]
#[test]
fn a_panic_of_the_committer_halts_its_connector_and_no_other() -> Result<()> {
    let scene = Scene::new("panics")?;
    let other = scene.sibling("calm")?;
    scene.push()?;
    let mut daemon = scene.launch_with(&[("WALWRIGHT_FAILPOINT", "group-begun:1:panic")])?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 3)?;
    let topic = if panicked(&daemon, [&scene.name, &other])? == scene.name { "calm" } else { "orders" };
    assert_eq!(scene.read(topic, 3)?.len(), 3);
    // Everything is still there for the next start.
    assert!(daemon.terminate(WITHIN)?.success());
    let daemon = scene.start()?;
    for topic in ["orders", "calm"] {
        assert_eq!(scene.read(topic, 3)?.len(), 3);
        assert_eq!(scene.read_all(topic)?.len(), 3);
    }
    scene.finish(daemon)
}

/// Faults: PRC-12.
#[cfg(feature = "faults")]
#[test]
fn a_panic_of_a_connectors_own_thread_halts_it_and_no_other() -> Result<()> {
    let scene = Scene::new("startled")?;
    let other = scene.sibling("calm")?;
    scene.push()?;
    let mut daemon = scene.launch_with(&[("WALWRIGHT_FAILPOINT", "judged:1:panic")])?;
    let halted = panicked(&daemon, [&scene.name, &other])?;
    let (running, topic) = if halted == scene.name { (&other, "calm") } else { (&scene.name, "orders") };
    state(&mut daemon, running, "streaming")?;
    scene.insert(1, 3)?;
    assert_eq!(scene.read(topic, 3)?.len(), 3);
    assert!(daemon.terminate(WITHIN)?.success());
    Ok(())
}
