//! The start table by server: another cluster, a restored one, a promoted standby, one that was left behind, a fork.

use crate::support::postgres::{Options, Postgres, Stop};
use crate::support::scene::{Scene, WITHIN};
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::{Result, poll};

pub(crate) fn server() -> Result<Postgres> {
    Postgres::start(&Stack::shared()?.sandbox, Options::default())
}

/// A connector on `server` that has published the orders 1 and 2 and is stopped.
pub(crate) fn stopped(name: &str, server: &Postgres) -> Result<Scene> {
    let stack = Stack::shared()?;
    let scene = Scene::on(name, server, &stack.kafka, stack.registry.url())?;
    let daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)?;
    Ok(scene)
}

/// Publishes one more order.
pub(super) fn one_more(scene: &Scene, id: i64) -> Result<()> {
    let daemon = scene.start()?;
    scene.insert(id, id)?;
    scene.read("orders", usize::try_from(id)?)?;
    scene.finish(daemon)
}

/// The same database on another server, as a restored dump is.
pub(super) fn twin(scene: &Scene, other: &Postgres) -> Result<Sql> {
    other.create_database(&scene.name)?;
    let twin = other.sql(&scene.name)?;
    scene.furnish(&twin)?;
    Ok(twin)
}

/// Faults: PG-18.
#[test]
fn another_cluster_halts() -> Result<()> {
    let (one, other) = (server()?, server()?);
    let mut scene = stopped("twinned", &one)?;
    let twin = twin(&scene, &other)?;
    twin.batch("SELECT pg_create_logical_replication_slot('walwright_twinned', 'pgoutput')")?;
    let owner = scene.state()?.takeover;
    scene.move_to(&one, &other)?;
    scene.unwatched();
    assert_eq!(
        scene.halts("system-mismatch")?,
        "system-mismatch: the checkpoint is of the cluster with system identifier SYSTEM, this server has SYSTEM (connector NAME)"
    );
    assert_eq!(scene.state()?.takeover, owner, "a daemon at the wrong server does not fence the right one");
    Ok(())
}

/// Faults: ACK-14, PG-17.
#[test]
fn a_restored_server_halts() -> Result<()> {
    let mut server = server()?;
    let mut scene = stopped("rewound", &server)?;
    server.stop(Stop::Fast)?;
    let mut backup = server.copy()?;
    server.restart()?;
    scene.sql()?.batch("CREATE TABLE later AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")?;
    one_more(&scene, 3)?;
    server.stop(Stop::Fast)?;
    backup.restart()?;
    scene.move_to(&server, &backup)?;
    assert_eq!(
        scene.halts("server-behind")?,
        "server-behind: the checkpoint is at LSN, the server's WAL ends at LSN: it was restored or forked from an earlier state (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-14, PG-22.
#[test]
fn a_promoted_standby_goes_on_and_the_old_primary_halts() -> Result<()> {
    let mut primary = server()?;
    let mut scene = stopped("promoted", &primary)?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    standby.follow(&primary)?;
    primary.restart()?;
    standby.restart()?;
    scene.insert(3, 3)?;
    let end: String = primary.sql("promoted")?.value("SELECT pg_current_wal_lsn()::text")?;
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
    poll(WITHIN, || Ok(standby.sql("promoted")?.value::<bool>(&replayed)?.then_some(())))?.ok_or("no replay")?;
    primary.stop(Stop::Fast)?;

    // A standby is waited for, and taken once it is promoted.
    scene.move_to(&primary, &standby)?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene
            .cause(&mut daemon, "postgres-not-ready", "retrying")?
            .replace(&standby.address().ip().to_string(), "HOST"),
        "postgres-not-ready: HOST is a standby, a primary is needed (connector NAME)"
    );
    standby.sql("promoted")?.batch("SELECT pg_promote()")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(4, 4)?;
    let seen = scene.read("orders", 4)?;
    let mut ids: Vec<_> = seen.iter().map(|seen| seen.field("id").as_i64().unwrap_or_default()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    scene.finish(daemon)?;
    assert_eq!(scene.state()?.checkpoint.map(|checkpoint| checkpoint.timeline), Some(2));

    primary.restart()?;
    scene.move_to(&standby, &primary)?;
    assert_eq!(
        scene.halts("timeline-mismatch")?,
        "timeline-mismatch: the checkpoint is on timeline 2, this server on 1: it was left behind by a promotion (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-16, PG-17.
#[test]
fn a_standby_promoted_before_the_checkpoint_halts() -> Result<()> {
    let mut primary = server()?;
    let mut scene = stopped("forked", &primary)?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    primary.restart()?;
    one_more(&scene, 3)?;
    primary.stop(Stop::Fast)?;
    // It follows nobody that is there, so it ends where it was copied.
    standby.follow(&primary)?;
    standby.restart()?;
    let sql = standby.sql("forked")?;
    sql.batch("SELECT pg_promote()")?;
    // Its WAL grows past the checkpoint: the position alone would not tell.
    sql.batch("INSERT INTO orders SELECT i, 'OTHER' FROM generate_series(100, 5000) i")?;
    scene.move_to(&primary, &standby)?;
    assert_eq!(
        scene.halts("timeline-mismatch")?,
        "timeline-mismatch: timeline 1 was left at LSN, but the checkpoint is at LSN: what lies between was published and is not on this server (timeline 2) (connector NAME)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 3);
    Ok(())
}
