//! TLS to Postgres, with a certificate authority of the test's own.

use std::path::PathBuf;

use walwright::model::TlsMode;

use super::{refusal, settings};
use crate::support::Result;
use crate::support::certificates::Authority;
use crate::support::postgres::{Options, Postgres};
use crate::support::scene::Scene;
use crate::support::stack::Stack;

pub(super) fn verify(authority: &Authority) -> TlsMode {
    TlsMode::VerifyFull { ca: Some(authority.certificate()) }
}

/// A server with a certificate for this name, `ADDRESS` for its own address.
pub(super) fn server(authority: &Authority, name: &str) -> Result<Postgres> {
    let mut server = Postgres::start(&Stack::shared()?.sandbox, Options::default())?;
    let issued = authority.issue(&name.replace("ADDRESS", &server.address().ip().to_string()))?;
    server.show_certificate(&issued)?;
    server.restart()?;
    Ok(server)
}

pub(super) fn throwaway(name: &str) -> Result<Authority> {
    Authority::new(Stack::shared()?.sandbox.folder(name)?)
}

/// The connector with `tls = "verify-full"`.
fn demand_tls(scene: &Scene, ca: &PathBuf) -> Result<()> {
    scene.connector("tls = \"disable\"", &format!("tls_ca = {ca:?}"))
}

#[test]
fn a_verified_server_is_streamed_from_and_both_connections_are_encrypted() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("authority")?);
    let server = server(&authority, "IP:ADDRESS")?;
    // Nobody comes in without TLS.
    server.admit_only("hostssl all all 127.0.0.0/8 scram-sha-256")?;
    let scene = Scene::on("encrypted", &server, &stack.kafka, stack.registry.url())?;
    demand_tls(&scene, &authority.certificate())?;
    let daemon = scene.open()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    let sessions = scene.sql()?.query(
        "SELECT a.backend_type, s.ssl, s.version FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
          WHERE a.application_name = 'walwright/encrypted' ORDER BY 1",
        &[],
    )?;
    let sessions: Vec<(String, bool, String)> =
        sessions.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let encrypted = |kind: &str| (kind.to_owned(), true, "TLSv1.3".to_owned());
    assert_eq!(sessions, [encrypted("client backend"), encrypted("walsender")]);
    scene.finish(daemon)
}

/// Faults: PG-21.
#[test]
fn only_the_right_server_is_believed() -> Result<()> {
    let authority = throwaway("right")?;
    let server = server(&authority, "IP:ADDRESS")?;
    assert_eq!(refusal(&settings(&server, verify(&authority)))?, None);
    assert_eq!(refusal(&settings(&server, TlsMode::Disable))?, None, "in plain text where it is spelled out");
    let stranger = TlsMode::VerifyFull { ca: Some(throwaway("stranger")?.certificate()) };
    let unknown = "postgres-unreachable: no connection to ADDRESS: invalid peer certificate: UnknownIssuer; \
                   set tls_ca in [source] to the CA that issued it";
    assert_eq!(refusal(&settings(&server, stranger))?.as_deref(), Some(unknown));
    assert_eq!(refusal(&settings(&server, TlsMode::VerifyFull { ca: None }))?.as_deref(), Some(unknown));
    Ok(())
}

#[test]
fn encrypted_whoever_answers_only_where_it_is_spelled_out() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("self_made")?);
    let server = server(&authority, "DNS:elsewhere.internal")?;
    server.admit_only("hostssl all all 127.0.0.0/8 scram-sha-256")?;
    assert_eq!(refusal(&settings(&server, TlsMode::Require))?, None);
    let plain = refusal(&settings(&server, TlsMode::Disable))?.unwrap_or_default();
    assert!(plain.starts_with("postgres-authentication: the server said: no pg_hba.conf entry"), "{plain}");
    let told = "server-setting: ADDRESS does not offer TLS; turn ssl on in Postgres, or spell out tls = \"disable\"";
    assert_eq!(refusal(&settings(&stack.postgres, TlsMode::Require))?.as_deref(), Some(told), "never in plain text");
    Ok(())
}

/// Faults: PG-21.
#[test]
fn a_certificate_for_another_name_is_refused() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("other")?);
    let server = server(&authority, "DNS:elsewhere.internal")?;
    let ip = server.address().ip().to_string();
    let told = "no connection to ADDRESS: invalid peer certificate: certificate not valid for name \"HOST\"; certificate \
                is only valid for DnsName(\"elsewhere.internal\"); connect by a name that it carries, or have one issued for this name";
    let refused = refusal(&settings(&server, verify(&authority)))?.unwrap_or_default();
    assert_eq!(refused.replace(&ip, "HOST"), format!("postgres-unreachable: {told}"));

    let scene = Scene::on("wrong_name", &server, &stack.kafka, stack.registry.url())?;
    demand_tls(&scene, &authority.certificate())?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "postgres-unreachable", "retrying")?;
    let cause = cause.replace(&server.address().to_string(), "ADDRESS").replace(&ip, "HOST");
    assert_eq!(cause, format!("postgres-unreachable: {told} (connector NAME)"));
    Ok(())
}

#[test]
fn a_server_without_tls_is_refused() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("plain")?);
    let told = "server-setting: ADDRESS does not offer TLS; turn ssl on in Postgres, or spell out tls = \"disable\"";
    assert_eq!(refusal(&settings(&stack.postgres, verify(&authority)))?.as_deref(), Some(told));
    let scene = Scene::new("plain")?;
    demand_tls(&scene, &authority.certificate())?;
    scene.push()?;
    let cause = scene.halts("server-setting")?.replace(&stack.postgres.address().to_string(), "ADDRESS");
    assert_eq!(cause, format!("{told} (connector NAME)"));
    Ok(())
}

#[test]
fn an_authority_that_cannot_be_read_is_named() -> Result<()> {
    let scene = Scene::new("unreadable")?;
    demand_tls(&scene, &PathBuf::from("nowhere.pem"))?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "reference-unreadable", "retrying")?,
        "reference-unreadable: tls_ca ~/connectors/nowhere.pem: no certificate could be read (connector NAME): I/O error: No such file or directory (os error 2)"
    );
    Ok(())
}
