//! Passwords to Postgres: SCRAM or nothing. A server that asks for the password, or for its MD5, gets neither.

use walwright::model::{PasswordMethod, Secret, Security, TlsMode};
use walwright::source::SourceSettings;

use super::{refusal, settings};
use crate::support::Result;
use crate::support::postgres::{Options, Postgres};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// A server that asks by this method of pg_hba.conf, and whose role `old` has its password as MD5.
fn server(method: &str) -> Result<Postgres> {
    let mut server = Postgres::start(&Stack::shared()?.sandbox, Options::default())?;
    server.sql("postgres")?.batch(
        "SET password_encryption = 'md5'; CREATE ROLE old LOGIN REPLICATION PASSWORD 'geheim';
         SET password_encryption = 'scram-sha-256'; CREATE ROLE new LOGIN REPLICATION PASSWORD 'geheim'",
    )?;
    server.admit(method)?;
    server.restart()?;
    Ok(server)
}

fn role(server: &Postgres, user: &str) -> SourceSettings {
    let user = user.to_owned();
    SourceSettings { user, password: Some(Secret::new("geheim")), ..settings(server, TlsMode::Disable) }
}

fn told(asked: &str, user: &str) -> String {
    format!(
        "postgres-authentication: the server asks user \"{user}\" for a {asked} password; set scram-sha-256 in \
         pg_hba.conf and set the password anew"
    )
}

#[test]
fn the_md5_of_a_password_is_not_given() -> Result<()> {
    let server = server("md5")?;
    assert_eq!(refusal(&role(&server, "old"))?, Some(told("md5", "old")));
    assert_eq!(refusal(&role(&server, "new"))?, None, "pg_hba's md5 is SCRAM for a role that has such a password");
    Ok(())
}

#[test]
fn the_md5_of_a_password_is_given_where_it_is_spelled_out() -> Result<()> {
    let server = server("md5")?;
    let spelled_out = |user: &str| {
        let role = role(&server, user);
        let security = Security { password_method: PasswordMethod::Md5, ..role.security.clone() };
        SourceSettings { security, ..role }
    };
    assert_eq!(refusal(&spelled_out("old"))?, None);
    assert_eq!(refusal(&spelled_out("new"))?, None, "SCRAM all the same where the server asks for it");
    let wrong = SourceSettings { password: Some(Secret::new("falsch")), ..spelled_out("old") };
    let failed = "postgres-authentication: the server said: password authentication failed for user \"old\"";
    assert_eq!(refusal(&wrong)?.as_deref(), Some(failed));
    server.admit("password")?;
    server.sql("postgres")?.batch("SELECT pg_reload_conf()")?;
    assert_eq!(refusal(&spelled_out("old"))?, Some(told("clear text", "old")), "never in clear text");
    Ok(())
}

#[test]
fn a_password_is_not_given_in_clear_text() -> Result<()> {
    let (stack, server) = (Stack::shared()?, server("password")?);
    for user in ["old", "new"] {
        assert_eq!(refusal(&role(&server, user))?, Some(told("clear text", user)));
    }
    let log = std::fs::read_to_string(server.log())?;
    assert!(!log.contains("password authentication failed"), "{log}");

    let scene = Scene::on("givenaway", &server, &stack.kafka, stack.registry.url())?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "postgres-authentication", "retrying")?;
    assert_eq!(cause, format!("{} (connector NAME)", told("clear text", "NAME")));
    let checked = scene.command(&["check", "--live"])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success());
    assert!(said.contains(&format!("database: {}", told("clear text", "givenaway"))), "{said}");

    // Once the server asks as it should, the daemon comes in by itself.
    server.admit("scram-sha-256")?;
    server.sql("postgres")?.batch("SELECT pg_reload_conf()")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

#[test]
fn a_password_that_is_missing_is_named() -> Result<()> {
    let settings = SourceSettings { password: None, ..settings(&Stack::shared()?.postgres, TlsMode::Disable) };
    let told =
        "postgres-authentication: the server asks user \"postgres\" for a password and [source] password is not set";
    assert_eq!(refusal(&settings)?.as_deref(), Some(told));
    Ok(())
}
