//! One file a subcommand.

mod check;
mod logging;
mod run;
mod schemas;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

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
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Auto,
    Human,
    Json,
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
            Command::Run => run::run(config, self.log_format),
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
