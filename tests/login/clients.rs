//! Client certificates to Postgres.

use std::path::Path;

use walwright::model::{ClientCertificate, Secret, Security};
use walwright::source::SourceSettings;

use super::tls::{server, throwaway, verify};
use super::{refusal, settings};
use crate::support::Result;
use crate::support::certificates::{Authority, Issued};
use crate::support::postgres::Postgres;
use crate::support::scene::Scene;
use crate::support::stack::Stack;

fn shown(server: &Postgres, authority: &Authority, client: &Issued) -> Result<SourceSettings> {
    let settings = settings(server, verify(authority));
    let key = Secret::new(std::fs::read_to_string(&client.key)?);
    let client_certificate = Some(ClientCertificate { certificate: client.certificate.clone(), key });
    Ok(SourceSettings { password: None, security: Security { client_certificate, ..settings.security }, ..settings })
}

fn believing(authority: &Authority, hba: &str) -> Result<Postgres> {
    let mut server = server(authority, "IP:ADDRESS")?;
    server.believe(&authority.certificate())?;
    server.restart()?;
    server.admit_only(hba)?;
    Ok(server)
}

#[test]
fn a_certificate_says_who_we_are() -> Result<()> {
    let authority = throwaway("clients")?;
    let server = believing(&authority, "hostssl all all 127.0.0.0/8 cert")?;
    let ours = authority.client("postgres")?;
    assert_eq!(refusal(&shown(&server, &authority, &ours)?)?, None);
    assert_eq!(
        refusal(&shown(&server, &authority, &authority.client("somebody")?)?)?.as_deref(),
        Some("postgres-authentication: the server said: certificate authentication failed for user \"postgres\"")
    );
    assert_eq!(
        refusal(&settings(&server, verify(&authority)))?.as_deref(),
        Some("postgres-authentication: the server said: connection requires a valid client certificate")
    );
    let told = refusal(&shown(&server, &authority, &throwaway("foreign")?.client("postgres")?)?)?.unwrap_or_default();
    assert_eq!(told, "postgres-unreachable: no connection to ADDRESS: received fatal alert: UnknownCA");
    Ok(())
}

#[test]
fn what_is_wrong_with_the_files_is_said() -> Result<()> {
    let authority = throwaway("unfit")?;
    let server = believing(&authority, "hostssl all all 127.0.0.0/8 cert")?;
    let (ours, other) = (authority.client("postgres")?, authority.client("somebody")?);
    let told = |issued: Issued| -> Result<String> {
        let told = refusal(&shown(&server, &authority, &issued)?)?.unwrap_or_default();
        let folder = authority.certificate().parent().unwrap_or(Path::new("")).display().to_string();
        Ok(told.replace(&folder, "~"))
    };
    let (certificate, key) = (ours.certificate, ours.key);
    assert_eq!(
        told(Issued { certificate: certificate.clone(), key: other.key })?,
        "reference-unreadable: tls_cert ~/postgres-DNS-client-internal.crt and tls_key do not fit"
    );
    assert_eq!(
        told(Issued { certificate: certificate.clone(), key: certificate })?,
        "reference-unreadable: tls_key is no private key in PEM"
    );
    assert_eq!(
        told(Issued { certificate: key.clone(), key })?,
        "reference-unreadable: tls_cert ~/postgres-DNS-client-internal.key: no certificate could be read"
    );
    Ok(())
}

#[test]
fn a_connector_shows_its_certificate_and_its_password() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("both")?);
    let server = believing(&authority, "hostssl all all 127.0.0.0/8 scram-sha-256 clientcert=verify-full")?;
    let scene = Scene::on("shown", &server, &stack.kafka, stack.registry.url())?;
    let client = authority.client("shown")?;
    let ca = authority.certificate();
    scene.connector(
        "tls = \"disable\"",
        &format!(
            "tls_ca = {ca:?}\ntls_cert = {:?}\ntls_key = {{ file = {:?} }}\nchannel_binding = \"require\"",
            client.certificate, client.key
        ),
    )?;
    let daemon = scene.open()?;
    scene.insert(1, 5)?;
    scene.read("orders", 5)?;
    let shown: i64 = scene.sql()?.value(
        "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
          WHERE a.application_name = 'walwright/shown' AND s.client_dn = '/CN=shown'",
    )?;
    assert_eq!(shown, 2, "the replication connection and the SQL session");
    scene.finish(daemon)
}
