//! Secrets that change while the daemon runs: they are read again at each connection, and waited for where they are gone.

use super::brokers::{Secured, with_password};
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Result, poll};

/// Ends the stream; the next attempt reads everything anew.
fn interrupt(scene: &Scene) -> Result<()> {
    let sql = scene.sql()?;
    let ended = poll(WITHIN, || {
        let ended = sql.query(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active",
            &[&scene.slot()],
        )?;
        Ok((!ended.is_empty()).then_some(()))
    })?;
    ended.ok_or_else(|| "nobody streams".into())
}

/// Orders up to this one arrive, each once.
fn arrive(scene: &Scene, from: i64, to: i64) -> Result<()> {
    scene.insert(from, to)?;
    scene.read("orders", usize::try_from(to)?)?;
    Ok(())
}

fn finish(scene: &Scene, daemon: Daemon, count: usize) -> Result<()> {
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), count);
    Ok(())
}

/// Faults: PG-20.
#[test]
fn the_password_to_postgres_changes() -> Result<()> {
    let scene = Scene::new("rotated")?;
    let mut daemon = scene.open()?;
    arrive(&scene, 1, 3)?;
    scene.sql()?.batch(&format!("ALTER ROLE {} PASSWORD 'rotated'", scene.name))?;
    scene.write("password", "rotated")?;
    interrupt(&scene)?;
    arrive(&scene, 4, 6)?;
    daemon.wait_ready(WITHIN)?;
    let log = daemon.log()?;
    assert!(!log.contains("postgres-authentication"), "{log}");
    finish(&scene, daemon, 6)
}

#[test]
fn a_secret_that_is_gone_for_a_moment_is_waited_for() -> Result<()> {
    let scene = Scene::new("gone")?;
    let mut daemon = scene.open()?;
    arrive(&scene, 1, 3)?;
    let file = scene.folder.join("password");
    let password = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    interrupt(&scene)?;
    let cause = scene.cause(&mut daemon, "reference-unreadable", "retrying")?;
    assert_eq!(
        cause,
        "reference-unreadable: ~/connectors/NAME.toml:7:12: source.password: ~/connectors/../password cannot be read: \
         No such file or directory (os error 2) (connector NAME)"
    );
    // Whoever writes it opens it first.
    std::fs::write(&file, "")?;
    daemon.wait_report(&scene.name, WITHIN, |report| {
        report["cause"].as_str().is_some_and(|cause| cause.contains("password is empty"))
    })?;
    std::fs::write(&file, password)?;
    daemon.wait_ready(WITHIN)?;
    arrive(&scene, 4, 6)?;
    finish(&scene, daemon, 6)
}

#[test]
fn a_secret_that_is_not_there_yet_is_waited_for() -> Result<()> {
    let scene = Scene::new("notyet")?;
    scene.push()?;
    std::fs::rename(scene.folder.join("password"), scene.folder.join("later"))?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "reference-unreadable", "retrying")?;
    std::fs::rename(scene.folder.join("later"), scene.folder.join("password"))?;
    daemon.wait_ready(WITHIN)?;
    finish(&scene, daemon, 0)
}

#[test]
fn a_variable_that_is_not_set_halts() -> Result<()> {
    let scene = Scene::new("unset")?;
    scene.connector("{ file = \"../password\" }", "{ env = \"NOBODY_SETS_THIS\" }")?;
    scene.push()?;
    let cause = scene.halts("configuration")?;
    assert!(
        cause.ends_with("source.password: environment variable NOBODY_SETS_THIS is not set (connector NAME)"),
        "{cause}"
    );
    Ok(())
}

/// Faults: KF-18.
#[test]
fn the_password_to_kafka_changes() -> Result<()> {
    let (secured, name) = (Secured::shared()?, "kafka_rotated");
    secured.kafka.access(&[&["user", name, "first"]])?;
    secured.allow(&format!("User:{name}"), name)?;
    let scene = with_password(name, "SASL", "SCRAM-SHA-512", name, "first")?;
    let daemon = scene.start()?;
    arrive(&scene, 1, 3)?;
    secured.kafka.access(&[&["user", name, "second"]])?;
    scene.write("kafka_password", "second")?;
    interrupt(&scene)?;
    arrive(&scene, 4, 6)?;
    let log = daemon.log()?;
    assert!(!log.contains("kafka-authorization"), "{log}");
    finish(&scene, daemon, 6)
}

/// The broker ends sessions after a while, as it does with tokens: what is in use then must not be stuck.
#[test]
#[ignore = "test-full: waits until Kafka counts as away"]
fn a_session_with_kafka_that_runs_out_takes_the_new_password() -> Result<()> {
    let (secured, name) = (Secured::shared()?, "kafka_brief");
    secured.kafka.access(&[&["user", name, "first"]])?;
    secured.allow(&format!("User:{name}"), name)?;
    let scene = with_password(name, "BRIEF", "SCRAM-SHA-512", name, "first")?;
    let mut daemon = scene.start()?;
    arrive(&scene, 1, 3)?;
    secured.kafka.access(&[&["user", name, "second"]])?;
    scene.insert(4, 6)?;
    scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
    scene.write("kafka_password", "second")?;
    daemon.wait_ready(WITHIN)?;
    arrive(&scene, 7, 9)?;
    finish(&scene, daemon, 9)
}
