//! `remove`: the connector's own slot and state go, nobody else's, and a second time there is nothing to do.

use std::time::Instant;

use super::slots;
use crate::support::Result;
use crate::support::scene::{Scene, WITHIN};

fn keys(scene: &Scene) -> Result<Vec<String>> {
    Ok(scene.store().keys(Instant::now() + WITHIN).map_err(|error| error.chain())?.into_iter().collect())
}

fn slot_count(scene: &Scene) -> Result<i64> {
    scene.sql()?.value(&format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot()))
}

const LEFT: &str = "left:\n  publication walwright_NAME\n  topics NAME.orders, and \
                    NAME.walwright.checkpoint.NAME with the record of this";

/// Faults: OPS-08.
#[test]
fn slot_and_state_go_and_the_rest_stays() -> Result<()> {
    let scene = Scene::new("removed")?;
    let daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    let held = scene.complaint(&["remove", &scene.name, "--yes"], 1)?;
    assert!(held.starts_with("error: slot-held: slot walwright_NAME held by pid "), "{held}");
    scene.finish(daemon)?;
    scene.unwatched();

    let shown = scene.says(&["remove", &scene.name, "--dry-run"])?;
    assert_eq!(
        shown,
        format!(
            "connector NAME\nto do:\n  drop slot walwright_NAME: what it has not sent yet is never published\n  \
             write tombstones for checkpoint, takeover in NAME.walwright.checkpoint.NAME\n{LEFT}"
        )
    );
    assert_eq!(scene.complaint(&["remove", &scene.name], 3)?.lines().last(), Some("nothing was done"));
    assert_eq!((slot_count(&scene)?, keys(&scene)?), (1, vec!["checkpoint".to_owned(), "takeover".to_owned()]));

    let said = scene.says(&["remove", &scene.name, "--yes"])?;
    assert!(said.starts_with(&shown), "{said}");
    assert_eq!((slot_count(&scene)?, keys(&scene)?), (0, vec!["audit/remove".to_owned()]));
    let again = scene.says(&["remove", &scene.name, "--yes"])?;
    assert_eq!(again, format!("connector NAME\nnothing to remove\n{LEFT}"));

    // The same name begins anew, behind what it had published.
    let daemon = scene.start()?;
    scene.insert(3, 3)?;
    assert_eq!(scene.read("orders", 3)?.len(), 3);
    let mut daemon = daemon;
    assert!(daemon.terminate(WITHIN)?.success());
    Ok(())
}

#[test]
fn a_state_that_cannot_be_read_goes_too_and_its_slot_is_left() -> Result<()> {
    let scene = slots::stopped("garbled")?;
    scene.unwatched();
    scene.write_state(&[("checkpoint", Some(b"garbage"))])?;
    scene.halts("checkpoint-unreadable")?;
    let said = scene.says(&["remove", &scene.name, "--yes"])?;
    assert!(said.contains("did not create it; if nobody needs it"), "{said}");
    assert_eq!((slot_count(&scene)?, keys(&scene)?), (1, vec!["audit/remove".to_owned()]));
    Ok(())
}

/// Faults: OPS-08.
#[test]
fn after_a_removal_that_was_cut_off_the_rest_goes() -> Result<()> {
    let scene = slots::stopped("half_removed")?;
    scene.unwatched();
    slots::drop_slot(&scene)?;
    scene.says(&["remove", &scene.name, "--yes"])?;
    assert_eq!(keys(&scene)?, ["audit/remove"]);
    Ok(())
}

#[test]
fn a_slot_of_somebody_elses_is_left_and_named() -> Result<()> {
    let scene = Scene::new("not_removed")?;
    slots::create_slot(&scene)?;
    let said = scene.says(&["remove", &scene.name, "--yes"])?;
    let left = "  slot walwright_NAME: slot walwright_NAME exists, but this connector has no checkpoint and did not \
                create it; if nobody needs it: SELECT pg_drop_replication_slot('walwright_NAME');\n";
    assert!(said.starts_with("connector NAME\nnothing to remove\n") && said.contains(left), "{said}");
    assert_eq!(slot_count(&scene)?, 1);

    let two = slots::stopped("shared_slot")?;
    let sibling = two.sibling("second")?;
    let own = format!("slot = \"{}_second\"", two.slot());
    two.replace(&format!("connectors/{sibling}.toml"), &own, &format!("slot = \"{}\"", two.slot()))?;
    for command in [&["remove", &sibling, "--yes"][..], &["check"], &["run"]] {
        assert_eq!(
            two.complaint(command, 2)?,
            "error: configuration: 1 fault\n~/connectors/NAME_second.toml: source.slot: connector NAME reads slot \
             walwright_NAME of this server already\n  what to do: mend the named lines and start again; \
             `walwright check` shows the same list without starting\n  more: walwright explain configuration\n"
        );
    }
    assert_eq!(slot_count(&two)?, 1);

    let (scene, other) = (slots::stopped("own_database")?, Scene::new("other_database")?);
    scene.unwatched();
    slots::drop_slot(&scene)?;
    other.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&scene.slot()])?;
    let said = scene.says(&["remove", &scene.name, "--yes"])?.replace(&other.name, "OTHER");
    assert!(said.contains("cannot be used: it belongs to database OTHER; if nobody needs it"), "{said}");
    assert_eq!((slot_count(&scene)?, keys(&scene)?), (1, vec!["audit/remove".to_owned()]));
    Ok(())
}
