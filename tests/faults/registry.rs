//! The registry: slow, silent, cut off, asked by two at once, and without the subject that it had.

use std::process::Command;
use std::time::Duration;

use super::{ends_well, opened};
use crate::support::Result;
use crate::support::daemon::BINARY;
use crate::support::proxy::Side;
use crate::support::registry::get;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Faults: REG-02.
#[test]
fn a_registry_that_is_slow_silent_or_cut_off_is_waited_for() -> Result<()> {
    let scene = Scene::new("slowregistry")?;
    scene.push()?;
    let proxy = scene.through_registry_proxy()?;
    proxy.delay(Duration::from_secs(2));
    let daemon = scene.start()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)?;
    proxy.delay(Duration::ZERO);

    proxy.cut(Side::Server, 20, 2);
    let daemon = scene.start()?;
    assert_eq!(proxy.cuts_left(), 0);
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;

    proxy.hold();
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "registry-unreachable", "retrying")?;
    assert!(
        cause.starts_with("registry-unreachable: looking up the schema of subject NAME.orders-shop.OrderPlaced"),
        "{cause}"
    );
    proxy.release();
    daemon.wait_ready(WITHIN)?;
    ends_well(&scene, daemon, 3)
}

/// Faults: REG-06.
#[test]
fn a_subject_that_was_deleted_is_missed_at_the_next_start() -> Result<()> {
    let scene = Scene::new("nosubject")?;
    let daemon = opened(&scene)?;
    let subject = format!("{}/subjects/{}-shop.OrderPlaced", Stack::shared()?.registry.url(), scene.topic("orders"));
    ureq::delete(&subject).call()?;
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    let cause = scene.halts("registry-refused")?;
    assert!(cause.contains("push it with walwright schemas push"), "{cause}");
    ends_well(&scene, scene.open()?, 3)
}

/// Faults: REG-07.
#[test]
fn two_that_push_at_once_register_one_version() -> Result<()> {
    let scene = Scene::new("twopushes")?;
    let config = scene.folder.join("walwright.toml");
    let push = || Command::new(BINARY).args(["schemas", "push", "--config"]).arg(&config).spawn();
    let pushes: Vec<_> = (0..3).map(|_| push()).collect::<std::io::Result<_>>()?;
    for mut push in pushes {
        assert!(push.wait()?.success());
    }
    let versions =
        format!("{}/subjects/{}-shop.OrderPlaced/versions", Stack::shared()?.registry.url(), scene.topic("orders"));
    assert_eq!(get(&versions)?, "[1]");
    let daemon = opened(&scene)?;
    ends_well(&scene, daemon, 2)
}
