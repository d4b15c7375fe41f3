//! `walwright grants`

use std::path::Path;

use clap::Args;

use super::named;
use crate::config;
use crate::error::Result;
use crate::pipeline;

/// For whom.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The connector's name; without one, all.
    connector: Option<String>,
}

pub(super) fn grants(config: &Path, arguments: &Arguments) -> Result<()> {
    let loaded = config::load_all(config)?;
    let connectors = match &arguments.connector {
        Some(name) => vec![named(loaded.connectors, name)?],
        None => loaded.connectors,
    };
    for connector in &connectors {
        print!("{}", pipeline::grants(&connector.plan, &connector.source)?);
    }
    Ok(())
}
