//! The handshake against a server that the test plays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::super::wire::Wire;
use super::*;
use crate::model::{Secret, TargetSessionAttrs, TlsMode};

fn settings(password: Option<&str>) -> SourceSettings {
    SourceSettings {
        hosts: vec!["a.internal".to_owned()],
        target_session_attrs: TargetSessionAttrs::Primary,
        port: 5432,
        database: "oms".to_owned(),
        user: "ww".to_owned(),
        password: password.map(Secret::new),
        security: Security::from(TlsMode::Disable),
        slot: "s".to_owned(),
        publication: "p".to_owned(),
        connector: "oms".to_owned(),
    }
}

fn request(code: i32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'R', &[&code.to_be_bytes(), data]);
    out
}

/// What comes of a server that sends this, whatever it is told.
fn outcome(password: Option<&str>, said: &[&[u8]]) -> (Result<()>, Vec<u8>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&said.concat()).unwrap();
    let mut session = Session::over(Wire::over(ours), "a.internal", 5432);
    let outcome = authenticate(&mut session, &settings(password));
    drop(session);
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).unwrap();
    (outcome, heard)
}

#[test]
fn no_server_gets_the_password_or_its_md5() {
    for (code, name) in [(3, "clear text"), (5, "md5")] {
        let (outcome, heard) = outcome(Some("geheim"), &[&request(code, b"salt")]);
        assert_eq!(
            outcome.unwrap_err().to_string(),
            format!(
                "postgres-authentication: the server asks user \"ww\" for a {name} password; \
                 set scram-sha-256 in pg_hba.conf and set the password anew"
            )
        );
        assert!(heard.is_empty());
    }
}

#[test]
fn a_server_that_skips_its_proof_is_not_believed() {
    let (outcome, heard) = outcome(Some("geheim"), &[&request(10, b"SCRAM-SHA-256\0\0"), &request(0, b"")]);
    assert_eq!(outcome.unwrap_err().kind(), Kind::Protocol);
    assert!(heard.starts_with(b"p") && !heard.windows(6).any(|window| window == b"geheim"));
}

#[test]
fn a_server_that_makes_us_count_to_two_billion_is_refused() {
    let challenge = request(11, b"r=,s=QUFB,i=2147483647");
    let (outcome, _) = outcome(Some("geheim"), &[&request(10, b"SCRAM-SHA-256\0\0"), &challenge]);
    assert_eq!(outcome.unwrap_err().kind(), Kind::PostgresAuthentication);
}

#[test]
fn what_is_missing_is_named() {
    let (missing, _) = outcome(None, &[&request(10, b"SCRAM-SHA-256\0\0")]);
    assert_eq!(
        missing.unwrap_err().to_string(),
        "postgres-authentication: the server asks user \"ww\" for a password and [source] password is not set"
    );
    let (unknown, _) = outcome(Some("x"), &[&request(10, b"SCRAM-SHA-512\0\0")]);
    assert_eq!(unknown.unwrap_err().detail(), "the server does not offer SCRAM-SHA-256");
    let (kerberos, _) = outcome(Some("x"), &[&request(7, b"")]);
    assert_eq!(kerberos.unwrap_err().detail(), "the server asks for authentication method 7, which is not supported");
}

#[test]
fn a_hostile_length_ends_the_handshake() {
    let (outcome, _) = outcome(None, &[b"R\x7F\xFF\xFF\xFF"]);
    assert_eq!(outcome.unwrap_err().kind(), Kind::Protocol);
}

#[test]
fn trust_needs_no_answer() {
    let (outcome, heard) = outcome(None, &[&request(0, b"")]);
    assert!(outcome.is_ok() && heard.is_empty());
}
