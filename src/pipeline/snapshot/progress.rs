//! How far the snapshots of a connector are, for people: `walwright snapshot`, `/connectors/{connector}/snapshots`, metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::model::TableName;
use crate::snapshot::{State, Variant};

/// The snapshot of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableProgress {
    /// `schema.table`
    pub table: String,
    /// Running, paused, done or cancelled.
    pub state: State,
    /// For a table without subscribers, or beside the stream.
    pub variant: Variant,
    /// The condition that rows to read fulfil.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// When it was asked for, microseconds since 1970.
    pub asked_us: i64,
    /// Rows published.
    pub rows: u64,
    /// Rows that the server's planner expects; None: not asked, nothing is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_rows: Option<u64>,
    /// Chunks published since the connector's last start.
    pub chunks: u64,
    /// Since the connector's last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<f64>,
    /// At that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// What keeps it from reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

impl TableProgress {
    /// Whether rows are, or will be, read.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }
}

/// Shared between the connector and those who look.
#[derive(Clone, Debug, Default)]
pub(in crate::pipeline) struct Progress(Arc<Mutex<Vec<Meter>>>);

/// A table's progress with what its rate is counted from.
#[derive(Debug)]
struct Meter {
    progress: TableProgress,
    rows_before: u64,
    begun: Instant,
}

impl Progress {
    /// As it is now, in the order of the tables.
    pub(in crate::pipeline) fn read(&self) -> Vec<TableProgress> {
        self.with(|meters| meters.iter().map(Meter::read).collect())
    }

    /// A session begins with these.
    pub(in crate::pipeline) fn begin(&self, tables: Vec<TableProgress>) {
        let begun = Instant::now();
        let meter = |progress: TableProgress| Meter { rows_before: progress.rows, progress, begun };
        self.with(|meters| *meters = tables.into_iter().map(meter).collect());
    }

    /// Changes what is said of a table.
    pub(in crate::pipeline) fn note(&self, table: &TableName, change: impl FnOnce(&mut TableProgress)) {
        let name = table.to_string();
        self.with(|meters| {
            if let Some(meter) = meters.iter_mut().find(|meter| meter.progress.table == name) {
                change(&mut meter.progress);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Meter>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Meter {
    fn read(&self) -> TableProgress {
        let (mut progress, seconds) = (self.progress.clone(), self.begun.elapsed().as_secs_f64());
        let read = progress.rows.saturating_sub(self.rows_before);
        if progress.state == State::Running && read > 0 {
            let rate = read as f64 / seconds.max(0.001);
            let left = progress.estimated_rows.map(|all| all.saturating_sub(progress.rows) as f64 / rate);
            (progress.rows_per_second, progress.seconds_left) = (Some(rate), left);
        }
        progress
    }
}
