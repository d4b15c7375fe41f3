//! Faults of files: `check` names file, line, column and path, all in one run, and `run` says the same.

use crate::support::Result;
use crate::support::scene::Scene;

fn complaint(scene: &Scene) -> Result<String> {
    let said = scene.complaint(&["check"], 2)?;
    assert_eq!(scene.complaint(&["run"], 2)?, said);
    Ok(said)
}

#[test]
fn malformed_toml() -> Result<()> {
    let scene = Scene::new("toml")?;
    scene.connector("mode = \"none\"", "mode = \"none")?;
    assert_eq!(
        complaint(&scene)?,
        "error: configuration: 1 fault\n~/connectors/NAME.toml:13:13: malformed TOML: invalid basic string, expected `\"`\n    mode = \"none\n                ^\n  what to do: mend the named lines and start again; `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
    );
    Ok(())
}

#[test]
fn malformed_avro() -> Result<()> {
    let scene = Scene::new("avro")?;
    scene.replace("schemas/shop/OrderPlaced/v1.avsc", "\"type\": \"long\"", "\"type\": \"lonk\"")?;
    assert_eq!(
        complaint(&scene)?,
        "error: configuration: 1 fault\n~/schemas/shop/OrderPlaced/v1.avsc: fields.id: no type shop.lonk: define it in this file, or share it as common/<Type>/v1.avsc\n  what to do: mend the named lines and start again; `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
    );
    Ok(())
}

#[test]
fn malformed_json() -> Result<()> {
    let scene = Scene::new("json")?;
    scene.replace("schemas/shop/OrderPlaced/v1.avsc", "\"name\": \"id\",", "\"name\": \"id\"")?;
    assert_eq!(
        complaint(&scene)?,
        "error: configuration: 1 fault\n~/schemas/shop/OrderPlaced/v1.avsc:3:18: malformed JSON: expected `,` or `}`\n  what to do: mend the named lines and start again; `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
    );
    Ok(())
}

#[test]
fn unknown_keys_secrets_and_more_in_one_run() -> Result<()> {
    let scene = Scene::new("keys")?;
    scene.connector("publication = ", "publicaton = \"x\"\npublication = ")?;
    scene.connector("password = { file = \"../password\" }", "password = \"hunter2\"")?;
    scene.connector("status = \"status\"\n", "")?;
    scene.connector("note = \"note\"", "note = \"note\"\ncolour = \"colour\"")?;
    scene.process("topic_prefix", "topic_perfix = \"a\"\ntopic_prefix")?;
    let said = complaint(&scene)?;
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(
        said,
        "error: configuration: 5 faults\n~/walwright.toml:6:1: kafka.topic_perfix: unknown key; did you mean `topic_prefix`?\n~/connectors/NAME.toml:7:12: source.password: a secret does not stand in this file; write { env = \"NAME\" } or { file = \"/run/secrets/name\" }\n~/connectors/NAME.toml:10:1: source.publicaton: unknown key; did you mean `publication`?\n~/connectors/NAME.toml:27:1: event[1].fields: the field `status` of shop/OrderPlaced/v1 has no source: status = \"<column>\"\n~/connectors/NAME.toml:32:10: event[1].fields.colour: shop/OrderPlaced/v1 has no field of this name\n  what to do: mend the named lines and start again; `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
    );
    Ok(())
}

#[test]
fn a_topic_of_facts_is_not_compacted() -> Result<()> {
    let scene = Scene::new("compact")?;
    scene.connector("create = ", "config = { \"cleanup.policy\" = \"compact\" }\ncreate = ")?;
    assert_eq!(
        complaint(&scene)?,
        "error: configuration: 1 fault\n~/connectors/NAME.toml:15:1: topic[1]: compaction would remove facts: of each key only the newest event stays; a topic of state has a [[tombstone]]\n  what to do: mend the named lines and start again; `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
    );
    Ok(())
}

#[test]
fn a_missing_password_file() -> Result<()> {
    let scene = Scene::new("nofile")?;
    scene.connector("../password", "../nothing")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "reference-unreadable", "retrying")?,
        "reference-unreadable: ~/connectors/NAME.toml:7:12: source.password: ~/connectors/../nothing cannot be read: No such file or directory (os error 2) (connector NAME)"
    );
    Ok(())
}
