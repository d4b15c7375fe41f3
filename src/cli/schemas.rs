//! `walwright schemas`

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use crate::config;
use crate::connector::Plan;
use crate::error::{Error, Kind, Result};
use crate::registry::{Client, Compatibility, Settings, SubjectNameStrategy, push, subjects};

/// The longest that one answer of the registry may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What to do with the contracts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register every contract that a connector publishes, and set its subject's compatibility (FULL_TRANSITIVE).
    Push,
}

pub(super) fn schemas(config: &Path, command: &Command) -> Result<()> {
    match command {
        Command::Push => {
            let loaded = config::load_all(config)?;
            let registry = &loaded.process.registry;
            let plans: Vec<_> = loaded.connectors.iter().map(|connector| &connector.plan).collect();
            let client = Client::new(&Settings { url: registry.url.clone(), timeout: TIMEOUT })?;
            let strategy = registry.subject_name_strategy;
            push_contracts(&plans, &client, strategy, Compatibility::default(), &mut std::io::stdout())
        }
    }
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
