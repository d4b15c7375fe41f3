//! Prometheus metrics of the connectors. Handles are cached; counts are added once a commit, never per row.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::unit::{FilterRule, Tally};
use crate::connector::Plan;
use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, PG_EPOCH_UNIX_MICROS};

/// All metrics of a daemon.
pub struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    published: IntCounterVec,
    filtered: IntCounterVec,
    events: IntCounterVec,
    transactions: IntCounterVec,
    commits: IntCounterVec,
    retries: IntCounterVec,
    lag_bytes: IntGaugeVec,
    lag_seconds: GaugeVec,
    checkpoint_lsn: IntGaugeVec,
    retained_wal: IntGaugeVec,
    unpublished_columns: IntGaugeVec,
    commit_to_ack: HistogramVec,
}

/// One connector's handles.
pub struct ConnectorMetrics {
    name: String,
    received: IntCounter,
    published: IntCounter,
    filtered: Vec<IntCounter>,
    events: Vec<IntCounter>,
    transactions: IntCounter,
    commits: IntCounter,
    retries: IntCounterVec,
    lag_bytes: IntGauge,
    lag_seconds: Gauge,
    checkpoint_lsn: IntGauge,
    retained_wal: IntGauge,
    unpublished_columns: IntGaugeVec,
    commit_to_ack: Histogram,
    /// Commit time of the oldest transaction that is not checkpointed, server clock; `i64::MIN` when idle.
    oldest_us: AtomicI64,
}

