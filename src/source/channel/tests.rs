//! The login against a server that the test plays.

use tokio::join;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, SslNegotiation};

use super::*;

fn request(code: i32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + data.len()).unwrap();
    [b"R", &length.to_be_bytes()[..], &code.to_be_bytes(), data].concat()
}

/// What comes of a login at a server that says this, in pieces, and what the server hears after the startup message.
fn outcome(said: &[&[u8]]) -> (String, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut config = Config::new();
        config.user("ww").password("geheim").ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let server = async {
            let length = theirs.read_u32().await.unwrap();
            theirs.read_exact(&mut vec![0; length as usize - 4]).await.unwrap();
            for piece in said {
                // A client that has refused is gone already.
                drop(theirs.write_all(piece).await);
                tokio::task::yield_now().await;
            }
            drop(theirs.shutdown().await);
            let mut heard = Vec::new();
            drop(theirs.read_to_end(&mut heard).await);
            heard
        };
        let login = async {
            let error = config.connect_raw(Channel::over(ours, None), AsItIs).await.err();
            error.map_or("in".to_owned(), |error| std::error::Error::source(&error).unwrap_or(&error).to_string())
        };
        join!(login, server)
    })
}

#[test]
fn no_server_gets_the_password_or_its_md5() {
    for (code, data) in [(3, &b""[..]), (5, b"salt"), (7, b""), (-1, b"")] {
        let asked = request(code, data);
        let refused = (format!("the server asks for authentication method {code}"), Vec::new());
        assert_eq!(outcome(&[&asked]), refused);
        assert_eq!(outcome(&[&asked[..3], &asked[3..]]), refused, "in pieces");
        let behind_a_notice = [b"N\0\0\0\x08abcd", &*asked].concat();
        assert_eq!(Login::default().follow(&behind_a_notice), Err(Unanswered::Method(code)));
    }
}

#[test]
fn a_method_that_comes_late_is_refused_too() {
    let (error, heard) = outcome(&[&request(10, b"SCRAM-SHA-256\0\0"), &request(3, b"")]);
    assert_eq!(error, "the server asks for authentication method 3");
    assert!(!heard.windows(6).any(|window| window == b"geheim"));
}

#[test]
fn scram_is_answered_and_trust_needs_no_answer() {
    let (_, heard) = outcome(&[&request(10, b"SCRAM-SHA-256\0\0")]);
    assert!(heard.starts_with(b"p") && !heard.windows(6).any(|window| window == b"geheim"));
    // R, then ReadyForQuery.
    assert_eq!(outcome(&[&request(0, b""), b"Z\0\0\0\x05I"]).0, "in");
}

#[test]
fn a_message_shorter_than_its_head_ends_the_login() {
    let told = |length| format!("the server sent a message of type 'N' with the impossible length {length}");
    assert_eq!(outcome(&[b"N\0\0\0\x03"]).0, told(3));
    assert_eq!(outcome(&[b"N\xFF\xFF\xFF\xFF"]).0, told(-1));
    assert_eq!(
        Login::default().follow(&[b'R', 0, 0, 0, 7, 0, 0, 0, 10]),
        Err(Unanswered::Length { tag: b'R', length: 7 })
    );
}

/// Faults PG-27.
#[test]
fn what_is_only_claimed_costs_no_memory() {
    for tag in *b"RESNKZ" {
        let huge = [&[tag], &(1_i32 << 30).to_be_bytes()[..], b"\0\0\0\x0a"].concat();
        let mut told = String::new();
        let counted = allocation_counter::measure(|| told = outcome(&[&huge]).0);
        let tag = char::from(tag);
        assert_eq!(told, format!("the server sent a message of type {tag:?} with the impossible length 1073741824"));
        assert!(counted.bytes_max < 1 << 20, "{counted:?}");
    }
}

/// Faults PG-27.
#[test]
fn a_login_that_does_not_end_is_cut() {
    let flood = b"S\0\0\0\x0bin\0hot\0".repeat(1 << 16);
    let behind_trust = outcome(&[&request(0, b""), &flood]).0;
    assert_eq!(behind_trust, "the server's answer has more than 262144 bytes");
}

#[test]
fn the_head_may_come_byte_by_byte() {
    let mut login = Login::default();
    let said = [&b"S\0\0\0\x0cin\0hot\0\0"[..], &request(10, b"SCRAM-SHA-256\0\0"), &request(12, b"v=")].concat();
    for byte in &said {
        assert_eq!(login.follow(&[*byte]), Ok(false));
    }
    assert_eq!(login.follow(&request(0, b"")), Ok(false));
    assert_eq!(login.follow(b"Z\0\0\0\x05I"), Ok(true));
}
