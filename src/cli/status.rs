//! `walwright status`

use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;

use super::{print_json, runtime};
use crate::config;
use crate::error::Result;
use crate::pipeline::SnapshotState as State;
use crate::pipeline::live::{self, Status, Trouble};

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON, also on a terminal; elsewhere it is JSON anyway.
    #[arg(long)]
    json: bool,
}

pub(super) fn status(config: &Path, arguments: &Arguments) -> Result<()> {
    let loaded = config::load_all(config)?;
    let runtime = runtime()?;
    let of = |connector: &crate::connector::Connector| {
        live::status(&loaded.process, &connector.plan, &connector.source, runtime.handle())
    };
    let all: Vec<Status> = loaded.connectors.iter().map(of).collect();
    if arguments.json || !std::io::stdout().is_terminal() {
        return print_json(&all);
    }
    println!("{:<20} {:<20} {:<20} {:>14} {:>14}  SLOT", "CONNECTOR", "CHECKPOINT", "SERVER", "LAG BYTES", "WAL KEPT");
    for status in &all {
        println!(
            "{:<20} {:<20} {:<20} {:>14} {:>14}  {}",
            status.connector,
            text(status.next_lsn),
            text(status.flush_lsn),
            text(status.lag_bytes),
            text(status.retained_bytes),
            status.slot.as_deref().unwrap_or("?")
        );
        for snapshot in
            status.snapshots.iter().filter(|snapshot| matches!(snapshot.state, State::Running | State::Paused))
        {
            println!("  snapshot of {}: {}, {} rows", snapshot.table, snapshot.state.name(), snapshot.rows);
        }
        for Trouble { error, more, .. } in &status.errors {
            println!("  {error}\n    more: {more}");
        }
    }
    Ok(())
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}
