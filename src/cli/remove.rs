//! `walwright remove`

use std::path::Path;

use clap::Args;

use super::consent::{Answer, Consent};
use super::exit::Exit;
use super::{operator, runtime};
use crate::error::Result;

/// What to remove.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The connector's name.
    connector: String,
    #[command(flatten)]
    consent: Consent,
}

pub(super) fn remove(config: &Path, arguments: &Arguments) -> Result<Exit> {
    let name = &arguments.connector;
    let runtime = runtime()?;
    let mut operator = operator(config, name, runtime.handle())?;
    let removal = operator.removal()?;
    println!("connector {name}\n{removal}");
    if removal.is_empty() {
        return Ok(Exit::Done);
    }
    match arguments.consent.answer()? {
        Answer::DryRun => return Ok(Exit::Done),
        Answer::No => return Ok(Exit::not_agreed()),
        Answer::Yes => {}
    }
    if !operator.remove(&removal, arguments.consent.sign())? {
        return Ok(Exit::changed());
    }
    println!("done: take {name}.toml away before the daemon starts or reloads, or it begins anew");
    Ok(Exit::Done)
}
