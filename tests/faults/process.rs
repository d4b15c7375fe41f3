//! What comes over the process itself: signals, limits, a log that nobody reads, other names.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{ends_well, opened, pass};
use crate::support::scene::{Scene, WITHIN, place};
use crate::support::{Fault, Result, poll};

/// Faults: PRC-01.
#[test]
fn stopped_again_and_again_under_load() -> Result<()> {
    const ORDERS: i64 = 400;
    let scene = Scene::new("sigterm")?;
    let mut daemon = opened(&scene)?;
    let sql = scene.sql()?;
    let daemon = std::thread::scope(|scope| {
        let writer = scope.spawn(|| place(&sql, 2, ORDERS));
        let mut reader = scene.reader("orders")?;
        for _ in 0..4 {
            reader.read(60, WITHIN)?;
            let status = daemon.terminate(WITHIN)?;
            assert!(status.success(), "{status}");
            daemon = scene.start()?;
        }
        writer.join().map_err(|_| "the writer panicked")??;
        Ok::<_, Fault>(daemon)
    })?;
    ends_well(&scene, daemon, ORDERS + 1)
}

/// Faults: PRC-02, ACK-05.
#[test]
fn stopped_while_kafka_is_a_black_hole() -> Result<()> {
    let scene = Scene::new("darkstop")?;
    let front = scene.through_front()?;
    let mut daemon = opened(&scene)?;
    front.hold();
    scene.insert(2, 2)?;
    // The server's position goes far past what waits, and is not confirmed: the slot is watched.
    scene.sql()?.batch("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)")?;
    pass(Duration::from_secs(3))?;
    let begun = Instant::now();
    let status = daemon.terminate(WITHIN)?;
    println!("ended after {:.1} s: {status}", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(60));
    scene.watched()?;
    front.release();
    ends_well(&scene, scene.start()?, 3)
}

/// Nobody reads the log, and the pipe to whoever should is full.
/// Faults: PRC-18.
#[test]
fn a_log_that_nobody_reads_holds_nothing_up() -> Result<()> {
    let scene = Scene::new("fullpipe")?;
    scene.push()?;
    let pipe = scene.folder.join("log.pipe");
    let full = format!("mkfifo {0}; exec 3<>{0}; head -c 65536 /dev/zero >&3; exec 2>&3", pipe.display());
    let mut daemon = scene.launch_behind(&full)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    assert!(scene.end_walsender()?);
    ends_well(&scene, daemon, 3)
}

/// Nothing but the log is written to a disk.
/// Faults: PRC-05.
#[test]
fn a_log_on_a_full_disk_holds_nothing_up() -> Result<()> {
    let scene = Scene::new("fulldisk")?;
    scene.push()?;
    let mut daemon = scene.launch_behind("exec 2>/dev/full")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    assert!(scene.end_walsender()?);
    ends_well(&scene, daemon, 3)
}

/// Faults: PRC-14.
#[test]
fn too_few_files_may_be_open() -> Result<()> {
    let scene = Scene::new("fewfiles")?;
    scene.push()?;
    // There is nothing to watch: it does not come as far as a slot.
    scene.unwatched();
    let mut daemon = scene.launch_behind("ulimit -n 16")?;
    let told = |line: &str| line.contains("last connection error") && line.contains("Too many open files");
    let said = poll(WITHIN, || Ok(daemon.log()?.lines().any(told).then_some(())))?;
    said.ok_or_else(|| format!("the log does not say it: {}", daemon.log().unwrap_or_default()))?;
    daemon.kill_hard()?;
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(scene.sql()?.value::<i64>(slots)?, 0);
    Ok(())
}

/// Whoever asks for metrics and never reads them, and many of them.
/// Faults: PRC-19.
#[test]
fn many_idle_connections_to_the_admin_port() -> Result<()> {
    let scene = Scene::new("scrapers")?;
    let daemon = opened(&scene)?;
    let idle: Vec<_> = (0..500).map(|_| TcpStream::connect(daemon.admin())).collect::<std::io::Result<_>>()?;
    for mut asking in idle.iter().take(100) {
        std::io::Write::write_all(&mut asking, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")?;
    }
    assert_eq!(daemon.get("/livez")?, "ok\n");
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    drop(idle);
    ends_well(&scene, daemon, 3)
}

/// The state belongs to the connector's name, prefix and slot: under another one nothing begins from the start in silence.
/// Faults: PRC-11, PRC-16.
#[test]
fn another_slot_or_prefix_or_name_is_not_taken_for_the_same_connector() -> Result<()> {
    let scene = Scene::new("renamed")?;
    let daemon = opened(&scene)?;
    scene.finish(daemon)?;
    scene.unwatched();
    let (slot, other) = (format!("slot = \"{}\"", scene.slot()), format!("slot = \"{}_b\"", scene.slot()));
    scene.connector(&slot, &other)?;
    assert_eq!(
        scene.halts("slot-missing")?,
        "slot-missing: slot walwright_NAME_b does not exist, but the checkpoint is at LSN (connector NAME)"
    );
    scene.connector(&other, &slot)?;

    let prefix = format!("topic_prefix = \"{}.\"", scene.name);
    scene.process(&prefix, &format!("topic_prefix = \"{}.b.\"", scene.name))?;
    scene.push()?;
    let foreign =
        "slot-foreign: slot walwright_NAME exists, but this connector has no checkpoint and did not create it";
    assert_eq!(scene.halts("slot-foreign")?, format!("{foreign} (connector NAME)"));
    scene.process(&format!("topic_prefix = \"{}.b.\"", scene.name), &prefix)?;

    let file = |name: &str| scene.folder.join(format!("connectors/{name}.toml"));
    let name = format!("{}_c", scene.name);
    std::fs::rename(file(&scene.name), file(&name))?;
    let mut daemon = scene.launch()?;
    let report = daemon.wait_report(&name, WITHIN, |report| report["state"] == "halted")?;
    assert_eq!(report["kind"], "slot-foreign", "{report}");
    daemon.kill_hard()?;
    std::fs::rename(file(&name), file(&scene.name))?;
    ends_well(&scene, scene.start()?, 2)
}
