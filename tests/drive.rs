//! The commands that run the whole of Walwright on real servers: `cargo test --profile ci --test drive -- COMMAND`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod demo;
#[path = "drive/serve.rs"]
mod serve;
mod torture;
mod trial;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rows that are read, an order workload, the daemon and a subscriber, and a proof at the end that nothing was lost
    /// or doubled.
    Demo(demo::Arguments),
    /// Start Postgres, Kafka and the schema registry, say where they are, stop them on Ctrl-C.
    Serve(serve::Arguments),
    /// Kill daemon, Postgres and broker at random moments under load, then judge what subscribers see.
    Torture(torture::Arguments),
    /// Kill the daemon again and again while it reads a table that is written to, then judge what subscribers see.
    TortureSnapshot(torture::snapshot::Arguments),
    /// Kill the daemon at every failpoint, in both delivery modes, then judge what subscribers see.
    Sweep(trial::sweep::Arguments),
    /// Let the daemon make each known mistake, and see that the judges say so.
    Proof(trial::proof::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Torture(arguments) => torture::run(&arguments),
        Command::TortureSnapshot(arguments) => torture::snapshot::run(&arguments),
        Command::Sweep(arguments) => trial::sweep::run(&arguments),
        Command::Proof(arguments) => trial::proof::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}