/// Seconds from 0.5 ms to a minute.
const ACK_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const IDLE: i64 = i64::MIN;

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Result<Metrics> {
        let registry = Registry::new();
        let failed = |error: prometheus::Error| Error::new(Kind::Bug, "a metric cannot be registered").because(error);
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels).map_err(failed)?;
            registry.register(Box::new(vec.clone())).map_err(failed)?;
            Ok::<_, Error>(vec)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels).map_err(failed)?;
            registry.register(Box::new(vec.clone())).map_err(failed)?;
            Ok::<_, Error>(vec)
        };
        let lag = Opts::new(
            "walwright_lag_seconds",
            "Age of the oldest received transaction without a checkpoint; 0 when idle.",
        );
        let lag_seconds = GaugeVec::new(lag, &["connector"]).map_err(failed)?;
        registry.register(Box::new(lag_seconds.clone())).map_err(failed)?;
        let help = "Seconds from a transaction's commit on the source to its commit on Kafka.";
        let options = HistogramOpts::new("walwright_commit_to_ack_seconds", help).buckets(ACK_BUCKETS.to_vec());
        let commit_to_ack = HistogramVec::new(options, &["connector"]).map_err(failed)?;
        registry.register(Box::new(commit_to_ack.clone())).map_err(failed)?;
        Ok(Metrics {
            received: counter("walwright_changes_received_total", "Row changes received.", &["connector"])?,
            published: counter("walwright_changes_published_total", "Row changes that an event took.", &["connector"])?,
            filtered: counter(
                "walwright_changes_filtered_total",
                "Row changes filtered, by rule.",
                &["connector", "rule"],
            )?,
            events: counter("walwright_events_published_total", "Events committed on Kafka.", &["connector", "event"])?,
            transactions: counter(
                "walwright_transactions_total",
                "Source transactions committed on Kafka.",
                &["connector"],
            )?,
            commits: counter("walwright_kafka_commits_total", "Kafka commits (groups).", &["connector"])?,
            retries: counter(
                "walwright_retries_total",
                "Failures that were tried again, by kind.",
                &["connector", "kind"],
            )?,
            lag_bytes: gauge(
                "walwright_lag_bytes",
                "WAL bytes between server and publisher; 0 when idle.",
                &["connector"],
            )?,
            checkpoint_lsn: gauge("walwright_checkpoint_lsn", "The checkpoint's next LSN in bytes.", &["connector"])?,
            retained_wal: gauge(
                "walwright_slot_retained_wal_bytes",
                "WAL that the server keeps for the slot.",
                &["connector"],
            )?,
            unpublished_columns: gauge(
                "walwright_unnamed_columns",
                "Columns that neither a rule nor unpublished names.",
                &["connector", "table"],
            )?,
            lag_seconds,
            commit_to_ack,
            registry,
        })
    }

    /// The handles of the connector of this plan.
    pub fn connector(&self, plan: &Plan) -> ConnectorMetrics {
        let name = plan.name.as_str();
        let events = plan.events.iter().map(|event| event.contract.path.clone());
        let tombstones =
            plan.tombstones.iter().map(|tombstone| format!("tombstone:{}", plan.topics[tombstone.topic].name));
        let event = |label: String| self.events.with_label_values(&[name, label.as_str()]);
        ConnectorMetrics {
            name: name.to_owned(),
            received: self.received.with_label_values(&[name]),
            published: self.published.with_label_values(&[name]),
            filtered: FilterRule::ALL
                .iter()
                .map(|rule| self.filtered.with_label_values(&[name, rule.name()]))
                .collect(),
            events: events.chain(tombstones).map(event).collect(),
            transactions: self.transactions.with_label_values(&[name]),
            commits: self.commits.with_label_values(&[name]),
            retries: self.retries.clone(),
            lag_bytes: self.lag_bytes.with_label_values(&[name]),
            lag_seconds: self.lag_seconds.with_label_values(&[name]),
            checkpoint_lsn: self.checkpoint_lsn.with_label_values(&[name]),
            retained_wal: self.retained_wal.with_label_values(&[name]),
            unpublished_columns: self.unpublished_columns.clone(),
            commit_to_ack: self.commit_to_ack.with_label_values(&[name]),
            oldest_us: AtomicI64::new(IDLE),
        }
    }

    /// The exposition, Prometheus' text format 0.0.4.
    pub fn text(&self) -> Result<String> {
        let mut out = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        encoded.map_err(|error| Error::new(Kind::Bug, "metrics cannot be encoded").because(error))?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

impl ConnectorMetrics {
    /// A commit on Kafka made all that `tally` counts visible.
    pub(super) fn committed(&self, tally: &Tally, next_lsn: Lsn) {
        self.received.inc_by(tally.received);
        self.published.inc_by(tally.published);
        self.events.iter().zip(&tally.events).for_each(|(counter, count)| counter.inc_by(*count));
        self.filtered.iter().zip(&tally.filtered).for_each(|(counter, count)| counter.inc_by(*count));
        self.transactions.inc_by(tally.commits_us.len() as u64);
        self.commits.inc();
        self.checkpoint(next_lsn);
        let now = now_us();
        tally.commits_us.iter().for_each(|commit| self.commit_to_ack.observe(seconds_between(*commit, now)));
    }

    /// Kafka commits of all sessions so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// The checkpoint's next LSN moved or was read.
    pub(super) fn checkpoint(&self, next_lsn: Lsn) {
        self.checkpoint_lsn.set(i64::try_from(next_lsn.0).unwrap_or(i64::MAX));
    }

    /// Commit time of the oldest transaction that waits for its checkpoint; None: idle.
    pub(super) fn oldest(&self, commit_us: Option<i64>) {
        self.oldest_us.store(commit_us.unwrap_or(IDLE), Ordering::Relaxed);
    }

    /// WAL bytes between the server's end and what is published.
    pub(super) fn lag_bytes(&self, bytes: u64) {
        self.lag_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// WAL bytes that the server keeps for the slot.
    pub(super) fn retained_wal(&self, bytes: u64) {
        self.retained_wal.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Refreshes what depends on the time of the scrape.
    pub fn refresh(&self) {
        let oldest = self.oldest_us.load(Ordering::Relaxed);
        self.lag_seconds.set(if oldest == IDLE { 0.0 } else { seconds_between(oldest, now_us()) });
    }

    /// A failure is tried again.
    pub(super) fn retry(&self, kind: Kind) {
        self.retries.with_label_values(&[self.name.as_str(), kind.name()]).inc();
    }

    /// So many columns of `table` are neither published nor named as unpublished.
    pub(super) fn unnamed_columns(&self, table: &str, count: usize) {
        self.unpublished_columns.with_label_values(&[self.name.as_str(), table]).set(count as i64);
    }
}

fn seconds_between(from_us: i64, to_us: i64) -> f64 {
    (to_us - from_us).max(0) as f64 / 1e6
}

/// The wall clock in microseconds since 2000-01-01, to compare with the server's commit times.
#[allow(clippy::disallowed_methods, reason = "commit times are wall-clock times of the server")]
fn now_us() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) - PG_EPOCH_UNIX_MICROS
}
