//! `accept-gap` after each halt that it ends: before it the connector halts, after it it goes on in the next epoch.

use std::time::Instant;

use walwright::checkpoint::audit::Audit;
use walwright::kafka::{Closing, Isolation, KafkaClient, read_partition};

use super::{servers, slots};
use crate::support::postgres::Stop;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// The orders on the topic with the epochs in their ids, sorted, when all of `wanted` are there.
fn told(scene: &Scene, wanted: &[(i64, String)]) -> Result<Vec<(i64, String)>> {
    let of = |seen: &crate::support::seen::Seen| {
        let epoch = seen.id().split(':').nth(1).unwrap_or_default().to_owned();
        (seen.field("id").as_i64().unwrap_or_default(), epoch)
    };
    // The partitions show one transaction each at a moment of its own.
    let told = poll(WITHIN, || {
        let mut told: Vec<_> = scene.read_all("orders")?.iter().map(of).collect();
        told.sort();
        Ok(wanted.iter().all(|order| told.contains(order)).then_some(told))
    })?;
    told.ok_or_else(|| format!("{wanted:?} do not come").into())
}

fn tells(scene: &Scene, wanted: &[(i64, String)]) -> Result<()> {
    assert_eq!(told(scene, wanted)?, wanted);
    Ok(())
}

fn pairs(ids: &[i64], epoch: &str) -> Vec<(i64, String)> {
    ids.iter().map(|id| (*id, epoch.to_owned())).collect()
}

/// Halts because of `kind`, shows what it would do and does not, accepts the gap, starts, and inserts order `next`.
fn accepted(scene: &Scene, kind: &str, next: i64) -> Result<String> {
    scene.unwatched();
    scene.halts(kind)?;
    let before = scene.state()?.checkpoint.ok_or("there is no checkpoint")?;
    let shown = scene.says(&["accept-gap", &scene.name, "--dry-run"])?;
    assert_eq!(scene.complaint(&["accept-gap", &scene.name], 3)?.lines().last(), Some("nothing was done"));
    assert_eq!(scene.state()?.checkpoint.as_ref(), Some(&before));
    let said = scene.says(&["accept-gap", &scene.name, "--yes", "--reason", "a test"])?;
    assert!(said.starts_with(&shown), "{said}\n{shown}");
    let after = scene.state()?.checkpoint.ok_or("there is no checkpoint")?;
    assert_eq!(after.epoch, before.epoch + 1);
    recorded(scene, kind)?;
    assert_eq!(
        scene.says(&["accept-gap", &scene.name, "--yes"])?,
        "connector NAME has no gap to accept: nothing was done"
    );
    scene.insert(next, next)?;
    Ok(shown)
}

/// The act is on the checkpoint topic.
fn recorded(scene: &Scene, kind: &str) -> Result<()> {
    let store = scene.store();
    let mut audits = Vec::new();
    let client = KafkaClient::new(scene.brokers());
    let (until, closing) = (Instant::now() + WITHIN, Closing::default());
    let read = read_partition(&client, store.topic(), 0, Isolation::Stable, until, &closing, |entry| {
        if entry.key.is_some_and(|key| key.starts_with(b"audit/accept-gap/")) {
            audits.push(
                serde_json::from_slice::<Audit>(entry.value.unwrap_or_default()).map_err(|error| error.to_string()),
            );
        }
        Ok(())
    });
    read.map_err(|error| error.chain())?;
    let audits = audits.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let audit = audits.last().ok_or("nothing is recorded")?;
    assert!(audit.halt.as_ref().is_some_and(|halt| halt.starts_with(kind)), "{audit:?}");
    assert_eq!(audit.signed.reason.as_deref(), Some("a test"));
    assert_eq!(audit.after, scene.state()?.checkpoint);
    assert!(audit.before.is_some() && audit.signed.by.contains('@'), "{audit:?}");
    Ok(())
}

/// Faults: OPS-07.
#[test]
fn after_a_slot_was_moved() -> Result<()> {
    let scene = slots::stopped("gap_ahead")?;
    scene.insert(3, 4)?;
    scene.sql()?.query("SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", &[&scene.slot()])?;
    assert_eq!(
        accepted(&scene, "slot-ahead", 5)?,
        "connector NAME\n\
         halted: slot-ahead: slot walwright_NAME stands ahead of the checkpoint: changes from LSN to LSN were not published\n\
         to do:\n  \
         use slot walwright_NAME, which stands at LSN\n  \
         go on from LSN instead of LSN, epoch 1 instead of 0\n\
         never published: what was committed from LSN to LSN\n\
         ids: events from here on carry epoch 1 in ce_id"
    );
    let daemon = scene.start()?;
    tells(&scene, &[pairs(&[1, 2], "0"), pairs(&[5], "1")].concat())?;
    let held = scene.complaint(&["accept-gap", &scene.name, "--yes"], 1)?;
    assert!(held.starts_with("error: slot-held: slot walwright_NAME held by pid "), "{held}");
    scene.finish(daemon)
}

