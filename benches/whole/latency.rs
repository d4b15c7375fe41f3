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
use crate::support::{Context, Result, runtime};
use crate::{create_slot, drop_slot, end_of_wal};

const TRANSACTIONS_PER_SECOND: u64 = 200;
const READY: Duration = Duration::from_secs(120);
/// How long the last events may take.
const LAST: Duration = Duration::from_secs(30);
const NAME: &str = "latency";

/// Order ids with a time.
type Times = BTreeMap<i64, Instant>;

pub(crate) fn run(site: &Site<'_>, seconds: u64) -> Result<Value> {
    let sql = site.sql()?;
    create_slot(&sql, NAME)?;
    let end = end_of_wal(&sql)?;
    let configuration = Configuration::on_slot(site.stack, NAME, NAME)?;
    site.push_contracts(&configuration)?;
    let drained = crate::drain(site, &configuration, end, READY)?;
    let subscriber = Subscriber::new(&site.stack.kafka, &configuration.topics)?;
    let (written, received) = measure(site, &subscriber, TRANSACTIONS_PER_SECOND * seconds)?;
    let missing = written.keys().filter(|order| !received.contains_key(order)).count();
    if missing > 0 {
        return Err(format!("{missing} of {} orders did not come", written.len()).into());
    }
    drained.stop()?;
    drop_slot(&sql, NAME)?;
    report(&written, &received)
}

/// Orders with the time when COMMIT returned, and with the time when their event was received.
fn measure(site: &Site<'_>, subscriber: &Subscriber, transactions: u64) -> Result<(Times, Times)> {
    let all_written = OnceLock::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| receive(subscriber, transactions, &all_written));
        let written = write(site, transactions);
        all_written.get_or_init(Instant::now);
        let received = reader.join().unwrap_or_else(|_| Err("the subscriber panicked".into()))?;
        Ok((written?, received))
    })
}

fn write(site: &Site<'_>, transactions: u64) -> Result<Times> {
    let sql = site.sql()?;
    let client = sql.client();
    runtime()?.block_on(async {
        let insert = client.prepare(INSERT).await?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(TRANSACTIONS_PER_SECOND)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut written = Times::new();
        for _ in 0..transactions {
            ticks.tick().await;
            let row = client.query_one(&insert, &[]).await.context("place an order")?;
            written.insert(row.get(0), Instant::now());
        }
        Ok(written)
    })
}

const INSERT: &str = "
    INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
    SELECT id, 'W', 1, 59.99, 1, '{\"recipient\": \"Ada Lovelace\", \"city\": \"London\", \"country\": \"GB\"}', 'latency'
    FROM customers WHERE customer_number = 'C-1' RETURNING id";

fn receive(subscriber: &Subscriber, transactions: u64, all_written: &OnceLock<Instant>) -> Result<Times> {
    let mut received = Times::new();
    while (received.len() as u64) < transactions && all_written.get().is_none_or(|end| end.elapsed() < LAST) {
        if let Some(message) = subscriber.next(Duration::from_millis(100))? {
            let now = Instant::now();
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).ok_or("an event has no key")?;
            received.insert(key.parse()?, now);
        }
    }
    Ok(received)
}

fn report(written: &Times, received: &Times) -> Result<Value> {
    let mut latency_us: Histogram<u64> = Histogram::new_with_max(3_600_000_000, 3)?;
    for (order, committed) in written {
        let received = received.get(order).ok_or("an order did not come")?;
        latency_us.saturating_record(u64::try_from(received.saturating_duration_since(*committed).as_micros())?);
    }
    let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|quantile| latency_us.value_at_quantile(quantile) as f64 / 1000.0);
    println!("\n{} single-row transactions at {TRANSACTIONS_PER_SECOND}/s, COMMIT to subscriber:", written.len());
    println!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms");
    Ok(json!({
        "transactions_per_second": TRANSACTIONS_PER_SECOND,
        "transactions": written.len(),
        "latency_ms": { "p50": p50, "p95": p95, "p99": p99 },
    }))
}
