//! Single-row transactions at a steady rate: from the return of COMMIT to a `read_committed` consumer, on one clock; and
//! what the daemon uses meanwhile, and when nothing is written.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::message::Message;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::report::{Latency, Row};
use crate::runner::{READY, Runner, launch};
use crate::support::oms::site::{Configuration, Site};
use crate::support::subscriber::Subscriber;
use crate::support::{Context, Fault, Result, runtime};
use crate::usage::{Meter, Usage};
use crate::{Bench, create_slot, debezium, drop_slot, stop};

/// How long the last events may take.
const LAST: Duration = Duration::from_secs(30);
/// What one session writes; more of them where more is asked for.
const PER_WRITER: u64 = 500;

/// Numbers of rows with a time.
type Times = BTreeMap<i64, Instant>;

/// Rows that are written one by one.
pub(crate) struct Flow {
    /// Inserts one row and returns its number, which is the key of its event.
    pub(crate) insert: &'static str,
    pub(crate) per_second: u64,
}

/// When COMMIT returned, and when the event was received.
pub(crate) struct Measured {
    written: Times,
    received: Times,
}

/// Reads the row's number out of a record's key.
pub(crate) type Key = fn(&[u8]) -> Option<i64>;

fn text_key(key: &[u8]) -> Option<i64> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// The runners in turn, at this rate.
pub(crate) fn run(bench: &mut Bench<'_>, runners: &[Runner], per_second: u64, idle: bool) -> Result<()> {
    let flow = Flow { insert: INSERT, per_second };
    Row::print_head();
    for round in 1..=bench.sizes.rounds {
        let mut order = runners.to_vec();
        if round % 2 == 0 {
            order.reverse();
        }
        for runner in order {
            let row = match runner {
                Runner::Debezium => debezium::latency(bench, &flow)?,
                _ => daemon(bench, runner, &flow, round, idle && runner == Runner::ExactlyOnce)?,
            };
            let (workload, runner) = (bench.call.clone(), runner.name().to_owned());
            bench.take(Row { workload, runner, round, ..row });
        }
    }
    Ok(())
}

fn daemon(bench: &mut Bench<'_>, runner: Runner, flow: &Flow, round: usize, idle: bool) -> Result<Row> {
    let (site, name) = (bench.site, bench.unique("latency"));
    create_slot(&site.sql()?, &name)?;
    let configuration = Configuration::on_slot(site.stack, &name, &name)?;
    site.push_contracts(&configuration)?;
    let mut daemon = launch(bench, &configuration, runner)?.start()?;
    daemon.wait_ready(READY)?;
    let subscriber = Subscriber::new(&site.stack.kafka, &configuration.topics)?;
    let row = beside(site, &subscriber, flow, bench.sizes.seconds, daemon.id(), text_key)?;
    if idle {
        let percent = cpu_percent(daemon.id(), Duration::from_secs(bench.sizes.seconds))?;
        let (workload, runner) = ("idle".to_owned(), runner.name().to_owned());
        bench.take(Row { workload, runner, round, cpu_percent: Some(percent), ..Row::default() });
    }
    stop(&mut daemon)?;
    drop_slot(&site.sql()?, &name)?;
    drop(subscriber);
    configuration.topics.iter().try_for_each(|topic| site.stack.kafka.delete_topic(topic))?;
    Ok(row)
}

/// Writes at the flow's rate, first for a third of the time without looking: a broker that has just started, or a topic
/// that is new, is slower. `process` is the one that publishes.
pub(crate) fn beside(
    site: &Site<'_>,
    subscriber: &Subscriber,
    flow: &Flow,
    seconds: u64,
    process: u32,
    key: Key,
) -> Result<Row> {
    let write =
        |seconds: u64| measure_by(site, subscriber, flow, |written| Ok(written >= flow.per_second * seconds), key);
    write(seconds.div_ceil(3))?;
    let (meter, before) = (Meter::start(site.stack.kafka.id(0)?)?, Usage::of(process)?);
    let measured = write(seconds)?;
    let usage = Usage::of(process)?;
    let used_s = usage.cpu_s - before.cpu_s;
    let stretch = meter.stop(used_s)?;
    Ok(Row {
        changes: measured.written.len() as u64,
        latency_ms: Some(measured.latency()?),
        cpu_percent: Some(100.0 * used_s / stretch.elapsed.as_secs_f64()),
        peak_rss_bytes: Some(usage.peak_bytes()),
        foreign_cores: Some(stretch.foreign_cores),
        ..Row::default()
    })
}

fn cpu_percent(process: u32, time: Duration) -> Result<f64> {
    let (begun, before) = (Instant::now(), Usage::of(process)?);
    runtime()?.block_on(async { tokio::time::sleep(time).await });
    Ok(100.0 * (Usage::of(process)?.cpu_s - before.cpu_s) / begun.elapsed().as_secs_f64())
}

