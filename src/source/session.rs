//! A replication session before it streams: startup, authentication and simple queries, one at a time, blocking.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::auth;
use super::frame::{self, put_length_and, put_message};
use super::refusal::{During, Refusal};
use super::settings::SourceSettings;
use super::wire::{self, Wire};
use crate::error::{Error, Kind, Result};

/// Time for the handshake and for a command that has no reason to wait: operators are told within half a minute.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a command that may wait for long asks whether it should.
const PATIENCE: Duration = Duration::from_secs(1);
/// No honest server says more than this, in all its messages together, before it takes commands.
pub(super) const STARTUP_BYTES_MAX: usize = 256 * 1024;
/// Answers to commands: the largest is a timeline history file.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Protocol 3.0.
const PROTOCOL_VERSION: [u8; 4] = [0, 3, 0, 0];

/// One row of a simple query's result, as text; None is NULL.
pub(super) type TextRow = Vec<Option<Vec<u8>>>;

/// A message as its tag and body.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

/// The answer that is being received. A server that says something all the time, but never the end of it, is given up as
/// one that says nothing.
struct Answer {
    begun: Instant,
    /// How long had been waited when it was last asked whether to go on.
    asked: Duration,
    bytes: usize,
}

impl Answer {
    fn begin() -> Answer {
        Answer { begun: Instant::now(), asked: Duration::ZERO, bytes: 0 }
    }
}

/// A connection that takes commands.
pub(super) struct Session {
    wire: Wire,
    host: String,
    port: u16,
    inbox: Vec<u8>,
    /// What one answer may have in bytes.
    limit: usize,
    answer: Answer,
    parameters: BTreeMap<String, String>,
}

impl Session {
    /// Connects to one host, up to the first ReadyForQuery.
    pub(super) fn open(settings: &SourceSettings, host: &str) -> Result<Session> {
        let tls = super::tls::client_config(&settings.security)?;
        let wire = Wire::connect(host, settings.port, tls, ANSWER_TIMEOUT)?;
        let mut session = Session::over(wire, host, settings.port);
        session.log_in(settings)?;
        Ok(session)
    }

    /// From the startup message up to the first ReadyForQuery.
    pub(super) fn log_in(&mut self, settings: &SourceSettings) -> Result<()> {
        self.answer = Answer::begin();
        self.send(&startup(settings))?;
        auth::authenticate(self, settings)?;
        self.until_ready(During::Startup(&settings.user))?;
        self.limit = ANSWER_BYTES_MAX;
        Ok(())
    }

