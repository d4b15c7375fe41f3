//! `walwright snapshot`

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::bars::Bars;
use super::{named, print_json};
use crate::config;
use crate::error::{At, Error, Kind, Result};
use crate::pipeline::{Command, SnapshotState as State, TableProgress};

/// How long the daemon may take to answer: a command waits until the connector has taken it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// How often bars move.
const LOOK: Duration = Duration::from_millis(500);

/// What to ask for.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The connector's name.
    connector: String,
    /// The table, as `schema.table`: its rows are read again, beside the stream.
    #[arg(long)]
    table: Option<String>,
    /// Only rows that fulfil this condition, as SQL: "placed_at > '2026-01-01'".
    #[arg(long = "where", value_name = "CONDITION", requires = "table", conflicts_with_all = ["pause", "resume", "cancel"])]
    filter: Option<String>,
    /// Read no further, for now: the table, or whatever is read.
    #[arg(long, conflicts_with_all = ["resume", "cancel"])]
    pause: bool,
    /// Go on with what was paused.
    #[arg(long, conflicts_with = "cancel")]
    resume: bool,
    /// Read no further; what was published stays.
    #[arg(long)]
    cancel: bool,
    /// The daemon's address; where not given, what the process file has it listen on, on this host.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// As JSON, also on a terminal; elsewhere it is JSON anyway.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn command(&self) -> Option<Command> {
        let table = self.table.clone();
        match table {
            table if self.pause => Some(Command::Pause { table }),
            table if self.resume => Some(Command::Resume { table }),
            table if self.cancel => Some(Command::Cancel { table }),
            Some(table) => Some(Command::Snapshot { table, filter: self.filter.clone() }),
            None => None,
        }
    }
}

pub(super) fn snapshot(config: &Path, arguments: &Arguments) -> Result<()> {
    let loaded = config::load_all(config)?;
    let name = named(loaded.connectors, &arguments.connector)?.plan.name;
    let daemon = Daemon::at(arguments.url.as_deref(), &loaded.process.admin.listen, &name)?;
    if let Some(command) = arguments.command() {
        daemon.give(&command)?;
    }
    if arguments.json || !std::io::stdout().is_terminal() {
        return print_json(&daemon.look()?);
    }
    follow(&daemon)
}

/// A connector of a running daemon.
struct Daemon {
    agent: ureq::Agent,
    url: String,
    connector: String,
}

impl Daemon {
    fn at(url: Option<&str>, listen: &str, connector: &str) -> Result<Daemon> {
        let base = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(listen)?),
        };
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
        let url = format!("{base}/connectors/{connector}/snapshots");
        Ok(Daemon { agent: config.build().into(), url, connector: connector.to_owned() })
    }

    fn look(&self) -> Result<Vec<TableProgress>> {
        self.answer(self.agent.get(&self.url).call())
    }

    fn give(&self, command: &Command) -> Result<Vec<String>> {
        self.answer(self.agent.post(&self.url).send_json(command))
    }

    fn answer<T: serde::de::DeserializeOwned>(
        &self,
        answer: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T> {
        let unreachable = |error: ureq::Error| {
            let detail = format!("no daemon answers at {}: is it running, and its [admin] listen this one?", self.url);
            self.failed(detail).because(error)
        };
        let mut answer = answer.map_err(unreachable)?;
        if answer.status() != 200 {
            let said = answer.body_mut().read_to_string().map_err(unreachable)?;
            return Err(self.failed(said.trim_end().to_owned()));
        }
        answer.body_mut().read_json().map_err(unreachable)
    }

    fn failed(&self, detail: String) -> Error {
        Error::new(Kind::CommandRefused, detail).at(At::connector(&self.connector))
    }
}

/// The address on this host of a daemon that listens there.
fn reachable(listen: &str) -> Result<String> {
    match listen.parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(Error::new(
            Kind::CommandRefused,
            "[admin] listen has port 0, so any: give the daemon's address with --url",
        )),
        Ok(address) if address.ip().is_unspecified() => Ok(match address {
            std::net::SocketAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
            std::net::SocketAddr::V6(_) => format!("[::1]:{}", address.port()),
        }),
        _ => Ok(listen.to_owned()),
    }
}

/// One bar a table, until nothing is read any more.
#[allow(clippy::disallowed_methods, reason = "a person looks on")]
fn follow(daemon: &Daemon) -> Result<()> {
    let bars = Bars::default();
    loop {
        let tables = daemon.look()?;
        bars.show(&daemon.connector, &tables);
        if !tables.iter().any(|table| table.state == State::Running) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}
