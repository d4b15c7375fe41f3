//! Prometheus metrics of the connectors. Handles are cached; counts are added once a commit, never per row.

mod list;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

pub use self::list::{METRICS, Metric, MetricKind};
use super::health::{Phase, Report};
use super::snapshot::TableProgress;
use super::unit::{FilterRule, Tally};
use crate::connector::Plan;
use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, PG_EPOCH_UNIX_MICROS};
use crate::snapshot::State;

/// All metrics of a daemon.
pub struct Metrics {
    registry: Registry,
    state: IntGaugeVec,
    ready: IntGaugeVec,
    lag_seconds: GaugeVec,
    lag_bytes: IntGaugeVec,
    commit_to_ack: HistogramVec,
    received: IntCounterVec,
    published: IntCounterVec,
    covered: IntCounterVec,
    filtered: IntCounterVec,
    events: IntCounterVec,
    repeated: IntCounterVec,
    transactions: IntCounterVec,
    transaction_changes: HistogramVec,
    commits: IntCounterVec,
    group_transactions: HistogramVec,
    group_bytes: HistogramVec,
    retries: IntCounterVec,
    checkpoint_lsn: IntGaugeVec,
    checkpoint_timestamp: GaugeVec,
    retained_wal: IntGaugeVec,
    wal_status: IntGaugeVec,
    unnamed_columns: IntGaugeVec,
    snapshots: SnapshotMetrics,
}

/// Of each table that is, or was, read.
struct SnapshotMetrics {
    state: IntGaugeVec,
    rows: IntGaugeVec,
    expected_rows: IntGaugeVec,
    chunks: IntGaugeVec,
    seconds_left: GaugeVec,
}

/// One connector's handles.
pub struct ConnectorMetrics {
    name: String,
    lag_seconds: Gauge,
    lag_bytes: IntGauge,
    commit_to_ack: Histogram,
    received: IntCounter,
    published: IntCounter,
    covered: IntCounter,
    filtered: Vec<IntCounter>,
    events: Vec<IntCounter>,
    repeated: IntCounter,
    transactions: IntCounter,
    transaction_changes: Histogram,
    commits: IntCounter,
    group_transactions: Histogram,
    group_bytes: Histogram,
    retries: IntCounterVec,
    checkpoint_lsn: IntGauge,
    checkpoint_timestamp: Gauge,
    retained_wal: IntGauge,
    wal_status: IntGaugeVec,
    unnamed_columns: IntGaugeVec,
    /// Commit time of the oldest transaction that is not checkpointed, server clock; `i64::MIN` when idle.
    oldest_us: AtomicI64,
    /// Since when it is unknown what the server has committed, our clock; `i64::MIN` while a stream keeps up with it.
    unknown_us: AtomicI64,
}

/// Seconds from 0.5 ms to a minute.
const ACK_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];
/// From a kilobyte to what closes a group.
const BYTES_BUCKETS: &[f64] = &[1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

const WAL_STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];

const IDLE: i64 = i64::MIN;

/// Creates what is exposed and puts it into the registry.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn counter(&self, metric: Metric) -> Result<IntCounterVec> {
        self.put(IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels))
    }

    fn gauge(&self, metric: Metric) -> Result<IntGaugeVec> {
        self.put(IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels))
    }

    fn real_gauge(&self, metric: Metric) -> Result<GaugeVec> {
        self.put(GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels))
    }

    fn histogram(&self, metric: Metric, buckets: &[f64]) -> Result<HistogramVec> {
        let options = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
        self.put(HistogramVec::new(options, metric.labels))
    }

    /// `process_*`: CPU seconds, resident memory, file descriptors, threads of this process.
    fn process(&self) -> Result<()> {
        self.0.register(Box::new(ProcessCollector::for_self())).map_err(failed)
    }

    fn put<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> Result<C> {
        let collector = made.map_err(failed)?;
        self.0.register(Box::new(collector.clone())).map_err(failed)?;
        Ok(collector)
    }
}

