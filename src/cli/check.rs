//! `walwright check`

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::{paint, runtime};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::pipeline::live::{self, Finding};

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ask the servers too: database, publication, replica identity, slot, registry, topics. Changes nothing.
    #[arg(long)]
    live: bool,
}

pub(super) fn check(config: &Path, arguments: &Arguments) -> Result<()> {
    let loaded = config::load_all(config)?;
    for connector in &loaded.connectors {
        let plan = &connector.plan;
        println!(
            "{}: {} events and {} tombstones of {} tables on {} topics",
            plan.name,
            plan.events.len(),
            plan.tombstones.len(),
            plan.tables.len(),
            plan.topics.len()
        );
    }
    if !arguments.live {
        return Ok(());
    }
    let runtime = runtime()?;
    let process = Arc::new(loaded.process);
    let mut faults = 0;
    for connector in loaded.connectors {
        let (plan, source) = (Arc::new(connector.plan), connector.source);
        let findings = live::check(&process, &plan, &source, runtime.handle());
        faults += findings.iter().map(|finding| show(&plan.name, finding)).sum::<usize>();
    }
    match faults {
        0 => Ok(()),
        n => Err(Error::new(Kind::Configuration, format!("{n} of the checks above failed"))),
    }
}

/// Prints a finding; 1 if it is a fault.
fn show(connector: &str, finding: &Finding) -> usize {
    match &finding.result {
        Ok(text) => {
            let label = if finding.about == live::WARNING { paint("warn", "33") } else { paint("ok  ", "32") };
            println!("{label} {connector} {}: {text}", finding.about);
            0
        }
        Err(error) => {
            println!(
                "{} {connector} {}: {}\n       {}\n       more: {}",
                paint("FAIL", "31"),
                finding.about,
                error.chain(),
                error.remedy(),
                error.more()
            );
            1
        }
    }
}
