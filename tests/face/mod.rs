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

/// Nothing of this stops a start by itself, and a stranger would find it out by a halt.
#[test]
fn what_would_halt_later_is_said_before() -> Result<()> {
    let scene = Scene::new("later")?;
    scene.sql()?.batch(
        "CREATE TYPE mood AS ENUM ('NEW', 'PAID', 'on hold'); ALTER TABLE orders ADD COLUMN \"Mood\" mood NOT NULL",
    )?;
    let file = format!("connectors/{}.toml", scene.name);
    scene.connector("note = \"note\"", "mood = { value = \"mood\", map = { NEW = \"NEW\" } }")?;
    let path = "schemas/shop/OrderPlaced/v1.avsc";
    scene.replace(
        path,
        r#""name": "note", "type": ["null", "string"], "default": null, "doc": "A note.""#,
        r#""name": "mood", "type": { "type": "enum", "name": "Mood", "symbols": ["NEW", "PAID"] }, "doc": "Its mood.""#,
    )?;
    scene.push()?;
    let said = String::from_utf8(scene.command(&["check", "--live"])?.stdout)?;
    assert!(said.contains("no column mood; nothing is folded here, there is Mood"), "{said}");

    scene.connector("value = \"mood\"", "value = \"Mood\"")?;
    let halts =
        format!("{file}:31: a row whose Mood is PAID or on hold would halt the connector: give field mood a map");
    let said = scene.command(&["check", "--live"])?;
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8(said.stdout)?;
    assert!(said.contains(&format!("\nwarn {} warning: ", scene.name)) && said.contains(&halts), "{said}");
    scene.connector("{ value = \"Mood\", map = { NEW = \"NEW\" } }", "\"Mood\"")?;
    let said = String::from_utf8(scene.command(&["check", "--live"])?.stdout)?;
    assert!(said.contains(":31: a row whose Mood is on hold would halt the connector"), "{said}");

    scene.connector("replication = 1", "replication = 3")?;
    let said = String::from_utf8(scene.command(&["check", "--live"])?.stdout)?;
    let topic = scene.topic("orders");
    assert!(said.contains(&format!("topic {topic} cannot be created with 3 replicas: 1 brokers are up")), "{said}");
    Ok(())
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

/// Looking changes nothing, also where a start would register.
#[test]
fn a_look_registers_nothing_and_a_start_does_where_the_file_says_so() -> Result<()> {
    let scene = Scene::new("registers")?;
    scene.process("[log]", "register = true\n\n[log]")?;
    let said = check(&scene)?;
    assert!(said.contains("ok   NAME registry: the start registers what is missing\n"), "{said}");
    assert!(scene.complaint(&["schemas", "check", "--live"], 1)?.starts_with("error: registry-refused: "));
    let daemon = scene.start()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
    assert!(check(&scene)?.contains("ok   NAME registry: 1 contracts are registered\n"));
    Ok(())
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
