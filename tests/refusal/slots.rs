//! Slots that are not this connector's to use.

use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::registry::get;
use crate::support::scene::{Scene, WITHIN};

#[test]
fn a_slot_of_another_plugin() -> Result<()> {
    let scene = Scene::new("plugin")?;
    scene.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", &[&scene.slot()])?;
    scene.push()?;
    assert_eq!(
        scene.halts("slot-mismatch")?,
        "slot-mismatch: slot walwright_NAME cannot be used: it is of plugin test_decoding (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-18.
#[test]
fn a_slot_of_another_database() -> Result<()> {
    let (scene, other) = (Scene::new("elsewhere")?, Scene::new("elsewhere")?);
    other.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&scene.slot()])?;
    scene.push()?;
    let cause = scene.halts("slot-mismatch")?.replace(&other.name, "OTHER");
    assert_eq!(
        cause,
        "slot-mismatch: slot walwright_NAME cannot be used: it belongs to database OTHER (connector NAME)"
    );
    Ok(())
}

#[test]
fn a_physical_slot() -> Result<()> {
    let scene = Scene::new("physical")?;
    scene.sql()?.query("SELECT pg_create_physical_replication_slot($1)", &[&scene.slot()])?;
    scene.push()?;
    let cause = scene.halts("slot-mismatch")?;
    scene.sql()?.query("SELECT pg_drop_replication_slot($1)", &[&scene.slot()])?;
    assert_eq!(cause, "slot-mismatch: slot walwright_NAME cannot be used: it is a physical slot (connector NAME)");
    Ok(())
}

/// Faults: PG-09.
#[test]
fn a_slot_that_someone_holds_is_waited_for() -> Result<()> {
    let scene = Scene::new("held")?;
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    let mut second = scene.launch()?;
    let pid: i32 = scene.sql()?.value(&holder(&scene))?;
    let cause = scene.cause(&mut second, "slot-held", "retrying")?;
    assert_eq!(cause, format!("slot-held: slot walwright_NAME held by pid {pid} (connector NAME)"));
    assert_eq!(second.get("/livez")?, "ok\n");
    assert!(get_is_red(&second), "one connector waits, so the daemon is not ready");
    scene.finish(daemon)?;
    second.wait_ready(WITHIN)?;
    scene.insert(2, 2)?;
    assert_eq!(scene.read("orders", 2)?.len(), 2);
    scene.finish(second)
}

fn get_is_red(daemon: &Daemon) -> bool {
    get(&format!("http://{}/readyz", daemon.admin())).is_err()
}

fn holder(scene: &Scene) -> String {
    format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot())
}
