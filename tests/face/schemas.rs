//! `schemas check` and `schemas diff` on a repository with several versions.

use crate::support::Result;
use crate::support::scene::Scene;

/// Version 2 of the scene's event, with these fields in the place of `note`.
fn second(scene: &Scene, fields: &str) -> Result<()> {
    let first = std::fs::read_to_string(scene.folder.join("schemas/shop/OrderPlaced/v1.avsc"))?;
    let note = r#"{ "name": "note", "type": ["null", "string"], "default": null, "doc": "A note." }"#;
    assert!(first.contains(note));
    scene.write("schemas/shop/OrderPlaced/v2.avsc", &first.replace(note, fields))
}

const NOTE: &str = r#"{ "name": "note", "type": ["null", "string"], "default": null, "doc": "A longer note." }"#;

/// Faults: REG-08.
#[test]
fn versions_that_read_each_other_pass() -> Result<()> {
    let scene = Scene::new("compatible")?;
    second(&scene, &format!(r#"{NOTE}, {{ "name": "tag", "type": "string", "default": "", "doc": "A tag." }}"#))?;
    assert_eq!(scene.says(&["schemas", "check"])?, "ok   shop.OrderPlaced: v1, v2 are FULL_TRANSITIVE");
    assert_eq!(
        scene.says(&["schemas", "diff", "shop/OrderPlaced/v1", "shop/OrderPlaced/v2"])?,
        "~ note: doc \"A note.\" became \"A longer note.\"\n+ tag: string, default \"\"\n\
         v2 reads what v1 wrote, v1 reads what v2 wrote"
    );
    assert!(scene.complaint(&["schemas", "check", "--live"], 1)?.starts_with("error: registry-refused: "));
    scene.push()?;
    let said = scene.says(&["schemas", "check", "--live"])?;
    assert!(said.contains("\nok   NAME.orders-shop.OrderPlaced: shop/OrderPlaced/v1 is registered, id "), "{said}");
    Ok(())
}

/// Faults: REG-08.
#[test]
fn versions_that_do_not_are_named_with_the_reason() -> Result<()> {
    let scene = Scene::new("incompatible")?;
    second(&scene, r#"{ "name": "tag", "type": "string", "doc": "A tag." }"#)?;
    let said = String::from_utf8(scene.command(&["schemas", "check"])?.stdout)?;
    assert_eq!(
        said,
        "FAIL shop.OrderPlaced: v2 cannot read what v1 wrote: Field 'tag' in reader schema must have a default value\n"
    );
    scene.complaint(&["schemas", "check"], 2)?;
    // A reader of version 1 finds no note and takes its default.
    assert_eq!(
        scene.says(&["schemas", "check", "--compatibility", "FORWARD"])?,
        "ok   shop.OrderPlaced: v1, v2 are FORWARD"
    );
    assert_eq!(
        scene.says(&["schemas", "diff", "shop/OrderPlaced/v1", "shop/OrderPlaced/v2"])?,
        "+ tag: string, no default\n- note: string or null\n\
         v2 cannot read what v1 wrote: Field 'tag' in reader schema must have a default value, v1 reads what v2 wrote"
    );
    let unknown = scene.complaint(&["schemas", "diff", "shop/OrderPlaced/v1", "shop/OrderPlaced/v3"], 2)?;
    assert!(unknown.starts_with("error: configuration: there is no contract shop/OrderPlaced/v3 "), "{unknown}");
    Ok(())
}
