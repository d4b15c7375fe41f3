//! Single-row transactions at a steady rate: from the return of COMMIT to a `read_committed` consumer, on one clock.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::message::Message;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::support::oms::site::{Configuration, Site};
use crate::support::subscriber::Subscriber;
use crate::support::{Context, Fault, Result, runtime};
use crate::{create_slot, drop_slot, end_of_wal};

const READY: Duration = Duration::from_secs(120);
/// How long the last events may take.
const LAST: Duration = Duration::from_secs(30);
const NAME: &str = "latency";
/// Seconds before the measurement.
const WARMING_S: u64 = 10;
const FLOW: Flow = Flow { insert: INSERT, per_second: 200 };

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

pub(crate) fn run(site: &Site<'_>, seconds: u64) -> Result<Value> {
    let sql = site.sql()?;
    create_slot(&sql, NAME)?;
    let end = end_of_wal(&sql)?;
    let configuration = Configuration::on_slot(site.stack, NAME, NAME)?;
    site.push_contracts(&configuration)?;
    let drained = crate::drain(site, &configuration, end, READY)?;
    let subscriber = Subscriber::new(&site.stack.kafka, &configuration.topics)?;
    // A broker that has just started compiles what it runs often.
    measure(site, &subscriber, &FLOW, |written| Ok(written >= FLOW.per_second * WARMING_S))?;
    let measured = measure(site, &subscriber, &FLOW, |written| Ok(written >= FLOW.per_second * seconds))?;
    drained.stop()?;
    drop_slot(&sql, NAME)?;
    println!("\nsingle-row transactions at {}/s, COMMIT to subscriber:", FLOW.per_second);
    measured.report()
}

/// Writes until `is_enough` of the number written so far, and reads until all of it has come.
pub(crate) fn measure(
    site: &Site<'_>,
    subscriber: &Subscriber,
    flow: &Flow,
    is_enough: impl Fn(u64) -> Result<bool>,
) -> Result<Measured> {
    let all_written = OnceLock::new();
    let (written, received) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receive(subscriber, &all_written));
        let written = write(site, flow, is_enough);
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

fn write(site: &Site<'_>, flow: &Flow, is_enough: impl Fn(u64) -> Result<bool>) -> Result<Times> {
    let sql = site.sql()?;
    let client = sql.client();
    let insert = runtime()?.block_on(client.prepare(flow.insert))?;
    let mut ticks = {
        let _runtime = runtime()?.enter();
        tokio::time::interval(Duration::from_secs(1) / u32::try_from(flow.per_second)?)
    };
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = Times::new();
    // Asking costs the daemon something: ten times a second.
    while !(written.len() as u64).is_multiple_of(flow.per_second / 10) || !is_enough(written.len() as u64)? {
        let one = async {
            ticks.tick().await;
            client.query_one(&insert, &[]).await
        };
        let row = runtime()?.block_on(one).context("write a row")?;
        written.insert(row.get(0), Instant::now());
    }
    Ok(written)
}

const INSERT: &str = "
    INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
    SELECT id, 'W', 1, 59.99, 1, '{\"recipient\": \"Ada Lovelace\", \"city\": \"London\", \"country\": \"GB\"}', 'latency'
    FROM customers WHERE customer_number = 'C-1' RETURNING id";

/// Until as many have come as were written.
fn receive(subscriber: &Subscriber, all_written: &OnceLock<(Instant, usize)>) -> Result<Times> {
    let mut received = Times::new();
    while all_written.get().is_none_or(|(end, count)| received.len() < *count && end.elapsed() < LAST) {
        if let Some(message) = subscriber.next(Duration::from_millis(100))? {
            let now = Instant::now();
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).ok_or("an event has no key")?;
            received.insert(key.parse()?, now);
        }
    }
    Ok(received)
}

impl Measured {
    pub(crate) fn report(&self) -> Result<Value> {
        let mut latency_us: Histogram<u64> = Histogram::new_with_max(3_600_000_000, 3)?;
        for (number, committed) in &self.written {
            let received = self.received.get(number).ok_or("an event did not come")?;
            latency_us.saturating_record(u64::try_from(received.saturating_duration_since(*committed).as_micros())?);
        }
        let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|quantile| latency_us.value_at_quantile(quantile) as f64 / 1000.0);
        println!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms of {}", self.written.len());
        Ok(json!({
            "transactions": self.written.len(),
            "latency_ms": { "p50": p50, "p95": p95, "p99": p99 },
        }))
    }
}
