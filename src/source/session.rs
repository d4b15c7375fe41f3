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
/// No honest server sends more than this before it knows who we are.
const STARTUP_BYTES_MAX: usize = 64 * 1024;
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

/// A connection that takes commands.
pub(super) struct Session {
    wire: Wire,
    host: String,
    port: u16,
    inbox: Vec<u8>,
    limit: usize,
    parameters: BTreeMap<String, String>,
}

impl Session {
    /// Connects to one host, up to the first ReadyForQuery.
    pub(super) fn open(settings: &SourceSettings, host: &str) -> Result<Session> {
        let tls = super::tls::client_config(&settings.security)?;
        let wire = Wire::connect(host, settings.port, tls, ANSWER_TIMEOUT)?;
        let mut session = Session::over(wire, host, settings.port);
        session.send(&startup(settings))?;
        auth::authenticate(&mut session, settings)?;
        session.limit = ANSWER_BYTES_MAX;
        session.until_ready(During::Startup(&settings.user))?;
        Ok(session)
    }

    /// A session over a connection that has said nothing yet.
    pub(super) fn over(wire: Wire, host: &str, port: u16) -> Session {
        let (inbox, parameters) = (Vec::new(), BTreeMap::new());
        Session { wire, host: host.to_owned(), port, inbox, limit: STARTUP_BYTES_MAX, parameters }
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

    /// The next message; while none comes, `go_on` is asked about once a second, with the time waited so far.
    fn receive_while(&mut self, mut go_on: impl FnMut(Duration) -> bool) -> Result<Message> {
        self.wire.set_timeout(PATIENCE).map_err(|error| self.broken(error))?;
        let since = Instant::now();
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
                Ok(count) => self.inbox.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if is_timeout(&error) && go_on(since.elapsed()) => {}
                Err(error) if is_timeout(&error) => {
                    return Err(self.broken(io::Error::other("the server did not answer in time")));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
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
                _ => {}
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
    use super::*;

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