/// Faults: OPS-07.
#[test]
fn after_a_slot_was_dropped() -> Result<()> {
    let scene = slots::stopped("gap_missing")?;
    slots::drop_slot(&scene)?;
    scene.insert(3, 3)?;
    let shown = accepted(&scene, "slot-missing", 4)?;
    assert!(shown.contains("\n  create slot walwright_NAME; the server's WAL ends at LSN now\n"), "{shown}");
    assert!(
        shown.contains("never published: what was committed from LSN to the new slot's consistent point"),
        "{shown}"
    );
    let daemon = scene.start()?;
    tells(&scene, &[pairs(&[1, 2], "0"), pairs(&[4], "1")].concat())?;
    scene.finish(daemon)
}

#[test]
fn after_a_slot_was_lost() -> Result<()> {
    let (_server, scene) = slots::lost("gap_lost")?;
    let shown = accepted(&scene, "slot-lost", 100)?;
    assert!(shown.contains("\n  drop slot walwright_NAME, which is lost, and create it anew\n"), "{shown}");
    let daemon = scene.start()?;
    tells(&scene, &[pairs(&[1], "0"), pairs(&[100], "1")].concat())?;
    scene.finish(daemon)
}

#[test]
fn after_a_server_was_restored() -> Result<()> {
    let mut server = servers::server()?;
    let mut scene = servers::stopped("gap_rewound", &server)?;
    server.stop(Stop::Fast)?;
    let mut backup = server.copy()?;
    server.restart()?;
    scene.sql()?.batch("CREATE TABLE later AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")?;
    servers::one_more(&scene, 3)?;
    server.stop(Stop::Fast)?;
    backup.restart()?;
    scene.move_to(&server, &backup)?;
    scene.unwatched();
    // What the restored server commits before anybody has decided is not lost.
    scene.insert(4, 4)?;
    let shown = accepted(&scene, "server-behind", 5)?;
    assert!(shown.contains("comes again, with other ids, where it was published before"), "{shown}");
    let daemon = scene.start()?;
    let wanted = [pairs(&[1, 2, 3], "0"), pairs(&[4, 5], "1")].concat();
    let (repeated, told): (Vec<_>, Vec<_>) =
        told(&scene, &wanted)?.into_iter().partition(|(id, epoch)| *id < 3 && epoch == "1");
    assert_eq!(told, wanted);
    // Up to Postgres 16 a server that stops may forget where the slot stood, so it sends again what came before.
    assert!(repeated.len() <= 2, "{repeated:?}");
    scene.finish(daemon)
}

#[test]
fn after_a_move_to_another_cluster() -> Result<()> {
    let (one, other) = (servers::server()?, servers::server()?);
    let mut scene = servers::stopped("gap_twinned", &one)?;
    servers::twin(&scene, &other)?;
    scene.move_to(&one, &other)?;
    scene.unwatched();
    slots::create_slot(&scene)?;
    scene.insert(3, 3)?;
    let shown = accepted(&scene, "system-mismatch", 4)?;
    assert!(
        shown.contains("\n  take this server, system identifier SYSTEM, for the source; it was SYSTEM\n"),
        "{shown}"
    );
    let daemon = scene.start()?;
    tells(&scene, &[pairs(&[1, 2], "0"), pairs(&[3, 4], "1")].concat())?;
    scene.finish(daemon)
}

#[test]
fn after_a_standby_was_promoted_too_early() -> Result<()> {
    let mut primary = servers::server()?;
    let mut scene = servers::stopped("gap_forked", &primary)?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    primary.restart()?;
    servers::one_more(&scene, 3)?;
    primary.stop(Stop::Fast)?;
    standby.follow(&primary)?;
    standby.restart()?;
    standby.sql("gap_forked")?.batch("SELECT pg_promote()")?;
    scene.move_to(&primary, &standby)?;
    scene.unwatched();
    scene.insert(4, 4)?;
    let shown = accepted(&scene, "timeline-mismatch", 5)?;
    assert!(
        shown.contains("\n  take timeline 2 for the source's; it was 1\nnever published: nothing is lost\n"),
        "{shown}"
    );
    let daemon = scene.start()?;
    tells(&scene, &[pairs(&[1, 2, 3], "0"), pairs(&[4, 5], "1")].concat())?;
    scene.finish(daemon)
}
