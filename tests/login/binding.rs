//! SCRAM bound to the TLS channel (SCRAM-SHA-256-PLUS), and what a login that must be bound refuses.

use walwright::model::{ChannelBinding, PasswordMethod, Security, TlsMode};
use walwright::source::SourceSettings;

use super::tls::{server, throwaway, verify};
use super::{refusal, settings};
use crate::support::Result;
use crate::support::certificates::Authority;
use crate::support::postgres::{PASSWORD, Postgres, SUPERUSER};
use crate::support::stack::Stack;

const UNBOUND: &str = "postgres-authentication: the server does not bind the login to the TLS channel \
                       (SCRAM-SHA-256-PLUS), which channel_binding = \"require\" asks for";
const NOTHING: &str = "postgres-authentication: channel_binding = \"require\" has nothing to bind to: the connection is a \
                       Unix socket or plain text, or the server's certificate is signed without a hash of its own \
                       (Ed25519, RSA-PSS)";

/// The superuser, with a login that must be bound.
pub(super) fn bound(server: &Postgres, tls: TlsMode) -> SourceSettings {
    let settings = settings(server, tls);
    let security = Security { channel_binding: ChannelBinding::Require, ..settings.security };
    SourceSettings { security, ..settings }
}

#[test]
fn the_login_is_bound_by_the_hash_of_the_certificates_signature() -> Result<()> {
    let authority = Authority::rsa(Stack::shared()?.sandbox.folder("hashes")?)?;
    let mut server = server(&authority, "IP:ADDRESS")?;
    for hash in ["sha256", "sha384", "sha512"] {
        server.show_certificate(&authority.issue_with(&format!("IP:{}", server.address().ip()), hash)?)?;
        for newest in ["TLSv1.2", "TLSv1.3"] {
            server.set("ssl_max_protocol_version", newest);
            server.restart()?;
            assert_eq!(refusal(&bound(&server, verify(&authority)))?, None, "{hash} over {newest}");
            assert_eq!(refusal(&bound(&server, TlsMode::Require))?, None, "{hash} over {newest}");
        }
    }
    Ok(())
}

#[test]
fn a_signature_without_a_hash_binds_nothing() -> Result<()> {
    let authority = Authority::ed25519(Stack::shared()?.sandbox.folder("hashless")?)?;
    let server = server(&authority, "IP:ADDRESS")?;
    assert_eq!(refusal(&settings(&server, verify(&authority)))?, None);
    assert_eq!(refusal(&bound(&server, verify(&authority)))?.as_deref(), Some(NOTHING));
    Ok(())
}

#[test]
fn a_login_that_must_be_bound_is_never_unbound() -> Result<()> {
    let authority = throwaway("unbound")?;
    let server = server(&authority, "IP:ADDRESS")?;
    assert_eq!(refusal(&bound(&server, TlsMode::Disable))?.as_deref(), Some(NOTHING));
    let socket = vec![server.socket_folder().display().to_string()];
    assert_eq!(
        refusal(&SourceSettings { hosts: socket, ..bound(&server, verify(&authority)) })?.as_deref(),
        Some(NOTHING)
    );
    // Without a question there is no proof of who answers.
    server.admit_only("hostssl all all 127.0.0.0/8 trust")?;
    assert_eq!(refusal(&settings(&server, verify(&authority)))?, None);
    assert_eq!(refusal(&bound(&server, verify(&authority)))?.as_deref(), Some(UNBOUND));

    server
        .sql(SUPERUSER)?
        .batch(&format!("SET password_encryption = 'md5'; ALTER ROLE {SUPERUSER} PASSWORD '{PASSWORD}'"))?;
    server.admit_only("hostssl all all 127.0.0.0/8 md5")?;
    let with_md5 = |settings: SourceSettings| {
        let security = Security { password_method: PasswordMethod::Md5, ..settings.security };
        SourceSettings { security, ..settings }
    };
    assert_eq!(refusal(&with_md5(settings(&server, verify(&authority))))?, None);
    assert_eq!(refusal(&with_md5(bound(&server, verify(&authority))))?.as_deref(), Some(UNBOUND));
    Ok(())
}