/// Writes until `is_enough` of the number written so far, and reads until all of it has come.
pub(crate) fn measure(
    site: &Site<'_>,
    subscriber: &Subscriber,
    flow: &Flow,
    is_enough: impl Fn(u64) -> Result<bool> + Sync,
) -> Result<Measured> {
    measure_by(site, subscriber, flow, is_enough, text_key)
}

fn measure_by(
    site: &Site<'_>,
    subscriber: &Subscriber,
    flow: &Flow,
    is_enough: impl Fn(u64) -> Result<bool> + Sync,
    key: Key,
) -> Result<Measured> {
    let all_written = OnceLock::new();
    let (written, received) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receive(subscriber, &all_written, key));
        let written = write(site, flow, &is_enough);
        let count = written.as_ref().map_or(0, Times::len);
        all_written.get_or_init(|| (Instant::now(), count));
        let received = reader.join().unwrap_or_else(|_| Err("the subscriber panicked".into()))?;
        Ok::<_, Fault>((written?, received))
    })?;
    let missing = written.keys().filter(|number| !received.contains_key(number)).count();
    if missing > 0 {
        return Err(format!("{missing} of {} events did not come", written.len()).into());
    }
    Ok(Measured { written, received })
}

/// By as many sessions as the rate needs.
fn write(site: &Site<'_>, flow: &Flow, is_enough: &(impl Fn(u64) -> Result<bool> + Sync)) -> Result<Times> {
    let writers = flow.per_second.div_ceil(PER_WRITER);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let write = || write_alone(site, flow, writers, &written, is_enough);
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        let mut all = Times::new();
        for thread in threads {
            all.append(&mut thread.join().unwrap_or_else(|_| Err("a writer panicked".into()))?);
        }
        Ok(all)
    })
}

fn write_alone(
    site: &Site<'_>,
    flow: &Flow,
    writers: u64,
    all_written: &AtomicU64,
    is_enough: &impl Fn(u64) -> Result<bool>,
) -> Result<Times> {
    let sql = site.sql()?;
    let client = sql.client();
    let insert = runtime()?.block_on(client.prepare(flow.insert))?;
    let per_second = flow.per_second / writers;
    let mut ticks = {
        let _runtime = runtime()?.enter();
        tokio::time::interval(Duration::from_secs(1) / u32::try_from(per_second)?)
    };
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = Times::new();
    // Asking costs the daemon something: ten times a second.
    while !(written.len() as u64).is_multiple_of(per_second / 10) || !is_enough(all_written.load(Ordering::Relaxed))? {
        let one = async {
            ticks.tick().await;
            client.query_one(&insert, &[]).await
        };
        let row = runtime()?.block_on(one).context("write a row")?;
        written.insert(row.get(0), Instant::now());
        all_written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(written)
}

const INSERT: &str = "
    INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
    SELECT id, 'W', 1, 59.99, 1, '{\"recipient\": \"Ada Lovelace\", \"city\": \"London\", \"country\": \"GB\"}', 'latency'
    FROM customers WHERE customer_number = 'C-1' RETURNING id";

/// Until as many have come as were written.
fn receive(subscriber: &Subscriber, all_written: &OnceLock<(Instant, usize)>, key: Key) -> Result<Times> {
    let mut received = Times::new();
    while all_written.get().is_none_or(|(end, count)| received.len() < *count && end.elapsed() < LAST) {
        if let Some(message) = subscriber.next(Duration::from_millis(100))? {
            let now = Instant::now();
            let number = message.key().and_then(key);
            let number =
                number.ok_or_else(|| format!("an event's key does not say its row: {:02x?}", message.key()))?;
            received.insert(number, now);
        }
    }
    Ok(received)
}

impl Measured {
    fn latency(&self) -> Result<Latency> {
        let mut latency_us: Histogram<u64> = Histogram::new_with_max(3_600_000_000, 3)?;
        for (number, committed) in &self.written {
            let received = self.received.get(number).ok_or("an event did not come")?;
            latency_us.saturating_record(u64::try_from(received.saturating_duration_since(*committed).as_micros())?);
        }
        let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|quantile| latency_us.value_at_quantile(quantile) as f64 / 1000.0);
        Ok(Latency { p50, p95, p99 })
    }

    pub(crate) fn report(&self) -> Result<Value> {
        let Latency { p50, p95, p99 } = self.latency()?;
        println!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms of {}", self.written.len());
        Ok(json!({
            "transactions": self.written.len(),
            "latency_ms": { "p50": p50, "p95": p95, "p99": p99 },
        }))
    }
}
