//! Canaries: secrets and values of rows that must not appear in anything that the daemon says.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::brokers::{PLAIN_PASSWORD, Secured, with_password};
use super::registries::Front;
use crate::support::Result;
use crate::support::daemon::Daemon;
use crate::support::registry::get_any;
use crate::support::scene::{Scene, WITHIN};

const POSTGRES: &str = "c4nary-postgres";
const TOKEN: &str = "c4nary-registry";
const TEXT: &str = "c4nary-row";
const NUMBER: &str = "770200770200";

/// A connector with a canary wherever there is a secret, and everything logged.
fn scene(name: &str) -> Result<Scene> {
    let secured = Secured::shared()?;
    secured.allow("User:plain", name)?;
    let scene = with_password(name, "SASL", "PLAIN", "plain", PLAIN_PASSWORD)?;
    scene.process("level = \"debug\"", "level = \"trace\"")?;
    scene.process("[kafka.client]", "[kafka.client]\n\"debug\" = \"all\"")?;
    scene.sql()?.batch(&format!("ALTER ROLE {name} PASSWORD '{POSTGRES}'"))?;
    scene.write("password", POSTGRES)?;
    let front = Front::start(&format!("{name}_front"), &format!("authorization: Bearer {TOKEN}"))?;
    front.before(&scene, "token = { file = \"token\" }")?;
    scene.write("token", TOKEN)?;
    Ok(scene)
}

/// All that the daemon says now, and what the commands say.
fn said(scene: &Scene, daemon: &Daemon) -> Result<String> {
    let mut said = daemon.log()? + &daemon.get("/metrics")?;
    said += &get_any(&format!("http://{}/readyz", daemon.admin()))?;
    for command in [&["status"][..], &["status", "--json"], &["check"], &["check", "--live"]] {
        let Output { stdout, stderr, .. } = scene.command(command)?;
        said += &String::from_utf8_lossy(&stdout);
        said += &String::from_utf8_lossy(&stderr);
    }
    Ok(said)
}

/// No canary sings; `expected` is among what was said, so that it was said at all.
fn silent(scene: &Scene, daemon: &Daemon, expected: &str) -> Result<()> {
    let said = said(scene, daemon)?;
    assert!(said.contains(expected), "{expected} was not said: {said}");
    for canary in [POSTGRES, PLAIN_PASSWORD, TOKEN, TEXT, NUMBER] {
        let line = said.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary}");
    }
    println!("{expected}: {} bytes were searched", said.len());
    Ok(())
}

/// Runs into a fault of the data, after some that went well.
fn fault(name: &str, kind: &str, prepare: impl Fn(&Scene) -> Result<()>, row: &str) -> Result<()> {
    let scene = scene(name)?;
    prepare(&scene)?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch(&format!("INSERT INTO orders VALUES ({NUMBER}, 'PLACED', 1, '{TEXT}')"))?;
    let seen = scene.read("orders", 1)?;
    assert_eq!(seen[0].field("note").as_str().or(Some(TEXT)), Some(TEXT));
    assert_eq!(seen[0].key, NUMBER);
    silent(&scene, &daemon, "streaming")?;
    scene.sql()?.batch(&row.replace("TEXT", TEXT).replace("NUMBER", NUMBER))?;
    scene.cause(&mut daemon, kind, "halted")?;
    silent(&scene, &daemon, kind)?;
    daemon.kill_hard()
}

fn as_it_is(_: &Scene) -> Result<()> {
    Ok(())
}

#[test]
fn a_value_that_does_not_fit() -> Result<()> {
    fault(
        "canary_range",
        "value-out-of-range",
        |scene| scene.sql()?.batch("ALTER TABLE orders ALTER amount TYPE numeric"),
        "INSERT INTO orders VALUES (NUMBER + 1, 'TEXT', 770200770200770200.12, 'TEXT')",
    )
}

