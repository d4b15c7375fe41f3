//! A replication connection: the walsender's commands (Postgres docs, "Streaming Replication Protocol").

use std::str::FromStr;
use std::time::Duration;

use super::refusal::During;
use super::session::{Session, TextRow, malformed};
use super::settings::{SourceSettings, StreamSettings};
use super::stream::Stream;
use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, TargetSessionAttrs};

/// The oldest server whose pgoutput knows `binary` and `messages`.
pub const SERVER_VERSION_MIN: u32 = 14;

/// What IDENTIFY_SYSTEM says.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    pub system_identifier: String,
    pub timeline: u32,
    /// The server's flush position.
    pub flush_lsn: Lsn,
    pub database: String,
}

/// Where `timeline` ended and its successor began.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    pub timeline: u32,
    pub at: Lsn,
}

/// A connection in replication mode. It takes commands until it streams.
pub struct Replication {
    session: Session,
    major: u32,
}

impl Replication {
    /// Connects to the first host that is as `target_session_attrs` asks for.
    ///
    /// # Errors
    /// What the first host said that answers and refuses; else what each host's trouble was.
    pub fn connect(settings: &SourceSettings) -> Result<Replication> {
        let mut troubles = Vec::new();
        for host in &settings.hosts {
            match Session::open(settings, host).and_then(|session| Replication::on_target(session, settings, host)) {
                Err(error) if matches!(error.kind(), Kind::PostgresUnreachable | Kind::PostgresNotReady) => {
                    troubles.push(error);
                }
                settled => return settled,
            }
        }
        Err(none_of(troubles))
    }

    pub(super) fn on_target(session: Session, settings: &SourceSettings, host: &str) -> Result<Replication> {
        // Reported since 14; older servers are refused by their version.
        let on = |name: &str| session.parameter(name) == Some("on");
        check_target(settings, host, on("in_hot_standby"), on("default_transaction_read_only"))?;
        let version = session.parameter("server_version").unwrap_or_default();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        let major = digits.parse().map_err(|_| malformed("server_version"))?;
        if major < SERVER_VERSION_MIN {
            let detail = format!("{host} runs Postgres {major}; {SERVER_VERSION_MIN} or newer is needed");
            return Err(Error::new(Kind::ServerSetting, detail));
        }
        Ok(Replication { session, major })
    }

    /// The server's major version.
    pub fn major_version(&self) -> u32 {
        self.major
    }

    /// Which cluster this is, and where it stands.
    pub fn identify_system(&mut self) -> Result<SystemIdentity> {
        let rows = self.session.query("IDENTIFY_SYSTEM", During::Command)?;
        let row = rows.first().ok_or_else(|| malformed("answer to IDENTIFY_SYSTEM"))?;
        Ok(SystemIdentity {
            system_identifier: field(row, 0)?,
            timeline: field(row, 1)?,
            flush_lsn: field(row, 2)?,
            database: field(row, 3)?,
        })
    }

    /// The switches that led to `timeline`, oldest first; none for the first timeline, which has no history.
    pub fn timeline_history(&mut self, timeline: u32) -> Result<Vec<TimelineSwitch>> {
        if timeline <= 1 {
            return Ok(Vec::new());
        }
        let rows = self.session.query(&format!("TIMELINE_HISTORY {timeline}"), During::Command)?;
        let content: String = rows.first().map_or_else(|| Err(malformed("timeline history")), |row| field(row, 1))?;
        parse_history(&content)
    }

    /// Creates a logical slot for pgoutput and returns its consistent point: the first transaction that it will send
    /// whole is the first to commit after it. The server waits for the transactions that run now; meanwhile
    /// `go_on` is asked about once a second, with the time waited so far, and false gives up.
    pub fn create_slot(&mut self, name: &str, failover: bool, go_on: impl FnMut(Duration) -> bool) -> Result<Lsn> {
        let options = match (self.major, failover) {
            (17.., true) => "(SNAPSHOT 'nothing', FAILOVER true)",
            (15.., _) => "(SNAPSHOT 'nothing')",
            _ => "NOEXPORT_SNAPSHOT",
        };
        let command = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {options}", identifier(name));
        let rows = self.session.query_while(&command, During::Slot(name), go_on)?;
        field(rows.first().ok_or_else(|| malformed("answer to CREATE_REPLICATION_SLOT"))?, 1)
    }

    /// Drops the slot; one that another session holds is refused with `Kind::SlotHeld`.
    pub fn drop_slot(&mut self, name: &str) -> Result<()> {
        self.session.query(&format!("DROP_REPLICATION_SLOT {}", identifier(name)), During::Slot(name)).map(drop)
    }

