//! The daemon: arguments, logging, exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;
use walwright::cli::Cli;

/// librdkafka's as well: it allocates each record and its headers on one thread and frees them on another.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    Cli::parse().execute()
}