fn failed(error: prometheus::Error) -> Error {
    Error::new(Kind::Bug, "a metric cannot be registered").because(error)
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Result<Metrics> {
        let registry = Registry::new();
        let new = Registrar(&registry);
        new.process()?;
        new.gauge(list::BUILD_INFO)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Metrics {
            state: new.gauge(list::STATE)?,
            ready: new.gauge(list::READY)?,
            lag_seconds: new.real_gauge(list::LAG_SECONDS)?,
            lag_bytes: new.gauge(list::LAG_BYTES)?,
            commit_to_ack: new.histogram(list::COMMIT_TO_ACK, ACK_BUCKETS)?,
            received: new.counter(list::RECEIVED)?,
            published: new.counter(list::PUBLISHED)?,
            covered: new.counter(list::COVERED)?,
            filtered: new.counter(list::FILTERED)?,
            events: new.counter(list::EVENTS)?,
            repeated: new.counter(list::REPEATED)?,
            transactions: new.counter(list::TRANSACTIONS)?,
            transaction_changes: new.histogram(list::TRANSACTION_CHANGES, COUNT_BUCKETS)?,
            commits: new.counter(list::COMMITS)?,
            group_transactions: new.histogram(list::GROUP_TRANSACTIONS, COUNT_BUCKETS)?,
            group_bytes: new.histogram(list::GROUP_BYTES, BYTES_BUCKETS)?,
            retries: new.counter(list::RETRIES)?,
            checkpoint_lsn: new.gauge(list::CHECKPOINT_LSN)?,
            checkpoint_timestamp: new.real_gauge(list::CHECKPOINT_TIMESTAMP)?,
            retained_wal: new.gauge(list::SLOT_RETAINED)?,
            wal_status: new.gauge(list::SLOT_STATUS)?,
            unnamed_columns: new.gauge(list::UNNAMED_COLUMNS)?,
            snapshots: SnapshotMetrics {
                state: new.gauge(list::SNAPSHOT_STATE)?,
                rows: new.gauge(list::SNAPSHOT_ROWS)?,
                expected_rows: new.gauge(list::SNAPSHOT_EXPECTED_ROWS)?,
                chunks: new.gauge(list::SNAPSHOT_CHUNKS)?,
                seconds_left: new.real_gauge(list::SNAPSHOT_SECONDS_LEFT)?,
            },
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
        let of_rule = |rule: &FilterRule| self.filtered.with_label_values(&[name, rule.name()]);
        ConnectorMetrics {
            name: name.to_owned(),
            lag_seconds: self.lag_seconds.with_label_values(&[name]),
            lag_bytes: self.lag_bytes.with_label_values(&[name]),
            commit_to_ack: self.commit_to_ack.with_label_values(&[name]),
            received: self.received.with_label_values(&[name]),
            published: self.published.with_label_values(&[name]),
            covered: self.covered.with_label_values(&[name]),
            filtered: FilterRule::ALL.iter().map(of_rule).collect(),
            events: events.chain(tombstones).map(event).collect(),
            repeated: self.repeated.with_label_values(&[name]),
            transactions: self.transactions.with_label_values(&[name]),
            transaction_changes: self.transaction_changes.with_label_values(&[name]),
            commits: self.commits.with_label_values(&[name]),
            group_transactions: self.group_transactions.with_label_values(&[name]),
            group_bytes: self.group_bytes.with_label_values(&[name]),
            retries: self.retries.clone(),
            checkpoint_lsn: self.checkpoint_lsn.with_label_values(&[name]),
            checkpoint_timestamp: self.checkpoint_timestamp.with_label_values(&[name]),
            retained_wal: self.retained_wal.with_label_values(&[name]),
            wal_status: self.wal_status.clone(),
            unnamed_columns: self.unnamed_columns.clone(),
            oldest_us: AtomicI64::new(IDLE),
            unknown_us: AtomicI64::new(now_us()),
        }
    }

    /// What `/readyz` says of a connector, as it stands at a scrape.
    pub fn health(&self, connector: &str, report: &Report) {
        for phase in Phase::ALL {
            self.state.with_label_values(&[connector, phase.name()]).set(i64::from(phase == report.state));
        }
        self.ready.with_label_values(&[connector]).set(i64::from(report.ready));
    }

    /// Sets how far a connector's snapshots are.
    pub fn snapshots(&self, connector: &str, tables: &[TableProgress]) {
        let SnapshotMetrics { state, rows, expected_rows, chunks, seconds_left } = &self.snapshots;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for table in tables {
            let name = table.table.as_str();
            for other in State::ALL {
                state.with_label_values(&[connector, name, other.name()]).set(i64::from(other == table.state));
            }
            rows.with_label_values(&[connector, name]).set(number(table.rows));
            expected_rows.with_label_values(&[connector, name]).set(number(table.estimated_rows.unwrap_or(0)));
            chunks.with_label_values(&[connector, name]).set(number(table.chunks));
            seconds_left.with_label_values(&[connector, name]).set(table.seconds_left.unwrap_or(0.0));
        }
    }

    /// The exposition, Prometheus' text format 0.0.4, without what is left of connectors that run no more.
    pub fn text(&self, runs: impl Fn(&str) -> bool) -> Result<String> {
        let mut out = Vec::new();
        let mut families = self.registry.gather();
        for family in &mut families {
            family.mut_metric().retain(|metric| {
                metric.get_label().iter().all(|label| label.name() != "connector" || runs(label.value()))
            });
        }
        families.retain(|family| !family.get_metric().is_empty());
        let encoded = TextEncoder::new().encode(&families, &mut out);
        encoded.map_err(|error| Error::new(Kind::Bug, "metrics cannot be encoded").because(error))?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

impl ConnectorMetrics {
    /// A commit on Kafka made all that `tally` counts visible, in so many bytes.
    pub(super) fn committed(&self, tally: &Tally, bytes: usize, next_lsn: Lsn) {
        self.received.inc_by(tally.received);
        self.published.inc_by(tally.published);
        self.covered.inc_by(tally.covered);
        tally.events.iter().for_each(|(index, count)| self.events[index].inc_by(count));
        self.filtered.iter().zip(&tally.filtered).for_each(|(counter, count)| counter.inc_by(*count));
        self.repeated.inc_by(tally.repeated);
        self.transactions.inc_by(tally.transactions.len() as u64);
        self.commits.inc();
        self.group_transactions.observe(tally.transactions.len() as f64);
        self.group_bytes.observe(bytes as f64);
        self.checkpoint(next_lsn);
        self.known();
        let now = now_us();
        for transaction in &tally.transactions {
            self.commit_to_ack.observe(seconds_between(transaction.commit_us, now));
            self.transaction_changes.observe(transaction.changes as f64);
        }
    }

    /// Kafka commits of all sessions so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// The checkpoint's next LSN moved or was read.
    pub(super) fn checkpoint(&self, next_lsn: Lsn) {
        self.checkpoint_lsn.set(i64::try_from(next_lsn.0).unwrap_or(i64::MAX));
        self.checkpoint_timestamp.set((now_us() + PG_EPOCH_UNIX_MICROS) as f64 / 1e6);
    }

    /// Commit time of the oldest transaction that waits for its checkpoint; None: idle.
    pub(super) fn oldest(&self, commit_us: Option<i64>) {
        self.oldest_us.store(commit_us.unwrap_or(IDLE), Ordering::Relaxed);
    }

    /// The stream is gone, or the server does not answer: what it commits from now on is not seen.
    pub(super) fn unknown(&self) {
        if self.unknown_us.load(Ordering::Relaxed) == IDLE {
            self.unknown_us.store(now_us(), Ordering::Relaxed);
        }
    }

    /// The stream delivers again, or there is nothing to deliver.
    pub(super) fn known(&self) {
        self.unknown_us.store(IDLE, Ordering::Relaxed);
    }

    /// WAL bytes between the server's end and what is published.
    pub(super) fn lag_bytes(&self, bytes: u64) {
        self.lag_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// What the server says of the slot: bytes of WAL that it keeps, and its `wal_status`.
    pub(super) fn slot(&self, retained_bytes: u64, wal_status: Option<&str>) {
        self.retained_wal.set(i64::try_from(retained_bytes).unwrap_or(i64::MAX));
        for status in WAL_STATUSES {
            let is = i64::from(wal_status == Some(status));
            self.wal_status.with_label_values(&[self.name.as_str(), status]).set(is);
        }
    }

    /// Refreshes what depends on the time of the scrape.
    pub fn refresh(&self) {
        let since = [&self.oldest_us, &self.unknown_us].map(|since| since.load(Ordering::Relaxed));
        let oldest = since.into_iter().filter(|since| *since != IDLE).min();
        self.lag_seconds.set(oldest.map_or(0.0, |oldest| seconds_between(oldest, now_us())));
    }

    /// A failure is tried again.
    pub(super) fn retry(&self, kind: Kind) {
        self.retries.with_label_values(&[self.name.as_str(), kind.name()]).inc();
    }

    /// So many columns of `table` are neither published nor named as unpublished.
    pub(super) fn unnamed_columns(&self, table: &str, count: usize) {
        self.unnamed_columns.with_label_values(&[self.name.as_str(), table]).set(count as i64);
    }
}

fn seconds_between(from_us: i64, to_us: i64) -> f64 {
    to_us.saturating_sub(from_us).max(0) as f64 / 1e6
}

/// The wall clock in microseconds since 2000-01-01, to compare with the server's commit times.
#[allow(clippy::disallowed_methods, reason = "commit times are wall-clock times of the server")]
fn now_us() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) - PG_EPOCH_UNIX_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_makes_no_lag() {
        assert_eq!(seconds_between(0, 1_500_000), 1.5);
        for (from, to) in [(3_600_000_000, 0), (i64::MAX, i64::MIN)] {
            assert_eq!(seconds_between(from, to), 0.0);
        }
    }
}
