//! Every metric by name. `docs/metrics.md`, the alert rules and the dashboard are held against this list.

use std::fmt;

/// What Prometheus takes it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// A metric as it is exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Prometheus' name, with the unit where there is one.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        })
    }
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)+

        /// Every metric of this program, in the order of the reference page. (`process_*` come from the client library.)
        pub const METRICS: &[Metric] = &[$($constant,)+];
    };
}

metrics! {
    BUILD_INFO: Gauge "walwright_build_info" ["version"]
        "Always 1; the version is in the label.";
    STATE: Gauge "walwright_connector_state" ["connector", "state"]
        "1 for the state that the connector is in (starting, streaming, retrying, halted, stopped), 0 for the others.";
    READY: Gauge "walwright_connector_ready" ["connector"]
        "1 while the connector streams and what it received gets committed, as /readyz says.";
    LAG_SECONDS: Gauge "walwright_lag_seconds" ["connector"]
        "Age of the oldest received transaction that is not checkpointed, or time without a stream or an answer of the server; 0 when all is published.";
    LAG_BYTES: Gauge "walwright_lag_bytes" ["connector"]
        "WAL bytes between the server's end and what is published; 0 when idle. Sampled every 5 s.";
    COMMIT_TO_ACK: Histogram "walwright_commit_to_ack_seconds" ["connector"]
        "Seconds from a transaction's commit on the source to its commit on Kafka.";
    RECEIVED: Counter "walwright_changes_received_total" ["connector"]
        "Row changes received, counted when what became of them is on Kafka: published, filtered and covered add up to it.";
    PUBLISHED: Counter "walwright_changes_published_total" ["connector"]
        "Row changes that at least one event or tombstone took.";
    COVERED: Counter "walwright_changes_covered_total" ["connector"]
        "Row changes that are in a row which a snapshot has read, so they are not published beside it.";
    FILTERED: Counter "walwright_changes_filtered_total" ["connector", "rule"]
        "Row changes that a named rule filtered.";
    EVENTS: Counter "walwright_events_published_total" ["connector", "event"]
        "Events and tombstones committed on Kafka.";
    REPEATED: Counter "walwright_events_repeated_total" ["connector"]
        "Events and tombstones that the stream brought again after a crash and that were on Kafka already, so they were not sent again; they count as published too, once.";
    TRANSACTIONS: Counter "walwright_transactions_total" ["connector"]
        "Source transactions committed on Kafka.";
    TRANSACTION_CHANGES: Histogram "walwright_transaction_changes" ["connector"]
        "Row changes of a source transaction.";
    COMMITS: Counter "walwright_kafka_commits_total" ["connector"]
        "Commits on Kafka, each of one group of source transactions.";
    GROUP_TRANSACTIONS: Histogram "walwright_group_transactions" ["connector"]
        "Source transactions that one commit on Kafka took.";
    GROUP_BYTES: Histogram "walwright_group_bytes" ["connector"]
        "Bytes of keys, values and headers that one commit on Kafka took, uncompressed.";
    RETRIES: Counter "walwright_retries_total" ["connector", "kind"]
        "Failures that were tried again, by kind of error.";
    CHECKPOINT_LSN: Gauge "walwright_checkpoint_lsn" ["connector"]
        "The checkpoint's next LSN as a number of bytes.";
    CHECKPOINT_TIMESTAMP: Gauge "walwright_checkpoint_timestamp_seconds" ["connector"]
        "Unix time of the last checkpoint that this process wrote or read. An idle source needs none.";
    SLOT_RETAINED: Gauge "walwright_slot_retained_wal_bytes" ["connector"]
        "WAL bytes that the server keeps for the slot. Sampled every 5 s.";
    SLOT_STATUS: Gauge "walwright_slot_wal_status" ["connector", "status"]
        "1 for the slot's wal_status in pg_replication_slots (reserved, extended, unreserved, lost), 0 for the others.";
    SNAPSHOT_STATE: Gauge "walwright_snapshot_state" ["connector", "table", "state"]
        "1 for the state that the table's snapshot is in (running, paused, done, cancelled), 0 for the others.";
    SNAPSHOT_ROWS: Gauge "walwright_snapshot_rows" ["connector", "table"]
        "Rows that the table's snapshot has published.";
    SNAPSHOT_EXPECTED_ROWS: Gauge "walwright_snapshot_expected_rows" ["connector", "table"]
        "Rows that the server's planner expects of the table's snapshot; 0 where nothing is read.";
    SNAPSHOT_CHUNKS: Gauge "walwright_snapshot_chunks" ["connector", "table"]
        "Chunks of the table that were published since the connector's last start.";
    SNAPSHOT_SECONDS_LEFT: Gauge "walwright_snapshot_remaining_seconds" ["connector", "table"]
        "Seconds that the table's snapshot still takes at its rate so far; 0 where nothing is read, or nothing is known.";
    UNNAMED_COLUMNS: Gauge "walwright_unnamed_columns" ["connector", "table"]
        "Columns of a table that no rule uses and unpublished does not name: they are not published.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page as it must be. `WALWRIGHT_WRITE_DOCS=1` writes it.
    #[test]
    fn the_reference_page_lists_every_metric() {
        let row = |metric: &Metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind, labels.join(", "), metric.help)
        };
        let rows: String = METRICS.iter().map(row).collect();
        let table = format!("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n{rows}");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = std::fs::read_to_string(file).unwrap();
        let (before, rest) = page.split_once("| metric |").unwrap();
        let (_, after) = rest.split_once("\n\n").unwrap();
        let wanted = format!("{before}{table}\n{after}");
        if std::env::var_os("WALWRIGHT_WRITE_DOCS").is_some() {
            std::fs::write(file, &wanted).unwrap();
        }
        assert_eq!(page, wanted, "docs/metrics.md is out of date");
    }

    #[test]
    fn names_follow_the_conventions() {
        for metric in METRICS {
            let Metric { name, kind, labels, help } = metric;
            assert!(name.starts_with("walwright_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains('`'), "{name}");
            assert!(labels.iter().all(|label| !label.is_empty()), "{name}");
        }
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}
