//! Servers that are not what they should be: downgrades are refused before anything of use is said.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use walwright::model::{Lsn, Secret, TlsMode};
use walwright::source::{Replication, SourceSettings, StreamSettings};

use super::binding::bound;
use super::tls::{server, throwaway, verify};
use super::{refusal, refusals, settings};
use crate::support::Result;
use crate::support::scene::Scene;
use crate::support::stack::Stack;
use crate::support::tls_proxy::{self, Inside};

/// What no impostor hears.
const PASSWORD: &str = "c4nary-impostor";
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

/// A client of a server that the test plays. What it says is kept.
struct Peer {
    socket: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Peer {
    /// Its startup message.
    fn startup(&mut self) -> io::Result<()> {
        self.body(4).map(drop)
    }

    /// The body of its next message.
    fn message(&mut self) -> io::Result<Vec<u8>> {
        self.body(5)
    }

    fn body(&mut self, head: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; head];
        self.socket.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(*bytes.last_chunk().unwrap());
        let mut body = vec![0; length as usize - 4];
        self.socket.read_exact(&mut body)?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(bytes.iter().chain(&body));
        Ok(body)
    }

    fn say(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.socket.write_all(&[&[tag], &length.to_be_bytes()[..], body].concat())
    }

    fn request(&mut self, code: u32, data: &[u8]) -> io::Result<()> {
        self.say(b'R', &[&code.to_be_bytes(), data].concat())
    }

    /// These bytes behind the startup message.
    fn say_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.startup()?;
        self.socket.write_all(bytes)
    }

    /// SCRAM up to a challenge whose nonce is the client's own with `nonce` behind it.
    fn scram(&mut self, nonce: &str, iterations: u32) -> io::Result<()> {
        let first = self.scram_begins()?;
        // A nonce has any printable characters, "r=" among them, but no comma (RFC 5802 §5.1).
        let own = first.rsplit_once(",r=").map_or("", |(_, nonce)| nonce);
        self.request(11, format!("r={own}{nonce},s=QUFBQUFBQUFBQUFBQUFBQQ==,i={iterations}").as_bytes())
    }

    /// The same with a nonce that is not the client's.
    fn challenge(&mut self, nonce: &str, iterations: u32) -> io::Result<()> {
        self.scram_begins()?;
        self.request(11, format!("{nonce},s=QUFBQUFBQUFBQUFBQUFBQQ==,i={iterations}").as_bytes())
    }

    fn scram_begins(&mut self) -> io::Result<String> {
        self.startup()?;
        self.request(10, b"SCRAM-SHA-256\0\0")?;
        Ok(String::from_utf8_lossy(&self.message()?).into_owned())
    }

    /// SCRAM up to this proof of the server's.
    fn proof(&mut self, iterations: u32, proof: &[u8]) -> io::Result<()> {
        self.scram("x", iterations)?;
        self.message()?;
        self.request(12, proof)
    }
}

/// What a server does with a client.
type Script = fn(&mut Peer) -> io::Result<()>;

/// A server that follows a script, another one whenever it is given one.
struct Impostor {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    fn start(script: Script) -> Result<Self> {
        let listener = TcpListener::bind(Stack::shared()?.sandbox.port()?)?;
        let impostor =
            Self { address: listener.local_addr()?, script: Arc::new(Mutex::new(script)), heard: Arc::default() };
        let (script, heard) = (Arc::clone(&impostor.script), Arc::clone(&impostor.heard));
        #[allow(clippy::disallowed_methods, reason = "an impostor lives as long as the test's process")]
        drop(thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (script, heard) = (*script.lock().unwrap_or_else(PoisonError::into_inner), Arc::clone(&heard));
                drop(thread::spawn(move || {
                    let mut peer = Peer { socket, heard };
                    // A client that has refused is gone already; one that has not is let speak.
                    if script(&mut peer).is_ok() {
                        while peer.message().is_ok() {}
                    }
                }));
            }
        }));
        Ok(impostor)
    }

    fn follow(&self, script: Script) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    fn settings(&self) -> Result<SourceSettings> {
        let ours = settings(&Stack::shared()?.postgres, TlsMode::Disable);
        let (hosts, password) = (vec![self.address.ip().to_string()], Some(Secret::new(PASSWORD)));
        Ok(SourceSettings { hosts, port: self.address.port(), password, ..ours })
    }

    /// All that clients have said.
    fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whoever answers with `trust`, and tells of itself what a primary does.
fn trusting(peer: &mut Peer) -> io::Result<()> {
    peer.startup()?;
    peer.request(0, b"")?;
    for parameter in [&b"server_version\x0015.4\0"[..], b"in_hot_standby\0off\0"] {
        peer.say(b'S', parameter)?;
    }
    peer.say(b'Z', b"I")
}

