//! One file a subcommand.

mod check;
mod logging;
mod run;
mod schemas;
mod status;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

/// Postgres row changes to versioned Avro domain events on Kafka, exactly once.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage or faults in the configuration.
#[derive(Debug, Parser)]
#[command(name = "walwright", version, propagate_version = true)]
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
    /// Contracts and the schema registry.
    #[command(subcommand)]
    Schemas(schemas::Command),
}

impl Cli {
    /// Runs the command; what goes wrong is printed with its remedy.
    pub fn execute(self) -> ExitCode {
        let config = &self.config;
        let done = match self.command {
            Command::Run => run::run(config, self.log_format.map(LogFormat::from)),
            Command::Check(arguments) => check::check(config, &arguments),
            Command::Status(arguments) => status::status(config, &arguments),
            Command::Schemas(command) => schemas::schemas(config, &command),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("error: {}\n  what to do: {}", error.chain(), error.remedy());
    if error.kind() == Kind::Configuration { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The runtime for SQL and HTTP; the way of a row runs on threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Error::new(Kind::Bug, "the runtime cannot be started").because(error))
}

/// `text` in the terminal's colour `code`; plain where there is no terminal, or `NO_COLOR` is set.
fn paint(text: &str, code: &str) -> String {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    println!("{}", text.map_err(|error| Error::new(Kind::Bug, "the answer has no JSON").because(error))?);
    Ok(())
}
