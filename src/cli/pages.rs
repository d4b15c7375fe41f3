//! `walwright completions` and `walwright man`: from the same source as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::error::{Error, Kind, Result};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell that is to complete.
    shell: Shell,
}

/// Where to.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The folder for the pages; made if it is missing.
    folder: PathBuf,
}

pub(super) fn completions(arguments: &CompletionsArguments) {
    clap_complete::generate(arguments.shell, &mut Cli::command(), "walwright", &mut std::io::stdout());
}

pub(super) fn man(arguments: &ManArguments) -> Result<()> {
    let folder = &arguments.folder;
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    let failed =
        |error| Error::new(Kind::Configuration, format!("cannot write to {}", folder.display())).because(error);
    written.map_err(failed)
}
