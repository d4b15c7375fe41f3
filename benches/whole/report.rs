//! `target/bench/report.json`: one row for each run, kept from call to call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ratios;
use crate::support::{Context, Result};

/// The build whose figures count.
pub(crate) const RELEASE: &str = "release";

#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Report {
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
    /// How each workload was run, by its name.
    pub(crate) workloads: BTreeMap<String, Call>,
    pub(crate) rows: Vec<Row>,
    /// By `ratios::BARS`; null where its runs are missing.
    pub(crate) ratios: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    pub(crate) snapshot: Value,
}

/// The state of things when a workload was run.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Call {
    pub(crate) build: String,
    pub(crate) quick: bool,
    pub(crate) load_before: String,
    pub(crate) seconds: f64,
}

/// One run. What it did not measure is left out.
#[derive(Serialize, Deserialize, Default, Clone)]
pub(crate) struct Row {
    /// What it was part of: the name that `ONLY` takes.
    pub(crate) call: String,
    /// The same with its size, where a call has several.
    pub(crate) workload: String,
    pub(crate) runner: String,
    pub(crate) round: usize,
    pub(crate) changes: u64,
    /// Of a whole process, from its start on.
    pub(crate) rows_per_second: Option<f64>,
    /// Since it was ready.
    pub(crate) streaming_rows_per_second: Option<f64>,
    pub(crate) cpu_seconds_per_million: Option<f64>,
    /// Since it was ready.
    pub(crate) streaming_cpu_seconds_per_million: Option<f64>,
    /// Of it, since then, the threads that read, and that decode, map and encode.
    pub(crate) to_encode_cpu_seconds_per_million: Option<f64>,
    pub(crate) walsender_cpu_seconds_per_million: Option<f64>,
    pub(crate) kafka_cpu_seconds_per_million: Option<f64>,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) kafka_bytes_per_row: Option<f64>,
    pub(crate) latency_ms: Option<Latency>,
    /// Of an event.
    pub(crate) microseconds: Option<f64>,
    /// What neither this benchmark nor its servers used, in cores.
    pub(crate) foreign_cores: Option<f64>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

/// `target/bench`.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).context(folder.display())?;
    Ok(folder)
}

impl Report {
    /// The one of the calls before; an empty one where there is none.
    pub(crate) fn load() -> Result<Self> {
        let file = folder()?.join("report.json");
        match std::fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).context(format!("{} is not of this version; remove it", file.display()))
            }
            Err(_) => Ok(Self::default()),
        }
    }

    /// Forgets what an earlier call of this workload has left.
    pub(crate) fn forget(&mut self, call: &str) {
        self.workloads.remove(call);
        self.rows.retain(|row| row.call != call);
    }

    pub(crate) fn save(&mut self) -> Result<PathBuf> {
        self.ratios = ratios::of(&self.rows);
        let file = folder()?.join("report.json");
        std::fs::write(&file, serde_json::to_string_pretty(self)? + "\n").context(file.display())?;
        Ok(file)
    }
}

impl Row {
    /// The head of the table that `print` fills.
    pub(crate) fn print_head() {
        println!(
            "{:<18}{:<15}{:>5}{:>10}{:>11}{:>9}{:>7}{:>8}{:>11}{:>9}{:>9}{:>8}{:>9}",
            "workload",
            "runner",
            "round",
            "rows/s",
            "streaming",
            "CPU s/M",
            "ready",
            "encode",
            "walsender",
            "Kafka",
            "RSS MiB",
            "B/row",
            "foreign"
        );
    }

    pub(crate) fn print(&self) {
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        println!(
            "{:<18}{:<15}{:>5}{:>10}{:>11}{:>9}{:>7}{:>8}{:>11}{:>9}{:>9}{:>8}{:>9}",
            self.workload,
            self.runner,
            self.round,
            number(self.rows_per_second, 0),
            number(self.streaming_rows_per_second, 0),
            number(self.cpu_seconds_per_million, 2),
            number(self.streaming_cpu_seconds_per_million, 2),
            number(self.to_encode_cpu_seconds_per_million, 2),
            number(self.walsender_cpu_seconds_per_million, 2),
            number(self.kafka_cpu_seconds_per_million, 2),
            number(self.peak_rss_mib(), 1),
            number(self.kafka_bytes_per_row, 0),
            number(self.foreign_cores, 2),
        );
        if let Some(Latency { p50, p95, p99 }) = self.latency_ms {
            println!("{:<33}p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms of {}", "", self.changes);
        }
        if let Some(percent) = self.cpu_percent {
            println!("{:<33}CPU {percent:.2} % of a core", "");
        }
        if let Some(microseconds) = self.microseconds {
            println!("{:<33}{microseconds:.3} us an event", "");
        }
    }

    pub(crate) fn peak_rss_mib(&self) -> Option<f64> {
        self.peak_rss_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))
    }
}
