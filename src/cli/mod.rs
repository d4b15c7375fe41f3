//! One file a subcommand.

mod accept_gap;
mod bars;
mod check;
mod consent;
#[macro_use]
mod exit;
mod explain;
mod grants;
mod logging;
mod pages;
mod remove;
mod resync;
mod run;
mod schemas;
mod snapshot;
mod status;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{self, LogFormat};
use crate::connector::Connector;
use crate::error::{Error, Kind, Result};
use crate::pipeline::Operator;
use exit::Exit;

/// What `--help` and the manual end with.
const AFTER_HELP: &str = concat!(
    "Examples:
  walwright check --live                        what a start would say, without starting
  walwright grants oms | psql --dbname oms      let the connector oms into its database
  walwright schemas push                        register the contracts
  walwright run                                 run all connectors; SIGHUP reads their files again
  walwright status --json                       where each connector stands, with the daemon up or down
  walwright explain slot-ahead                  what happened, what is safe, what to do
  walwright snapshot oms --table public.orders  read the orders again, beside the stream
  walwright accept-gap oms --dry-run            what going on after a lost position would mean

",
    exit_codes!()
);

/// Postgres row changes to versioned Avro domain events on Kafka, exactly once.
#[derive(Debug, Parser)]
#[command(name = "walwright", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// The process file.
    #[arg(long, short, global = true, env = "WALWRIGHT_CONFIG", default_value = "walwright.toml")]
    config: PathBuf,
    /// How log lines are written; auto: human on a terminal, JSON elsewhere.
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormatArgument>,
    #[command(subcommand)]
    command: Command,
}

/// The form of log lines, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormatArgument {
    Auto,
    Human,
    Json,
}

impl From<LogFormatArgument> for LogFormat {
    fn from(argument: LogFormatArgument) -> LogFormat {
        match argument {
            LogFormatArgument::Auto => LogFormat::Auto,
            LogFormatArgument::Human => LogFormat::Human,
            LogFormatArgument::Json => LogFormat::Json,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all connectors until SIGTERM or SIGINT; what was received is published before the end.
    Run,
    /// Check configuration, connectors and contracts; all faults are shown at once.
    Check(check::Arguments),
    /// Show each connector's checkpoint, slot and lag, with the daemon up or down.
    Status(status::Arguments),
    /// Print the SQL with which a DBA creates a connector's role and publication, and no right too many.
    Grants(grants::Arguments),
    /// Read the rows of a table again while streaming goes on; pause, resume or cancel it; or show how far it is.
    Snapshot(snapshot::Arguments),
    /// Go on after a halt that lost the position, with the gap recorded: nothing is sent that is gone.
    AcceptGap(accept_gap::Arguments),
    /// Go on after a halt that lost the position, and read the rows of all tables again.
    Resync(resync::Arguments),
    /// Drop a connector's slot and its state on Kafka; its publication and topics stay.
    Remove(remove::Arguments),
    /// Say what an error of a kind means: what is safe, and what to do.
    Explain(explain::Arguments),
    /// Contracts: their versions against each other, and the schema registry.
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// Print the completions for a shell.
    Completions(pages::CompletionsArguments),
    /// Write the manual pages.
    Man(pages::ManArguments),
}

impl Cli {
    /// Runs the command; what goes wrong is printed with its remedy.
    pub fn execute(self) -> ExitCode {
        no_core_dumps().and_then(|()| self.run()).unwrap_or_else(|error| fail(&error)).into()
    }

    fn run(self) -> Result<Exit> {
        let config = &self.config;
        match self.command {
            Command::Run => run::run(config, self.log_format.map(LogFormat::from)).map(|()| Exit::Done),
            Command::Check(arguments) => check::check(config, &arguments).map(|()| Exit::Done),
            Command::Status(arguments) => status::status(config, &arguments).map(|()| Exit::Done),
            Command::Grants(arguments) => grants::grants(config, &arguments).map(|()| Exit::Done),
            Command::Snapshot(arguments) => snapshot::snapshot(config, &arguments).map(|()| Exit::Done),
            Command::Resync(arguments) => resync::resync(config, &arguments),
            Command::AcceptGap(arguments) => accept_gap::accept_gap(config, &arguments),
            Command::Remove(arguments) => remove::remove(config, &arguments),
            Command::Explain(arguments) => {
                explain::explain(&arguments);
                Ok(Exit::Done)
            }
            Command::Schemas(command) => schemas::schemas(config, &command).map(|()| Exit::Done),
            Command::Completions(arguments) => {
                pages::completions(&arguments);
                Ok(Exit::Done)
            }
            Command::Man(arguments) => pages::man(&arguments).map(|()| Exit::Done),
        }
    }
}

/// A core dump would hold secrets and rows. A limit of one byte keeps them also from the program that
/// /proc/sys/kernel/core_pattern may name, which a limit of 0 does not (core(5), Linux' `fs/coredump.c`).
fn no_core_dumps() -> Result<()> {
    if getrlimit(Resource::Core).maximum == Some(0) {
        return Ok(());
    }
    let limit = Rlimit { current: Some(1), maximum: Some(1) };
    setrlimit(Resource::Core, limit)
        .map_err(|error| Error::new(Kind::Bug, "core dumps cannot be switched off").because(error))
}

fn fail(error: &Error) -> Exit {
    eprintln!("error: {}\n  what to do: {}\n  more: {}", error.chain(), error.remedy(), error.more());
    if error.kind() == Kind::Configuration { Exit::Faults } else { Exit::Failed }
}

/// The connector of this name in the hands of an operator, whose command now logs what it waits for.
fn operator(config: &Path, name: &str, handle: &tokio::runtime::Handle) -> Result<Operator> {
    let loaded = config::load_all(config)?;
    logging::init(loaded.process.log.format, tracing::Level::INFO)?;
    Operator::new(Arc::new(loaded.process), named(loaded.connectors, name)?, handle.clone())
}

fn named(connectors: Vec<Connector>, name: &str) -> Result<Connector> {
    let names: Vec<String> = connectors.iter().map(|connector| connector.plan.name.clone()).collect();
    let unknown = || Error::new(Kind::Configuration, format!("no connector {name}; there is {}", names.join(", ")));
    connectors.into_iter().find(|connector| connector.plan.name == name).ok_or_else(unknown)
}

/// The runtime for SQL and HTTP; the way of a row runs on threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Error::new(Kind::Bug, "the runtime cannot be started").because(error))
}

/// Whether a stream takes colours: it is a terminal, and `NO_COLOR` is not set or empty (no-color.org).
fn takes_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` in the terminal's colour `code`; plain where no colours are wanted.
fn paint(text: &str, code: &str) -> String {
    if takes_colours(&std::io::stdout()) { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    println!("{}", text.map_err(|error| Error::new(Kind::Bug, "the answer has no JSON").because(error))?);
    Ok(())
}
