//! Records of the checkpoint topic that cannot be understood: nothing is published on a guess.

use walwright::checkpoint::record::CHECKPOINT;

use super::slots::{confirmed, stopped};
use crate::support::Result;
use crate::support::scene::Scene;

/// What is told of a record, but for its offset.
const HOLDS: &str = "checkpoint-unreadable:  of partition 0 holds";

/// What the daemon says once this record is the newest one of its key. It has published nothing, and the slot has not moved.
fn refused(scene: &Scene, key: &str, value: &str) -> Result<String> {
    scene.write_state(&[(key, Some(value.as_bytes()))])?;
    let before = confirmed(scene)?;
    let cause = scene.halts("checkpoint-unreadable")?;
    assert_eq!(scene.read_all("orders")?.len(), 2, "{cause}");
    assert_eq!(confirmed(scene)?, before);
    // The offset counts what earlier daemons wrote.
    let (said, rest) = cause.split_once("offset ").unwrap_or_default();
    Ok(format!("{said}{}", rest.trim_start_matches(|char: char| char.is_ascii_digit())))
}

#[test]
fn a_record_that_cannot_be_read_halts_before_anything_is_published() -> Result<()> {
    let scene = stopped("unreadable")?;
    scene.unwatched();
    scene.insert(3, 3)?;
    let good = scene.state()?.checkpoint.ok_or("there is no checkpoint")?.to_json()?;
    let text = String::from_utf8(good.clone())?;
    let place = "(connector NAME, topic NAME.walwright.checkpoint.NAME)";
    let newer = text.replace("\"version\":1", "\"version\":3").replace("\"epoch\"", "\"era\"");
    assert_eq!(
        refused(&scene, CHECKPOINT, &newer)?,
        format!("{HOLDS} a record of format version 3 (this program reads up to 2) {place}")
    );
    for damaged in [&text[..text.len() / 2], "\0\u{1}", &text.replace("\"epoch\":0", "\"epoch\":0,\"more\":1")] {
        let cause = refused(&scene, CHECKPOINT, damaged)?;
        let told = format!("{HOLDS} a record that is damaged {place}: ");
        assert!(cause.starts_with(&told), "{cause}");
    }
    scene.write_state(&[(CHECKPOINT, Some(&good))])?;
    let cause = refused(&scene, "something", "else")?;
    assert_eq!(cause, format!("{HOLDS} a record of key \"something\" {place}"));
    scene.write_state(&[("something", None)])?;

    // What a snapshot has written down is as good as the checkpoint.
    scene.write_state(&[("progress/public.orders", Some(br#"{"version":2,"new":true}"#))])?;
    let cause = scene.halts("checkpoint-unreadable")?;
    assert_eq!(scene.read_all("orders")?.len(), 2);
    let told = "checkpoint-unreadable: key \"progress/public.orders\" holds a record of format version 2 (this program reads up to 1)";
    assert!(cause.starts_with(told), "{cause}");
    scene.write_state(&[("progress/public.orders", None)])?;

    let daemon = scene.start()?;
    scene.read("orders", 3)?;
    scene.finish(daemon)?;
    scene.exactly(3)
}
