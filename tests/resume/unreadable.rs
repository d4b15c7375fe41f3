//! Records of the checkpoint topic that cannot be understood: nothing is published on a guess.

use walwright::checkpoint::record::CHECKPOINT;

use super::slots::{confirmed, stopped};
use crate::support::Result;

/// What is told of a record, but for its offset.
const HOLDS: &str = "checkpoint-unreadable:  of partition 0 holds";
const PLACE: &str = "(connector NAME, topic NAME.walwright.checkpoint.NAME)";

/// What the daemon says of this record, made of a good checkpoint. It publishes nothing, and the slot does not move.
fn refused(key: &str, of: impl Fn(&str) -> String) -> Result<String> {
    let scene = stopped("unreadable")?;
    scene.unwatched();
    scene.insert(3, 3)?;
    let good = scene.state()?.checkpoint.ok_or("there is no checkpoint")?.to_json()?;
    let value = of(&String::from_utf8(good)?);
    scene.write_state(&[(key, Some(value.as_bytes()))])?;
    let before = confirmed(&scene)?;
    let cause = scene.halts("checkpoint-unreadable")?;
    assert_eq!(scene.read_all("orders")?.len(), 2, "{cause}");
    assert_eq!(confirmed(&scene)?, before);
    // The offset counts what earlier daemons wrote.
    let (said, rest) = cause.split_once("offset ").unwrap_or((&cause, ""));
    Ok(format!("{said}{}", rest.trim_start_matches(|char: char| char.is_ascii_digit())))
}

#[test]
fn a_checkpoint_of_a_newer_version_halts_before_anything_is_published() -> Result<()> {
    let cause =
        refused(CHECKPOINT, |good| good.replace("\"version\":1", "\"version\":99").replace("\"epoch\"", "\"era\""))?;
    let (told, rest) = cause.split_once(" (this program").ok_or(cause.clone())?;
    assert_eq!(told, format!("{HOLDS} a record of format version 99"));
    assert!(rest.ends_with(PLACE), "{cause}");
    Ok(())
}

#[test]
fn a_damaged_checkpoint_halts_before_anything_is_published() -> Result<()> {
    let half = |good: &str| good[..good.len() / 2].to_owned();
    let more = |good: &str| good.replace("\"epoch\":0", "\"epoch\":0,\"more\":1");
    for cause in
        [refused(CHECKPOINT, half)?, refused(CHECKPOINT, |_| "\0\u{1}".to_owned())?, refused(CHECKPOINT, more)?]
    {
        assert!(cause.starts_with(&format!("{HOLDS} a record that is damaged {PLACE}: ")), "{cause}");
    }
    Ok(())
}

#[test]
fn a_record_that_nobody_knows_halts_before_anything_is_published() -> Result<()> {
    assert_eq!(refused("something", |_| "else".to_owned())?, format!("{HOLDS} a record of key \"something\" {PLACE}"));
    // What a snapshot has written down is as good as the checkpoint.
    let cause = refused("progress/public.orders", |_| "{\"version\":99,\"new\":true}".to_owned())?;
    let told = "checkpoint-unreadable: key \"progress/public.orders\" holds a record of format version 99";
    assert!(cause.starts_with(told), "{cause}");
    Ok(())
}
