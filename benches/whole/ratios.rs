//! The bars, each with the figure that the report's rows give: medians of the ratios of runs that were made in turn.

use std::collections::BTreeMap;

use crate::report::Row;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// Stands beside the others.
    None,
}

pub(crate) struct Bar {
    /// Its name in the report.
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) limit: Limit,
    figure: fn(&Rows<'_>) -> Option<f64>,
}

const fn bar(key: &'static str, what: &'static str, limit: Limit, figure: fn(&Rows<'_>) -> Option<f64>) -> Bar {
    Bar { key, what, limit, figure }
}

use Limit::{AtLeast, AtMost};

pub(crate) const BARS: &[Bar] = &[
    bar(
        "kafka_tx10",
        "rows/s to Kafka, exactly once, transactions of 10, over `pg_recvlogical` to /dev/null",
        AtLeast(1.0),
        |rows| rows.ratio(("tx10", "exactly_once"), ("tx10", "pg_recvlogical"), rate),
    ),
    bar("null_tx1", "rows/s to the null sink over `pg_recvlogical`, transactions of 1", AtLeast(1.8), |rows| {
        rows.ratio(("tx1", "null"), ("tx1", "pg_recvlogical"), rate)
    }),
    bar("null_tx10", "the same, transactions of 10", AtLeast(1.5), |rows| {
        rows.ratio(("tx10", "null"), ("tx10", "pg_recvlogical"), rate)
    }),
    bar("null_tx1000", "the same, transactions of 1,000", AtLeast(1.15), |rows| {
        rows.ratio(("tx1000", "null"), ("tx1000", "pg_recvlogical"), rate)
    }),
    bar(
        "cpu_s_per_million",
        "daemon CPU seconds for a million events to Kafka, exactly once, `headers = \"core\"`",
        AtMost(2.4),
        |rows| rows.median(("tx10", "exactly_once"), cpu),
    ),
    bar("cpu_s_per_million_to_encode", "of which to read, decode, map and encode", AtMost(0.6), |rows| {
        rows.median(("tx10", "exactly_once"), |row| row.to_encode_cpu_seconds_per_million)
    }),
    bar("encode_us", "encode alone, an order of 15 fields from tuple bytes, microseconds", AtMost(0.25), |rows| {
        rows.median(("encode", "walwright"), |row| row.microseconds)
    }),
    bar("encode_over_avro_value", "the same by apache-avro's `Value`, over it", AtLeast(10.0), |rows| {
        rows.ratio(("encode", "avro_value"), ("encode", "walwright"), |row| row.microseconds)
    }),
    bar("eos_over_alo", "rows/s exactly once over at least once, transactions of 10", AtLeast(0.9), |rows| {
        rows.ratio(("tx10", "exactly_once"), ("tx10", "at_least_once"), rate)
    }),
    bar(
        "eos_p50_ms",
        "from COMMIT's return to a read_committed consumer at 200 transactions/s, exactly once, p50 ms",
        AtMost(5.0),
        |rows| rows.median(("latency_200", "exactly_once"), p50),
    ),
    bar("eos_p99_ms", "the same, p99", AtMost(20.0), |rows| rows.median(("latency_200", "exactly_once"), p99)),
    bar("fast_p50_ms", "the same, at least once, p50", AtMost(2.0), |rows| {
        rows.median(("latency_200", "at_least_once"), p50)
    }),
    bar("fast_p99_ms", "the same, at least once, p99", AtMost(4.0), |rows| {
        rows.median(("latency_200", "at_least_once"), p99)
    }),
    bar("cpu_at_200_tx_percent", "daemon CPU at 200 transactions/s, exactly once, % of a core", AtMost(12.0), |rows| {
        rows.median(("latency_200", "exactly_once"), |row| row.cpu_percent)
    }),
    bar("cpu_idle_percent", "the same while nothing is written", AtMost(0.5), |rows| {
        rows.median(("idle", "exactly_once"), |row| row.cpu_percent)
    }),
    bar("rss_steady_mib", "peak RSS while a backlog is drained, exactly once, MiB", AtMost(64.0), |rows| {
        rows.highest(("tx10", "exactly_once"), Row::peak_rss_mib)
    }),
    bar("rss_big_tx_mib", "peak RSS in one transaction of 5,000,000 rows, MiB", AtMost(128.0), |rows| {
        rows.highest(("large", "exactly_once"), Row::peak_rss_mib)
    }),
    bar("tables_1000_over_1", "CPU per million once ready, 1,000 tables over 1", AtMost(1.1), |rows| {
        rows.ratio(("tables_1000", "exactly_once"), ("tables_1", "exactly_once"), streaming_cpu)
    }),
    bar("connectors_50_over_1", "the same, 50 connectors in a daemon over 1", AtMost(1.2), |rows| {
        rows.ratio(("connectors_50", "exactly_once"), ("connectors_1", "exactly_once"), streaming_cpu)
    }),
    bar("rate_over_debezium", "rows/s over Debezium's, transactions of 10", AtLeast(4.0), |rows| {
        rows.ratio(("peers_tx10", "exactly_once"), ("peers_tx10", "debezium"), rate)
    }),
    bar("cpu_over_debezium", "CPU per million over Debezium's", AtMost(1.0 / 25.0), |rows| {
        rows.ratio(("peers_tx10", "exactly_once"), ("peers_tx10", "debezium"), cpu)
    }),
    bar("rss_over_debezium", "peak RSS over Debezium's", AtMost(1.0 / 20.0), |rows| {
        rows.ratio(("peers_tx10", "exactly_once"), ("peers_tx10", "debezium"), Row::peak_rss_mib)
    }),
    bar("debezium_p50_ms", "Debezium, exactly once, 200 transactions/s, p50 ms", Limit::None, |rows| {
        rows.median(("peers_latency", "debezium"), p50)
    }),
    bar("debezium_p99_ms", "the same, p99", Limit::None, |rows| rows.median(("peers_latency", "debezium"), p99)),
];

/// Each bar's figure; None where its runs are missing.
pub(crate) fn of(rows: &[Row]) -> BTreeMap<String, Option<f64>> {
    let rows = Rows(rows);
    BARS.iter().map(|bar| (bar.key.to_owned(), (bar.figure)(&rows))).collect()
}

impl Bar {
    /// Whether a figure is what the bar asks for; None: it asks for nothing.
    pub(crate) fn is_met(&self, figure: f64) -> Option<bool> {
        match self.limit {
            AtLeast(limit) => Some(figure >= limit),
            AtMost(limit) => Some(figure <= limit),
            Limit::None => None,
        }
    }
}

fn rate(row: &Row) -> Option<f64> {
    row.rows_per_second
}

fn cpu(row: &Row) -> Option<f64> {
    row.cpu_seconds_per_million
}

fn streaming_cpu(row: &Row) -> Option<f64> {
    row.streaming_cpu_seconds_per_million
}

fn p50(row: &Row) -> Option<f64> {
    row.latency_ms.map(|latency| latency.p50)
}

fn p99(row: &Row) -> Option<f64> {
    row.latency_ms.map(|latency| latency.p99)
}

type Figure = fn(&Row) -> Option<f64>;

/// A workload and a runner.
type Runs<'a> = (&'a str, &'a str);

pub(crate) struct Rows<'a>(pub(crate) &'a [Row]);

impl Rows<'_> {
    /// The figures of all rounds, by round.
    fn figures(&self, (workload, runner): Runs<'_>, figure: Figure) -> BTreeMap<usize, f64> {
        let rows = self.0.iter().filter(|row| row.workload == workload && row.runner == runner);
        rows.filter_map(|row| Some((row.round, figure(row)?))).collect()
    }

    pub(crate) fn median(&self, runs: Runs<'_>, figure: Figure) -> Option<f64> {
        median(self.figures(runs, figure).into_values())
    }

    fn highest(&self, runs: Runs<'_>, figure: Figure) -> Option<f64> {
        self.figures(runs, figure).into_values().reduce(f64::max)
    }

    /// The median of the ratios of each round.
    fn ratio(&self, of: Runs<'_>, over: Runs<'_>, figure: Figure) -> Option<f64> {
        let over = self.figures(over, figure);
        median(self.figures(of, figure).into_iter().filter_map(|(round, value)| Some(value / over.get(&round)?)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => values.get(middle).copied(),
        _ => Some(f64::midpoint(*values.get(middle - 1)?, *values.get(middle)?)),
    }
}
