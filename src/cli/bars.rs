//! Bars on a terminal: how far snapshots are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use crate::pipeline::{SnapshotState as State, TableProgress};

/// On standard error; nothing where that is no terminal.
#[derive(Default)]
pub(super) struct Bars {
    screen: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    /// Draws what is read of a connector's tables, and what has ended since.
    pub(super) fn show(&self, connector: &str, tables: &[TableProgress]) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            let name = format!("{connector} {}", table.table);
            let is_running = table.state == State::Running;
            if is_running && bars.get(&name).is_none_or(ProgressBar::is_finished) {
                bars.insert(name.clone(), self.screen.add(bar(&name)));
            }
            let Some(bar) = bars.get(&name).filter(|bar| !bar.is_finished()) else { continue };
            bar.set_length(table.estimated_rows.unwrap_or(0).max(table.rows));
            bar.set_position(table.rows);
            bar.set_message(message(table));
            if !is_running {
                bar.abandon();
            }
        }
    }

    /// A writer to standard error whose lines stand above the bars.
    pub(super) fn above(&self) -> Above {
        Above(self.screen.clone())
    }
}

/// Writes above the bars.
pub(super) struct Above(MultiProgress);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}");
    let bar = ProgressBar::new(0).with_prefix(name.to_owned());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn message(table: &TableProgress) -> String {
    let rows = HumanCount(table.rows);
    let (state, rate) = match (table.state, table.rows_per_second) {
        (State::Running, Some(rate)) => ("", format!(", {}/s", HumanCount(rate as u64))),
        (State::Running, None) => ("", String::new()),
        (State::Paused, _) => ("paused, ", String::new()),
        (State::Done, _) => ("done, ", String::new()),
        (State::Cancelled, _) => ("cancelled, ", String::new()),
    };
    let left = table.seconds_left.filter(|_| table.state == State::Running);
    let left = left.map(|left| format!(", {} left", HumanDuration(Duration::from_secs_f64(left)))).unwrap_or_default();
    let waits = table.waits_for.as_ref().map(|waits_for| format!(", waits for {waits_for}")).unwrap_or_default();
    format!("{state}{rows} rows{rate}{left}{waits}")
}