/// Faults PG-27.
#[test]
fn whoever_cannot_prove_or_say_it_is_refused_by_both_connections() -> Result<()> {
    let untrusted = "postgres-authentication: the server could not prove that it knows the password: ";
    let protocol = "protocol: the server sent ";
    let cases: [(Script, &str, &str); 11] = [
        (|peer| peer.proof(4096, b"v=QUFB"), untrusted, "SCRAM verification error"),
        // So few rounds make our proof cheap to guess at, but it is none of the server's.
        (|peer| peer.proof(1, b"v=QUFB"), untrusted, "SCRAM verification error"),
        (|peer| peer.proof(4096, b"e=other-error"), untrusted, ""),
        (|peer| peer.scram("x", 1 << 31), untrusted, ""),
        (|peer| peer.challenge("r=another", 4096), untrusted, ""),
        (
            |peer| peer.say_raw(b"E\x40\0\0\0SFATAL\0"),
            protocol,
            "a message of type 'E' with the impossible length 1073741824",
        ),
        (|peer| peer.say_raw(b"R\xFF\xFF\xFF\xFF"), protocol, "a message of type 'R' with the impossible length -1"),
        (|peer| peer.say_raw(b"E\0\0\0\x03"), protocol, "a message of type 'E' with the impossible length 3"),
        // NegotiateProtocolVersion, though we ask for none that is new.
        (
            |peer| peer.say_raw(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0"),
            protocol,
            "an unexpected or malformed message of type 'v' during authentication",
        ),
        (
            |peer| peer.say_raw(b"z\0\0\0\x04"),
            protocol,
            "an unexpected or malformed message of type 'z' during authentication",
        ),
        (
            |peer| {
                peer.startup()?;
                peer.request(0, b"")?;
                (0..).try_for_each(|i| peer.say(b'S', format!("parameter{i}\0on\0").as_bytes()))
            },
            "protocol: the server's answer has more than 262144 bytes",
            "",
        ),
    ];
    let impostor = Impostor::start(trusting)?;
    for (number, (script, begins, ends)) in cases.into_iter().enumerate() {
        impostor.follow(script);
        for told in refusals(&impostor.settings()?)?.into_iter().map(Option::unwrap_or_default) {
            assert!(told.starts_with(begins) && told.ends_with(ends) && !told.is_empty(), "case {number}: {told}");
            assert!(!told.contains(PASSWORD), "case {number}: {told}");
        }
    }
    let heard = impostor.heard();
    assert!(!heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
    Ok(())
}

/// A login without a question, or with the proof left out.
#[test]
fn who_asks_for_no_proof_gives_none() -> Result<()> {
    let impostor = Impostor::start(trusting)?;
    let skipped: [Script; 2] = [
        |peer| peer.scram("x", 4096).and_then(|()| peer.message()).and_then(|_| peer.request(0, b"")),
        |peer| {
            peer.startup()?;
            peer.request(10, b"SCRAM-SHA-256\0\0")?;
            peer.message()?;
            peer.request(0, b"")
        },
    ];
    for skipped in skipped {
        impostor.follow(skipped);
        for told in refusals(&impostor.settings()?)?.into_iter().map(Option::unwrap_or_default) {
            assert!(told.starts_with("protocol: the server sent an unexpected or malformed "), "{told}");
        }
    }
    Ok(())
}

/// The daemon tries again where somebody else may answer next time, and halts where the protocol is broken.
#[test]
fn a_daemon_at_an_impostor_tells_no_password() -> Result<()> {
    let (scene, impostor) = (Scene::new("impostor")?, Impostor::start(|peer| peer.proof(4096, b"v=QUFB"))?);
    let server = Stack::shared()?.postgres.address();
    scene.connector(&format!("host = \"{}\"", server.ip()), &format!("host = \"{}\"", impostor.address.ip()))?;
    scene.connector(&format!("port = {}", server.port()), &format!("port = {}", impostor.address.port()))?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "postgres-authentication", "retrying")?,
        "postgres-authentication: the server could not prove that it knows the password: SCRAM verification error (connector NAME)"
    );
    impostor.follow(|peer| peer.say_raw(b"z\0\0\0\x04"));
    assert_eq!(
        scene.cause(&mut daemon, "protocol", "halted")?,
        "protocol: the server sent an unexpected or malformed message of type 'z' during authentication (connector NAME)"
    );
    for said in [daemon.log()?.into_bytes(), impostor.heard()] {
        assert!(!String::from_utf8_lossy(&said).contains("s3cret"));
    }
    Ok(())
}

#[test]
#[ignore = "test-full: waits for two minutes"]
fn a_server_that_never_comes_to_the_point_is_given_up() -> Result<()> {
    let impostor = Impostor::start(|peer| {
        peer.startup()?;
        // A notice of 200 bytes, one a second.
        peer.socket.write_all(b"N\0\0\0\xC8")?;
        let (_alive, over): (_, Receiver<()>) = channel();
        while over.recv_timeout(Duration::from_secs(1)).is_err() {
            peer.socket.write_all(b"x")?;
        }
        Ok(())
    })?;
    let told = "postgres-unreachable: no connection to ADDRESS: the server did not answer in time";
    assert_eq!(refusal(&impostor.settings()?)?.as_deref(), Some(told));

    // It takes the command, and never streams.
    impostor.follow(trusting);
    let replication = Replication::connect(&impostor.settings()?)?;
    let told = replication.start("slot", Lsn(1), "publication", &StreamSettings::default()).err();
    let told = told.map(|error| error.to_string()).unwrap_or_default();
    assert!(told.ends_with("the server did not answer in time"), "{told}");
    Ok(())
}
