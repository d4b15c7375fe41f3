//! SIGHUP: the files are read again, and only what has changed is touched.

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// Sends SIGHUP and waits until it is dealt with.
fn hang_up(daemon: &Daemon, said: &str) -> Result<()> {
    let count = |log: &str| log.matches(&format!("\"message\":\"{said}")).count();
    let before = count(&daemon.log()?);
    daemon.signal(Signal::HUP)?;
    let dealt = poll(WITHIN, || Ok((count(&daemon.log()?) > before).then_some(())))?;
    dealt.ok_or_else(|| format!("the log does not say {said:?}").into())
}

fn instance(scene: &Scene) -> Result<Option<String>> {
    Ok(scene.state()?.takeover.map(|takeover| takeover.instance))
}

#[test]
fn connectors_come_change_and_go() -> Result<()> {
    let scene = Scene::new("reload")?;
    let mut daemon = scene.open()?;
    let own = instance(&scene)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;

    let other = scene.sibling("other")?;
    scene.push()?;
    hang_up(&daemon, "reloaded")?;
    daemon.wait_report(&other, WITHIN, |report| report["state"] == "streaming")?;
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    scene.read("other", 1)?;

    // One more operation.
    scene.replace(&format!("connectors/{other}.toml"), "on = [\"insert\"]", "on = [\"insert\", \"update\"]")?;
    hang_up(&daemon, "reloaded")?;
    daemon.wait_report(&other, WITHIN, |report| report["state"] == "streaming")?;
    scene.sql()?.batch("UPDATE orders SET status = 'PAID' WHERE id = 2")?;
    assert_eq!(scene.read("other", 2)?[1].field("status"), "PAID");

    // Nothing has changed.
    hang_up(&daemon, "reloaded")?;
    std::fs::remove_file(scene.folder.join(format!("connectors/{other}.toml")))?;
    hang_up(&daemon, "reloaded")?;
    assert!(daemon.report(&other).is_none(), "it is gone");
    let metrics = daemon.get("/metrics")?;
    assert!(!metrics.contains(&other) && metrics.contains(&scene.name), "{metrics}");
    scene.insert(3, 3)?;
    scene.read("orders", 3)?;
    assert_eq!(instance(&scene)?, own, "the one that stayed was never stopped");
    assert_eq!(scene.read_all("other")?.len(), 2);
    scene.finish(daemon)
}

#[test]
fn a_halted_connector_is_started_again() -> Result<()> {
    let scene = Scene::new("mended")?;
    let mut daemon = scene.open()?;
    let alter =
        |how: &str| scene.sql()?.batch(&format!("ALTER PUBLICATION walwright_{} {how} TABLE orders", scene.name));
    alter("DROP")?;
    scene.cause(&mut daemon, "publication-mismatch", "halted")?;
    alter("ADD")?;
    hang_up(&daemon, "reloaded")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

/// Faults: PRC-17.
#[test]
fn what_cannot_be_reloaded_is_said() -> Result<()> {
    let scene = Scene::new("stays")?;
    let daemon = scene.open()?;
    let own = instance(&scene)?;
    scene.connector("status = \"status\"\n", "")?;
    hang_up(&daemon, "not reloaded: what ran before goes on")?;
    let log = daemon.log()?;
    assert!(log.contains("the field `status` of shop/OrderPlaced/v1 has no source"), "{log}");
    scene.connector("id = \"id\"\n", "id = \"id\"\nstatus = \"status\"\n")?;

    scene.process("level = \"debug\"", "level = \"info\"")?;
    hang_up(&daemon, "reloaded")?;
    let log = daemon.log()?;
    assert!(
        log.contains("settings of the process have changed: they take effect at its next start\",\"section\":\"log\""),
        "{log}"
    );

    scene.process(&format!("topic_prefix = \"{}.\"", scene.name), "topic_prefix = \"elsewhere.\"")?;
    hang_up(&daemon, "not reloaded: what ran before goes on")?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    assert_eq!(instance(&scene)?, own);
    scene.finish(daemon)
}