#[test]
fn a_value_that_is_missing_and_a_code_that_is_not_listed() -> Result<()> {
    fault(
        "canary_null",
        "null-value",
        |scene| {
            scene.sql()?.batch("ALTER TABLE orders ALTER status DROP NOT NULL")?;
            scene.connector("status = \"status\"", "status = { value = \"status\", on_null = \"halt\" }")
        },
        "INSERT INTO orders VALUES (NUMBER + 1, NULL, 1, 'TEXT')",
    )?;
    fault(
        "canary_code",
        "unlisted-code",
        |scene| scene.connector("status = \"status\"", "status = { value = \"status\", map = { PLACED = \"P\" } }"),
        "INSERT INTO orders VALUES (NUMBER + 1, 'TEXT', 1, 'TEXT')",
    )
}

#[test]
fn a_record_that_is_too_large_and_a_change_that_nobody_maps() -> Result<()> {
    fault(
        "canary_large",
        "record-too-large",
        as_it_is,
        "INSERT INTO orders VALUES (NUMBER + 1, 'TEXT', 1, repeat('TEXT', 300000))",
    )?;
    fault(
        "canary_unmapped",
        "unmapped",
        |scene| scene.connector("unmatched = \"filter\"", "unmatched = \"halt\""),
        "UPDATE orders SET note = 'TEXT-2', status = 'TEXT'",
    )
}

#[test]
fn a_column_that_changes() -> Result<()> {
    fault(
        "canary_schema",
        "schema-mismatch",
        as_it_is,
        "ALTER TABLE orders ALTER amount TYPE text; INSERT INTO orders VALUES (NUMBER + 1, 'TEXT', 'TEXT', 'TEXT')",
    )
}

/// Secrets that are refused: the errors of a login are made where the secret is at hand.
#[test]
fn secrets_that_are_refused() -> Result<()> {
    let scene = scene("canary_refused")?;
    scene.push()?;
    scene.sql()?.batch("ALTER ROLE canary_refused PASSWORD 'another'")?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "postgres-authentication", "retrying")?;
    silent(&scene, &daemon, "postgres-authentication")?;
    daemon.kill_hard()?;

    scene.write("token", &format!("{TOKEN}-another"))?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "registry-authorization", "retrying")?;
    silent(&scene, &daemon, "registry-authorization")?;
    daemon.kill_hard()?;

    scene.write("kafka_password", &format!("{PLAIN_PASSWORD}-another"))?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
    silent(&scene, &daemon, "kafka-authorization")?;
    daemon.kill_hard()?;

    // What is no key at all, in the place of one.
    scene.process("\"sasl.mechanism\"", "\"ssl.key.pem\" = { file = \"token\" }\n\"sasl.mechanism\"")?;
    let mut daemon = scene.launch()?;
    let kind = daemon.wait_report(&scene.name, WITHIN, |report| report["kind"].is_string())?;
    silent(&scene, &daemon, kind["kind"].as_str().unwrap_or_default())?;
    daemon.kill_hard()
}

/// A daemon that crashes leaves no core dump, however many bytes of one its parent allows.
#[test]
fn a_crash_leaves_no_core_dump() -> Result<()> {
    let scene = scene("canary_core")?;
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: limit.maximum, ..limit })?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch(&format!("INSERT INTO orders VALUES ({NUMBER}, 'PLACED', 1, '{TEXT}')"))?;
    scene.read("orders", 1)?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id()))?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<_> = core.ok_or("/proc names no limit of core dumps")?.split_whitespace().collect();
    let expected = if limit.maximum == Some(0) { "0" } else { "1" };
    assert_eq!(core[..2], [expected, expected]);

    daemon.signal(Signal::ABORT)?;
    let ended = daemon.wait(WITHIN)?;
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
    let other = Command::new("/bin/sh").args(["-c", "cd \"$0\"; kill -ABRT $$"]).arg(&scene.folder).status()?;
    println!("another program leaves a core dump on this host: {}", other.core_dumped());
    Ok(())
}