    /// A session over a connection that has said nothing yet.
    pub(super) fn over(wire: Wire, host: &str, port: u16) -> Session {
        let (inbox, parameters, answer) = (Vec::new(), BTreeMap::new(), Answer::begin());
        Session { wire, host: host.to_owned(), port, inbox, limit: STARTUP_BYTES_MAX, answer, parameters }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A parameter as the server reported it (`server_version`, `in_hot_standby` ...).
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The connection, and what was received beyond the last message: the beginning of the stream.
    pub(super) fn into_parts(self) -> (Wire, Vec<u8>) {
        (self.wire, self.inbox)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.send(bytes).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: io::Error) -> Error {
        wire::unreachable(&self.host, self.port, error)
    }

    /// The next message; notices are passed over, parameters kept.
    pub(super) fn receive(&mut self) -> Result<Message> {
        self.receive_while(|waited| waited < ANSWER_TIMEOUT)
    }

    /// The next message; until it is there, `go_on` is asked about once a second, with the time since the answer's begin.
    fn receive_while(&mut self, mut go_on: impl FnMut(Duration) -> bool) -> Result<Message> {
        self.wire.set_timeout(PATIENCE).map_err(|error| self.broken(error))?;
        loop {
            while let Some(message) = self.buffered()? {
                match message.tag {
                    b'N' => {}
                    b'S' => self.keep_parameter(&message.body),
                    _ => return Ok(message),
                }
            }
            let mut chunk = [0; 8192];
            match self.wire.read(&mut chunk) {
                Ok(0) => return Err(self.broken(io::Error::other("the server closed the connection"))),
                Ok(count) => self.take(chunk.get(..count).unwrap_or_default())?,
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
            let waited = self.answer.begun.elapsed();
            if waited.saturating_sub(self.answer.asked) >= PATIENCE {
                self.answer.asked = waited;
                if !go_on(waited) {
                    return Err(self.broken(io::Error::other("the server did not answer in time")));
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.answer.bytes = self.answer.bytes.saturating_add(bytes.len());
        if self.answer.bytes > self.limit {
            return Err(endless(self.limit));
        }
        self.inbox.extend_from_slice(bytes);
        Ok(())
    }

    fn buffered(&mut self) -> Result<Option<Message>> {
        let Some((tag, body, total)) = frame::message(&self.inbox, self.limit)? else { return Ok(None) };
        let message = Message { tag, body: body.to_vec() };
        drop(self.inbox.drain(..total));
        Ok(Some(message))
    }

    fn keep_parameter(&mut self, body: &[u8]) {
        let mut parts = body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.insert(name, value);
        }
    }

    fn until_ready(&mut self, during: During<'_>) -> Result<()> {
        loop {
            let message = self.receive()?;
            match message.tag {
                b'Z' => return Ok(()),
                b'E' => return Err(Refusal::parse(&message.body).into_error(during)),
                b'K' => {}
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// Runs one command and returns its rows.
    pub(super) fn query(&mut self, command: &str, during: During<'_>) -> Result<Vec<TextRow>> {
        self.query_while(command, during, |waited| waited < ANSWER_TIMEOUT)
    }

    /// Runs a command that may wait for long, see `receive_while`.
    pub(super) fn query_while(
        &mut self,
        command: &str,
        during: During<'_>,
        mut go_on: impl FnMut(Duration) -> bool,
    ) -> Result<Vec<TextRow>> {
        self.answer = Answer::begin();
        self.send(&query_message(command))?;
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            match self.receive_while(&mut go_on) {
                Ok(message) => match message.tag {
                    b'D' => rows.push(text_row(&message.body).ok_or_else(|| malformed("DataRow"))?),
                    b'E' => refusal = Some(Refusal::parse(&message.body).into_error(during)),
                    b'Z' => return refusal.map_or(Ok(rows), Err),
                    _ => {}
                },
                // After a fatal error the server hangs up; what it said counts, not that it left.
                Err(error) => return Err(refusal.unwrap_or(error)),
            }
        }
    }

    /// Runs START_REPLICATION, up to CopyBothResponse.
    pub(super) fn copy_both(&mut self, command: &str, during: During<'_>) -> Result<()> {
        self.answer = Answer::begin();
        self.send(&query_message(command))?;
        self.limit = frame::MESSAGE_BYTES_MAX;
        let message = self.receive()?;
        match message.tag {
            b'W' => Ok(()),
            b'E' => Err(Refusal::parse(&message.body).into_error(during)),
            tag => Err(malformed(&format!("message of type {:?} in answer to START_REPLICATION", char::from(tag)))),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The error of a message that does not follow the protocol.
pub(super) fn malformed(what: &str) -> Error {
    Error::new(Kind::Protocol, format!("the server sent an unexpected or malformed {what}"))
}

/// The error of a message that does not belong into a login.
pub(super) fn unexpected(tag: u8) -> Error {
    malformed(&format!("message of type {:?} during authentication", char::from(tag)))
}

/// The error of an answer that is longer than any should be.
pub(super) fn endless(limit: usize) -> Error {
    Error::new(Kind::Protocol, format!("the server's answer has more than {limit} bytes"))
}

/// The startup message. Every setting that changes the text of values is pinned, and no timeout may end the session.
fn startup(settings: &SourceSettings) -> Vec<u8> {
    let application = settings.application_name();
    let parameters = [
        ("user", settings.user.as_str()),
        ("database", &settings.database),
        ("replication", "database"),
        ("application_name", &application),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("options", "-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0"),
    ];
    let mut body = PROTOCOL_VERSION.to_vec();
    for (name, value) in parameters {
        // A zero byte would end the text early and smuggle in a parameter.
        body.extend(name.bytes().chain([0]).chain(value.bytes().filter(|byte| *byte != 0)).chain([0]));
    }
    body.push(0);
    let mut message = Vec::new();
    put_length_and(&mut message, &[&body]);
    message
}

fn query_message(command: &str) -> Vec<u8> {
    let mut message = Vec::new();
    put_message(&mut message, b'Q', &[command.as_bytes(), &[0]]);
    message
}

/// DataRow: a count, then for each column a length (-1 for NULL) and so many bytes.
fn text_row(body: &[u8]) -> Option<TextRow> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut row = TextRow::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            row.push(None);
            rest = after;
        } else {
            let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
            row.push(Some(value.to_vec()));
            rest = after;
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    use super::*;

    /// What comes of a command at a server that says this over and over, with a pause behind each.
    fn answered(said: &[u8], pause: Duration, go_on: impl FnMut(Duration) -> bool) -> Error {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut session = Session::over(Wire::over(ours), "a.internal", 5432);
        let (over, is_over) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while theirs.write_all(said).is_ok()
                    && (pause.is_zero() || is_over.recv_timeout(pause).is_err_and(waits))
                {}
            });
            let outcome = session.query_while("IDENTIFY_SYSTEM", During::Command, go_on);
            drop((session, over));
            outcome.unwrap_err()
        })
    }

    fn waits(why: std::sync::mpsc::RecvTimeoutError) -> bool {
        why == std::sync::mpsc::RecvTimeoutError::Timeout
    }

    /// Faults PG-27.
    #[test]
    fn a_server_that_says_something_but_never_the_answer_is_given_up() {
        let notice = b"N\0\0\0\x06ab";
        let row = b"D\0\0\0\x06\0\0";
        for said in [&notice[..], row, b"S\0\0\0\x08a\0b\0"] {
            let mut asked = 0;
            let go_on = |waited| {
                asked += 1;
                waited < Duration::from_secs(1)
            };
            let error = answered(said, Duration::from_millis(50), go_on);
            assert_eq!(
                error.to_string(),
                "postgres-unreachable: no connection to a.internal:5432: the server did not answer in time"
            );
            assert!((1..=2).contains(&asked), "once a second: {asked}");
        }
    }

    /// Faults PG-27.
    #[test]
    fn an_answer_that_does_not_end_is_cut() {
        for said in [&b"N\0\0\0\x06ab"[..], b"D\0\0\0\x06\0\0", b"S\0\0\0\x08a\0b\0"] {
            let error = answered(&said.repeat(1000), Duration::ZERO, |_| true);
            assert_eq!(error.to_string(), "protocol: the server's answer has more than 262144 bytes");
        }
    }

    #[test]
    fn rows_are_read_as_they_are_or_not_at_all() {
        let body = [&[0, 2][..], &3i32.to_be_bytes(), b"abc", &(-1i32).to_be_bytes()].concat();
        assert_eq!(text_row(&body), Some(vec![Some(b"abc".to_vec()), None]));
        for cut in 0..body.len() {
            assert_eq!(text_row(&body[..cut]), None, "{cut}");
        }
        assert_eq!(text_row(&[&[0, 1][..], &(-2i32).to_be_bytes()].concat()), None);
    }
}
