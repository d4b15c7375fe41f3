//! Log lines: human on a terminal, JSON elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;

use super::bars::Bars;
use super::takes_colours;
use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

/// Installs the subscriber; lines go to standard error. On a terminal, the bars that may stand below them.
pub(super) fn init(format: LogFormat, level: tracing::Level) -> Result<Option<Arc<Bars>>> {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let is_terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let bars = (human && is_terminal).then(Arc::<Bars>::default);
    let done = match &bars {
        Some(bars) => {
            let bars = bars.clone();
            builder.with_ansi(takes_colours(&std::io::stderr())).with_writer(move || bars.above()).try_init()
        }
        None if human => builder.with_ansi(false).with_writer(std::io::stderr).try_init(),
        None => builder.json().flatten_event(true).with_writer(std::io::stderr).try_init(),
    };
    done.map_err(|error| Error::new(Kind::Bug, format!("logging cannot be started: {error}")))?;
    Ok(bars)
}
