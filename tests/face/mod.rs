//! What `status` and `check --live` show, before, while and after a daemon runs.

mod program;
mod schemas;

use serde_json::Value;

use crate::support::Result;
use crate::support::scene::Scene;

#[test]
fn a_connector_is_shown_as_it_is() -> Result<()> {
    shown(&Scene::new("shown")?)
}

/// The one connector of `status`, which is JSON where nobody sits in front of it, and must have no errors.
fn status(scene: &Scene) -> Result<Value> {
    let output = scene.command(&["status"])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(all[0]["errors"], Value::Array(Vec::new()), "{all}");
    Ok(all[0].clone())
}

/// What `check --live` prints, which must be no fault.
fn check(scene: &Scene) -> Result<String> {
    let output = scene.command(&["check", "--live"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(scene.masked(&said.replace('\n', " \n")).replace(" \n", "\n"))
}

fn expected(host: &str, topic: &str, checkpoint: &str, start: &str) -> String {
    format!(
        "NAME: 1 events and 0 tombstones of 1 tables on 1 topics\n\
         ok   NAME kafka: 1 brokers at BROKERS\n\
         ok   NAME transaction timeout: 300000 ms\n\
         ok   NAME topic NAME.orders: {topic}\n\
         ok   NAME checkpoint: {checkpoint}\n\
         ok   NAME registry: 1 contracts are registered\n\
         ok   NAME database: NAME on {host}, system SYSTEM, timeline 1, flushed to LSN\n\
         ok   NAME start: {start}\n"
    )
}

pub(crate) fn shown(scene: &Scene) -> Result<()> {
    let host: String = scene.sql()?.value("SHOW listen_addresses")?;
    scene.push()?;
    let before = status(scene)?;
    assert_eq!((&before["connector"], &before["slot"]), (&scene.name.clone().into(), &"none".into()));
    assert_eq!(
        (&before["next_lsn"], &before["lag_bytes"], &before["confirmed_flush_lsn"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        check(scene)?,
        expected(&host, "will be created", "none yet", "the first start: the slot will be created")
    );

    let daemon = scene.start()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    let while_running = status(scene)?;
    let pid: i32 = scene
        .sql()?
        .value(&format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot()))?;
    assert_eq!(while_running["slot"], format!("active (pid {pid})"));
    assert!(while_running["next_lsn"].is_string() && while_running["instance"].is_string(), "{while_running}");
    assert!(while_running["retained_bytes"].is_u64() && while_running["lag_bytes"].is_u64(), "{while_running}");

    scene.finish(daemon)?;
    let after = status(scene)?;
    assert_eq!((&after["slot"], &after["epoch"]), (&"free".into(), &0.into()));
    assert_eq!(after["confirmed_flush_lsn"], after["next_lsn"], "a daemon that stops reports what it has committed");
    assert_eq!(check(scene)?, expected(&host, "3 partitions", "next LSN LSN", "streaming goes on from the checkpoint"));
    Ok(())
}