    /// Starts the stream at `from`. Postgres skips in silence what lies before the slot's own position, so the caller
    /// reads the slot again afterwards.
    pub fn start(mut self, slot: &str, from: Lsn, publication: &str, settings: &StreamSettings) -> Result<Stream> {
        if let Some(timeout) = settings.wal_sender_timeout {
            let command = format!("SET wal_sender_timeout = '{}ms'", timeout.as_millis());
            self.session.query(&command, During::Command)?;
        }
        let command = start_command(slot, from, publication);
        self.session.copy_both(&command, During::Slot(slot))?;
        let (wire, received) = self.session.into_parts();
        Stream::spawn(wire, &received, from, publication, settings)
    }
}

fn start_command(slot: &str, from: Lsn, publication: &str) -> String {
    let (slot, names) = (identifier(slot), literal(&identifier(publication)));
    format!(
        "START_REPLICATION SLOT {slot} LOGICAL {from} \
         (proto_version '1', publication_names {names}, binary 'true', messages 'true')"
    )
}

/// Whether a host is the one that is looked for; `PostgresNotReady` where it is not.
pub(super) fn check_target(settings: &SourceSettings, host: &str, standby: bool, read_only: bool) -> Result<()> {
    let why = match settings.target_session_attrs {
        _ if standby => "is a standby, a primary is needed",
        TargetSessionAttrs::ReadWrite if read_only => "has default_transaction_read_only on, read-write is asked for",
        TargetSessionAttrs::Primary | TargetSessionAttrs::ReadWrite => return Ok(()),
    };
    Err(Error::new(Kind::PostgresNotReady, format!("{host} {why}")))
}

/// One error for several hosts. A standby that answered says more than a host that did not.
pub(super) fn none_of(mut troubles: Vec<Error>) -> Error {
    if troubles.len() < 2 {
        let nobody = || Error::new(Kind::Configuration, "[source] host names no host");
        return troubles.pop().unwrap_or_else(nobody);
    }
    let not_ready = troubles.iter().any(|error| error.kind() == Kind::PostgresNotReady);
    let kind = if not_ready { Kind::PostgresNotReady } else { Kind::PostgresUnreachable };
    let details: Vec<&str> = troubles.iter().map(Error::detail).collect();
    Error::new(kind, format!("no host is a primary that accepts connections: {}", details.join("; ")))
}

fn field<T: FromStr>(row: &TextRow, index: usize) -> Result<T> {
    let text = row.get(index).and_then(Option::as_ref).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("answer to a replication command"))
}

/// A timeline history file: `timeline <tab> LSN <tab> reason`, comments after `#`.
pub(super) fn parse_history(content: &str) -> Result<Vec<TimelineSwitch>> {
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let timeline = words.next().and_then(|word| word.parse().ok());
            let at = words.next().and_then(|word| word.parse().ok());
            timeline.zip(at).map(|(timeline, at)| TimelineSwitch { timeline, at })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| malformed("timeline history"))
}

/// A quoted identifier of the replication grammar (repl_scanner.l), which is also that of `publication_names`.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal of the replication grammar: a backslash is a backslash there, and `E''` does not exist.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: DDL-16.
    #[test]
    fn names_are_quoted_for_the_replication_grammar() {
        assert_eq!(
            start_command("s\"lot", Lsn(0x1_0000_00A8), "it's \"odd\\"),
            "START_REPLICATION SLOT \"s\"\"lot\" LOGICAL 1/A8 (proto_version '1', \
             publication_names '\"it''s \"\"odd\\\"', binary 'true', messages 'true')"
        );
    }

    #[test]
    fn a_history_file_is_read_line_by_line() {
        let content = "1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t1/A8\tbefore 2000-01-01\n";
        let switch = |timeline, at| TimelineSwitch { timeline, at: Lsn(at) };
        assert_eq!(parse_history(content).unwrap(), [switch(1, 0x300_0148), switch(2, 0x1_0000_00A8)]);
        assert_eq!(parse_history("1\tnot an lsn\t").unwrap_err().kind(), Kind::Protocol);
    }

    #[test]
    fn several_hosts_make_one_error() {
        let trouble = |kind, detail: &str| Error::new(kind, detail);
        let error = none_of(vec![
            trouble(Kind::PostgresUnreachable, "no connection to a:1: refused"),
            trouble(Kind::PostgresNotReady, "b is a standby, a primary is needed"),
        ]);
        assert_eq!(
            error.to_string(),
            "postgres-not-ready: no host is a primary that accepts connections: no connection to a:1: refused; \
             b is a standby, a primary is needed"
        );
        assert_eq!(none_of(Vec::new()).kind(), Kind::Configuration);
    }
}
