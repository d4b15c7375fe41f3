//! The wall clock of the daemon's machine is set, by hours; those of the servers stay as they are.

use std::time::{Duration, Instant};

use super::{ends_well, pass, while_placing};
use crate::support::daemon::Daemon;
use crate::support::kafka::{Kafka, Options};
use crate::support::scene::{Scene, WITHIN, place};
use crate::support::seen::Reader;
use crate::support::stack::Stack;
use crate::support::wall_clock::WallClock;
use crate::support::{Result, poll};

/// The longest that events may keep their readers waiting: `/readyz` would turn red a little later.
const STALL: Duration = Duration::from_secs(10);

/// A daemon by this clock.
fn launch(scene: &Scene, clock: &WallClock) -> Result<Daemon> {
    let mut daemon = scene.launch_with(&clock.environment()?)?;
    daemon.wait_ready(WITHIN)?;
    Ok(daemon)
}

/// The longest time between two of the next `count` records.
fn longest_wait(reader: &mut Reader, count: usize) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let begun = Instant::now();
        reader.read(1, WITHIN)?;
        longest = longest.max(begun.elapsed());
    }
    Ok(longest)
}

/// Its clock is so many hours ahead of the server's, and it goes on; its lag is none or some.
fn is_well(scene: &Scene, daemon: &Daemon, ahead: i64) -> Result<()> {
    let written = scene.metric(daemon, "walwright_checkpoint_timestamp_seconds", &[])?;
    let now: f64 = scene.sql()?.value("SELECT extract(epoch FROM now())::float8")?;
    assert_eq!(((written - now) / 3600.0).round(), ahead as f64);
    let report = daemon.report(&scene.name).unwrap_or_default();
    assert_eq!((&report["ready"], &report["state"]), (&true.into(), &"streaming".into()), "{report}");
    let lag = scene.metric(daemon, "walwright_lag_seconds", &[])?;
    assert!(lag >= 0.0, "{lag}");
    Ok(())
}

/// Faults: PRC-13.
#[test]
fn set_forward_and_back_under_load() -> Result<()> {
    let scene = Scene::new("clock_load")?;
    let clock = WallClock::new(&scene.folder)?;
    scene.push()?;
    let mut daemon = launch(&scene, &clock)?;
    let (sql, mut reader) = (scene.sql()?, scene.reader("orders")?);
    let last = while_placing(&sql, 0, |_| {
        for ahead in [0, 5, -5, 0, -1, -24, 24] {
            clock.set(ahead)?;
            let longest = longest_wait(&mut reader, 400)?;
            println!("{ahead} h ahead: {longest:?} at the longest, {} waits moved", clock.moved_waits()?);
            assert!(longest < STALL, "{longest:?}");
            is_well(&scene, &daemon, ahead)?;
        }
        Ok(())
    })?;
    scene.read("orders", usize::try_from(last)?)?;
    daemon.wait_ready(WITHIN)?;
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds == 0.0)?;
    ends_well(&scene, daemon, last + 1)
}

/// Checkpoint and takeover record are those of a time to come, or long past.
/// Faults: PRC-13.
#[test]
fn started_with_a_clock_hours_behind_or_ahead_of_the_last_ones() -> Result<()> {
    let scene = Scene::new("clock_starts")?;
    let clock = WallClock::new(&scene.folder)?;
    scene.push()?;
    for (order, ahead) in (1..).zip([5, -5, 0, -24, 24]) {
        clock.set(ahead)?;
        let mut daemon = launch(&scene, &clock)?;
        scene.insert(order, order)?;
        scene.read("orders", usize::try_from(order)?)?;
        is_well(&scene, &daemon, ahead)?;
        daemon.kill_hard()?;
    }
    ends_well(&scene, scene.start()?, 6)
}

/// Who waits then waits for an hour longer, unless something comes that ends it.
/// Faults: PRC-13.
#[test]
fn set_back_while_nothing_is_published() -> Result<()> {
    let scene = Scene::new("clock_idle")?;
    let clock = WallClock::new(&scene.folder)?;
    scene.push()?;
    let mut daemon = launch(&scene, &clock)?;
    let alone = clients(&daemon)?;
    let sql = scene.sql()?;
    let mut last = 0;
    while clients(&daemon)? == alone {
        place(&sql, last + 1, last + 50)?;
        last += 50;
    }
    // A minute after the load the other producers are given up.
    pass(Duration::from_secs(50))?;
    clock.set(-1)?;
    pass(Duration::from_secs(15))?;
    let begun = Instant::now();
    scene.insert(last + 1, last + 1)?;
    scene.read("orders", usize::try_from(last + 1)?)?;
    println!("published after {:?}, {} waits moved", begun.elapsed(), clock.moved_waits()?);
    assert!(begun.elapsed() < STALL, "{:?}", begun.elapsed());
    daemon.wait_ready(WITHIN)?;
    let given_up = poll(WITHIN, || Ok((clients(&daemon)? <= alone).then_some(())))?;
    assert!(given_up.is_some(), "the other producers are not given up");
    ends_well(&scene, daemon, last + 2)
}

/// The clients of Kafka that a daemon has.
fn clients(daemon: &Daemon) -> Result<usize> {
    let mut clients = 0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", daemon.id()))?.flatten() {
        // A thread may end meanwhile.
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        clients += usize::from(name == "rdk:main\n");
    }
    Ok(clients)
}

/// Faults: PRC-13.
#[test]
fn set_back_just_before_a_stop() -> Result<()> {
    let scene = Scene::new("clock_stop")?;
    let clock = WallClock::new(&scene.folder)?;
    scene.push()?;
    let sql = scene.sql()?;
    for (round, ahead) in (0..).zip([-1, -2, -3]) {
        let mut daemon = launch(&scene, &clock)?;
        place(&sql, 1 + round * 100, 100 + round * 100)?;
        scene.read("orders", usize::try_from(100 + round * 100)?)?;
        clock.set(ahead)?;
        let begun = Instant::now();
        let status = daemon.terminate(WITHIN)?;
        println!("ended after {:?}: {status}", begun.elapsed());
        assert!(status.success(), "{status}");
    }
    ends_well(&scene, scene.start()?, 301)
}

/// Faults: PRC-13.
#[test]
fn set_back_while_kafka_is_away() -> Result<()> {
    let stack = Stack::shared()?;
    let mut kafka = Kafka::start(&stack.sandbox, &Options::default())?;
    let scene = Scene::on("clock_away", &stack.postgres, &kafka, stack.registry.url())?;
    let clock = WallClock::new(&scene.folder)?;
    scene.push()?;
    let mut daemon = launch(&scene, &clock)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    kafka.kill_hard(0)?;
    scene.insert(2, 2)?;
    clock.set(-1)?;
    kafka.restart(0)?;
    let begun = Instant::now();
    scene.read("orders", 2)?;
    println!("published after {:?}, {} waits moved", begun.elapsed(), clock.moved_waits()?);
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 3)
}
