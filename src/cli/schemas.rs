//! `walwright schemas`

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::paint;
use crate::config::{self, Loaded};
use crate::connector::Plan;
use crate::contract::{Compatibility, Contract, Lineage, Repository, difference, unreadable};
use crate::error::{Error, Kind, Result};
use crate::registry::{Client, SubjectNameStrategy, push, subjects};

/// What to do with the contracts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that the versions of each contract read each other's events; needs no registry.
    Check(CheckArguments),
    /// Show what distinguishes two versions of a contract: fields that came (+), went (-) or changed (~).
    Diff {
        /// E.g. oms/OrderPlaced/v1
        old: String,
        /// E.g. oms/OrderPlaced/v2
        new: String,
    },
    /// Register every contract that a connector publishes, and set its subject's compatibility (FULL_TRANSITIVE).
    Push,
}

/// What is to hold.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// What is to hold between versions, by the registry's names: FULL_TRANSITIVE, FULL, BACKWARD_TRANSITIVE ..
    #[arg(long, value_name = "LEVEL", default_value_t, value_parser = level)]
    compatibility: Compatibility,
    /// Ask the registry too: every contract that a connector publishes is registered. Changes nothing.
    #[arg(long)]
    live: bool,
}

fn level(text: &str) -> Result<Compatibility, String> {
    let found = Compatibility::ALL.into_iter().find(|level| level.name() == text);
    found.ok_or_else(|| format!("one of {}", Compatibility::ALL.map(Compatibility::name).join(", ")))
}

pub(super) fn schemas(config: &Path, command: &Command) -> Result<()> {
    let loaded = config::load_all(config)?;
    match command {
        Command::Check(arguments) => check(&loaded, arguments),
        Command::Diff { old, new } => diff(&loaded, old, new),
        Command::Push => {
            let plans: Vec<_> = loaded.connectors.iter().map(|connector| &connector.plan).collect();
            let (client, strategy) = registry(&loaded)?;
            push_contracts(&plans, &client, strategy, Compatibility::default(), &mut std::io::stdout())
        }
    }
}

fn registry(loaded: &Loaded) -> Result<(Client, SubjectNameStrategy)> {
    let registry = &loaded.process.registry;
    Ok((registry.client()?, registry.subject_name_strategy))
}

/// The repository, whose faults were told when the connectors were loaded.
fn repository(loaded: &Loaded) -> Repository {
    Repository::load(&loaded.process.schemas).0
}

fn check(loaded: &Loaded, arguments: &CheckArguments) -> Result<()> {
    let level = arguments.compatibility;
    let mut failed = 0;
    for lineage in Lineage::all(&repository(loaded)) {
        let (name, breaches) = (&lineage.full_name, lineage.breaches(level));
        failed += usize::from(!breaches.is_empty());
        breaches.iter().for_each(|breach| println!("{} {name}: {breach}", paint("FAIL", "31")));
        if breaches.is_empty() {
            let versions: Vec<String> = lineage.versions.iter().map(|of| format!("v{}", of.version)).collect();
            let verb = if versions.len() == 1 { "is" } else { "are" };
            println!("{} {name}: {} {verb} {level}", paint("ok  ", "32"), versions.join(", "));
        }
    }
    if failed > 0 {
        let detail = format!("{failed} contracts have versions that are not {level}: release the new shape otherwise");
        return Err(Error::new(Kind::Configuration, detail));
    }
    if arguments.live { registered(loaded) } else { Ok(()) }
}

fn registered(loaded: &Loaded) -> Result<()> {
    let (client, strategy) = registry(loaded)?;
    let mut first_error = None;
    for subject in subjects(loaded.connectors.iter().map(|connector| &connector.plan), strategy) {
        let (name, path) = (&subject.name, &subject.contract.path);
        match client.lookup(name, &subject.contract.schema) {
            Ok(id) => println!("{} {name}: {path} is registered, id {id}", paint("ok  ", "32")),
            Err(error) => {
                println!("{} {name}: {path}: {}", paint("FAIL", "31"), error.detail());
                first_error = first_error.or(Some(error));
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn diff(loaded: &Loaded, old: &str, new: &str) -> Result<()> {
    let repository = repository(loaded);
    let find = |path: &str| -> Result<Arc<Contract>> {
        let folder = loaded.process.schemas.display();
        let missing = || Error::new(Kind::Configuration, format!("there is no contract {path} in {folder}"));
        repository.get(path).ok_or_else(missing)
    };
    let (old, new) = (find(old)?, find(new)?);
    difference(&old, &new).iter().for_each(|line| println!("{line}"));
    let reads = |writer: &Contract, reader: &Contract| {
        unreadable(writer, reader)
            .unwrap_or_else(|| format!("v{} reads what v{} wrote", reader.version, writer.version))
    };
    println!("{}, {}", reads(&old, &new), reads(&new, &old));
    Ok(())
}

/// Pushes the contracts of `plans` and writes one line a subject to `out`: id, subject, contract.
///
/// # Errors
/// The first subject's error, after all lines are written: `RegistryRefused` or `RegistryUnreachable`.
fn push_contracts(
    plans: &[&Plan],
    client: &Client,
    strategy: SubjectNameStrategy,
    compatibility: Compatibility,
    out: &mut dyn Write,
) -> Result<()> {
    let subjects = subjects(plans.iter().copied(), strategy);
    let mut first_error = None;
    for pushed in push(client, &subjects, compatibility) {
        let (subject, contract) = (&pushed.subject.name, &pushed.subject.contract.path);
        let line = match pushed.id {
            Ok(id) => format!("id {id}  {subject}  {contract}  {compatibility}"),
            Err(error) => {
                let line = format!("refused  {subject}  {contract}  {}", error.detail());
                first_error = first_error.or(Some(error));
                line
            }
        };
        writeln!(out, "{line}")
            .map_err(|cause| Error::new(Kind::Bug, "the report could not be written").because(cause))?;
    }
    first_error.map_or(Ok(()), Err)
}
