//! Log lines: human on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use super::takes_colours;
use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

/// Installs the subscriber; lines go to standard error.
pub(super) fn init(format: LogFormat, level: tracing::Level) -> Result<()> {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    let human = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let done = if human {
        builder.with_ansi(takes_colours(&std::io::stderr())).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    done.map_err(|error| Error::new(Kind::Bug, format!("logging cannot be started: {error}")))
}
