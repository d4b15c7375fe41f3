//! `walwright resync`

use std::path::Path;

use clap::Args;

use super::consent::{Answer, Consent};
use super::exit::Exit;
use super::{operator, runtime};
use crate::error::{At, Error, Kind, Result};

/// What to read again.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The connector's name.
    connector: String,
    #[command(flatten)]
    consent: Consent,
}

pub(super) fn resync(config: &Path, arguments: &Arguments) -> Result<Exit> {
    let name = &arguments.connector;
    let runtime = runtime()?;
    let mut operator = operator(config, name, runtime.handle())?;
    let tables: Vec<String> = operator.tables_to_resync().iter().map(ToString::to_string).collect();
    if tables.is_empty() {
        let detail = "no rule of the connector fires on \"read\": there is nothing to read again; see accept-gap";
        return Err(Error::new(Kind::CommandRefused, detail).at(At::connector(name)));
    }
    let Some(gap) = operator.gap()? else {
        println!(
            "connector {name} has no gap: nothing was done; `walwright snapshot {name} --table ..` reads a table again"
        );
        return Ok(Exit::Done);
    };
    println!("connector {name}\n{gap}");
    println!("read again: {}", tables.join(", "));
    println!(
        "never told: deletes in the gap (rows that are gone from the tables stay in the topics), and every state of a row but its last"
    );
    match arguments.consent.answer()? {
        Answer::DryRun => return Ok(Exit::Done),
        Answer::No => return Ok(Exit::not_agreed()),
        Answer::Yes => {}
    }
    match operator.resync(&gap, arguments.consent.sign())? {
        Some(accepted) => {
            let (epoch, next_lsn) = (accepted.epoch, accepted.next_lsn);
            println!(
                "done: connector {name} goes on from {next_lsn} in epoch {epoch}, and reads the tables beside; restart or reload the daemon"
            );
            Ok(Exit::Done)
        }
        None => Ok(Exit::changed()),
    }
}
