//! Connections that are dead, and servers that only have nothing to say.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use walwright::model::{Lsn, TlsMode};
use walwright::source::{Replication, SourceSettings, Stream, StreamSettings};

use super::settings;
use crate::support::Result;
use crate::support::postgres::SUPERUSER;
use crate::support::proxy::Proxy;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Silence after which a connection counts as dead here.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream of the scene's publication, as the superuser, through the proxy.
fn stream(scene: &Scene, proxy: &Proxy, patience: Duration) -> Result<Stream> {
    let settings = SourceSettings {
        port: proxy.address().port(),
        database: scene.name.clone(),
        ..settings(&Stack::shared()?.postgres, TlsMode::Disable)
    };
    let patience = StreamSettings { receive_timeout: patience, ..StreamSettings::for_wal_sender_timeout(patience) };
    let mut replication = Replication::connect(&settings)?;
    let from = replication.create_slot(&scene.slot(), false, |_| true)?;
    Ok(replication.start(&scene.slot(), from, &scene.slot(), &patience)?)
}

/// Takes what comes until `until`; the longest silence.
fn listen(stream: Stream, until: impl Fn(&Stream) -> bool) -> Result<Duration> {
    let (begun, mut heard, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while !until(&stream) {
        match stream.frames.recv_timeout(Duration::from_millis(50)) {
            Ok(frames) => {
                longest = longest.max(heard.elapsed());
                heard = Instant::now();
                stream.recycle(frames);
            }
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < 3 * WITHIN => {}
            Err(RecvTimeoutError::Timeout) => return Err("the stream does not get there".into()),
            Err(RecvTimeoutError::Disconnected) => return Err(stream.finish().chain().into()),
        }
    }
    stream.stop(None)?;
    Ok(longest)
}

/// Faults: PG-05.
#[test]
fn an_idle_server_is_asked_and_not_given_up() -> Result<()> {
    let scene = Scene::new("idle_server")?;
    let proxy = scene.through_proxy()?;
    // It says nothing of its own accord.
    scene.sql()?.batch(&format!("ALTER ROLE {SUPERUSER} IN DATABASE {} SET wal_sender_timeout = 0", scene.name))?;
    let (stream, begun) = (stream(&scene, &proxy, PATIENCE)?, Instant::now());
    let longest = listen(stream, |_| begun.elapsed() > 6 * PATIENCE)?;
    assert!(longest > PATIENCE / 3, "it is silent, for {longest:?} at the longest");
    Ok(())
}

/// Faults: PG-05.
#[test]
#[ignore = "test-full: decodes half a gigabyte, and measures"]
fn a_server_that_filters_for_long_is_not_given_up() -> Result<()> {
    let patience = 2 * PATIENCE;
    let scene = Scene::new("filtering_server")?;
    let (proxy, sql) = (scene.through_proxy()?, scene.sql()?);
    // Writing a share of a transaction to disk takes a moment in which nobody is heard: small shares, short moments.
    for setting in ["wal_sender_timeout = '4s'", "logical_decoding_work_mem = '1MB'"] {
        sql.batch(&format!("ALTER ROLE {SUPERUSER} IN DATABASE {} SET {setting}", scene.name))?;
    }
    let stream = stream(&scene, &proxy, patience)?;
    sql.batch("CREATE TABLE noise (i int); INSERT INTO noise SELECT generate_series(1, 10000000)")?;
    let end: Lsn = sql.value::<String>("SELECT pg_current_wal_flush_lsn()::text")?.parse()?;
    let begun = Instant::now();
    let longest = listen(stream, |stream| stream.received_wal_end() >= end)?;
    println!("filtered for {:?}, silent for {longest:?} at the longest", begun.elapsed());
    assert!(begun.elapsed() > patience * 3 / 2, "too short to show anything: {:?}", begun.elapsed());
    Ok(())
}

/// Faults: PG-03.
#[test]
fn a_black_hole_is_found_and_the_next_connection_passes() -> Result<()> {
    let scene = Scene::new("black_hole")?;
    let proxy = scene.through_proxy()?;
    let lost = stream(&scene, &proxy, PATIENCE)?;
    proxy.swallow();
    let begun = Instant::now();
    let told = listen(lost, |_| false).unwrap_err().to_string();
    assert!(
        told.starts_with("postgres-unreachable: the replication connection broke: the server has said nothing for 2."),
        "{told}"
    );
    assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    let settings =
        SourceSettings { port: proxy.address().port(), ..settings(&Stack::shared()?.postgres, TlsMode::Disable) };
    Replication::connect(&settings)?.identify_system()?;
    Ok(())
}
