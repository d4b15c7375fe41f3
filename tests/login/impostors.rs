//! Servers that are not what they should be: downgrades are refused before anything of use is said.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use walwright::model::TlsMode;
use walwright::source::SourceSettings;

use super::binding::bound;
use super::tls::{server, throwaway, verify};
use super::{refusal, settings};
use crate::support::Result;
use crate::support::stack::Stack;
use crate::support::tls_proxy::{self, Inside};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What two clients that want TLS say to a server that answers so and then listens on.
fn answered(answer: &'static [u8], tls: TlsMode) -> Result<(Option<String>, Vec<u8>)> {
    let stack = Stack::shared()?;
    let listener = TcpListener::bind(stack.sandbox.port()?)?;
    let settings = SourceSettings { port: listener.local_addr()?.port(), ..settings(&stack.postgres, tls) };
    thread::scope(|scope| {
        let heard = scope.spawn(move || -> Result<Vec<u8>> {
            let mut heard = Vec::new();
            for _ in 0..2 {
                let (mut client, _) = listener.accept()?;
                let mut request = [0; 8];
                client.read_exact(&mut request)?;
                assert_eq!(request, SSL_REQUEST);
                client.write_all(answer)?;
                // A client that is in a hurry to leave resets the connection.
                drop(client.read_to_end(&mut heard));
            }
            Ok(heard)
        });
        let told = refusal(&settings)?;
        Ok((told, heard.join().unwrap()?))
    })
}

#[test]
fn a_server_that_declines_tls_hears_nothing_more() -> Result<()> {
    for tls in [TlsMode::Require, TlsMode::VerifyFull { ca: None }] {
        let (told, heard) = answered(b"N", tls.clone())?;
        let declined =
            "server-setting: ADDRESS does not offer TLS; turn ssl on in Postgres, or spell out tls = \"disable\"";
        assert_eq!((told.as_deref(), heard), (Some(declined), Vec::new()));
        let (told, heard) = answered(b"ESFATAL\0C53300\0Mhow much is the fish\0\0", tls)?;
        let trouble =
            "postgres-unreachable: no connection to ADDRESS: the server has answered the request for TLS with an error";
        assert_eq!((told.as_deref(), heard), (Some(trouble), Vec::new()));
    }
    Ok(())
}

#[test]
fn plain_text_that_was_slipped_in_behind_the_answer_is_not_believed() -> Result<()> {
    // AuthenticationOk and ReadyForQuery, as if they had come through TLS (CVE-2021-23222).
    let (told, _) = answered(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", TlsMode::Require)?;
    let told = told.unwrap_or_default();
    assert!(told.starts_with("postgres-unreachable: no connection to ADDRESS: received corrupt message"), "{told}");
    Ok(())
}

/// A front with a certificate of its own before a server without TLS, which therefore offers no binding.
#[test]
fn who_sits_in_the_middle_is_found_out() -> Result<()> {
    let stack = Stack::shared()?;
    let address = stack.sandbox.port()?;
    let impostor = throwaway("impostor")?;
    let issued = impostor.issue(&format!("IP:{}", address.ip()))?;
    tls_proxy::start(address, stack.postgres.address(), &issued, Inside::Postgres)?;
    let through = |settings: SourceSettings| SourceSettings { port: address.port(), ..settings };

    let verified = refusal(&through(settings(&stack.postgres, verify(&throwaway("honest")?))))?.unwrap_or_default();
    assert!(verified.contains("invalid peer certificate: UnknownIssuer"), "{verified}");
    let unbound = refusal(&through(bound(&stack.postgres, TlsMode::Require)))?.unwrap_or_default();
    assert!(unbound.contains("does not bind the login to the TLS channel"), "{unbound}");
    // What tls = "require" alone is worth.
    assert_eq!(refusal(&through(settings(&stack.postgres, TlsMode::Require)))?, None);
    Ok(())
}

/// Where the server has TLS and offers the binding, whoever removes the offer or shows another certificate is found out
/// by the server: SCRAM tells it, under its proof, what the client saw.
#[test]
fn a_server_with_tls_finds_out_who_relays() -> Result<()> {
    let (stack, authority) = (Stack::shared()?, throwaway("relayed")?);
    let server = server(&authority, "IP:ADDRESS")?;
    let address: SocketAddr = stack.sandbox.port()?;
    let issued = throwaway("relay")?.issue(&format!("IP:{}", address.ip()))?;
    tls_proxy::start(address, server.address(), &issued, Inside::Relay(authority.certificate()))?;
    for login in [settings(&server, TlsMode::Require), bound(&server, TlsMode::Require)] {
        let told = refusal(&SourceSettings { port: address.port(), ..login })?.unwrap_or_default();
        assert_eq!(told, "postgres-authentication: the server said: SCRAM channel binding check failed");
    }
    Ok(())
}
