//! The daemon: arguments, logging, exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use walwright::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
