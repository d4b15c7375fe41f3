//! `walwright accept-gap`

use std::path::Path;

use clap::Args;

use super::consent::{Answer, Consent};
use super::exit::Exit;
use super::{operator, runtime};
use crate::error::Result;

/// What to accept.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The connector's name.
    connector: String,
    #[command(flatten)]
    consent: Consent,
}

pub(super) fn accept_gap(config: &Path, arguments: &Arguments) -> Result<Exit> {
    let name = &arguments.connector;
    let runtime = runtime()?;
    let mut operator = operator(config, name, runtime.handle())?;
    let Some(gap) = operator.gap()? else {
        println!("connector {name} has no gap to accept: nothing was done");
        return Ok(Exit::Done);
    };
    println!("connector {name}\n{gap}");
    match arguments.consent.answer()? {
        Answer::DryRun => return Ok(Exit::Done),
        Answer::No => return Ok(Exit::not_agreed()),
        Answer::Yes => {}
    }
    match operator.accept(&gap, arguments.consent.sign())? {
        Some(accepted) => {
            let (epoch, next_lsn) = (accepted.epoch, accepted.next_lsn);
            println!("done: connector {name} goes on from {next_lsn} in epoch {epoch}; restart or reload the daemon");
            Ok(Exit::Done)
        }
        None => Ok(Exit::changed()),
    }
}
