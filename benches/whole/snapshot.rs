//! The orders that exist already: the daemon to Kafka with 1, 2 and 4 workers, beside one COPY of the same table; and what
//! the stream's latency is meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::latency::{self, Flow};
use crate::support::daemon::Daemon;
use crate::support::oms::site::{Configuration, Site};
use crate::support::oms::{self, history};
use crate::support::process::run as run_command;
use crate::support::subscriber::Subscriber;
use crate::support::{Context, Result, runtime};
use crate::usage::Usage;
use crate::{drop_slot, per_second, stop};

const WITHIN: Duration = Duration::from_secs(900);
/// Orders of the past that are written with all that belongs to them; the others are copies.
const ORIGINALS: u64 = 2_000;

/// The orders of its rounds lie in a database of their own, a copy of `site`'s.
pub(crate) fn run(site: &Site<'_>, rows: u64, rounds: usize, seconds: u64) -> Result<Value> {
    let past = site.copy("past")?;
    let rows = fill(&past, rows)?;
    println!("\nsnapshot of {rows} orders");
    println!(
        "{:>8}{:>14}{:>14}{:>8}{:>16}{:>14}",
        "workers", "COPY/s", "walwright/s", "ratio", "CPU s/million", "peak RSS MiB"
    );
    let mut done = Vec::new();
    for (number, workers) in (0..rounds).flat_map(|_| [1, 2, 4]).enumerate() {
        let copy = per_second(rows, copied(&past)?);
        done.push(read(&past, &format!("past_{number}"), rows, workers, copy)?);
    }
    Ok(json!({ "rows": rows, "rounds": done, "latency": beside(&past, seconds)? }))
}

/// At least about so many; the number that there are.
fn fill(past: &Site<'_>, rows: u64) -> Result<u64> {
    let sql = past.sql()?;
    let copies = rows.saturating_sub(ORIGINALS) / ORIGINALS;
    runtime()?.block_on(async {
        history::write(sql.client(), ORIGINALS).await.context("write orders")?;
        sql.client().batch_execute(&COPIES.replace("$copies", &copies.to_string())).await.context("copy orders")
    })?;
    sql.batch("TRUNCATE returns CASCADE")?;
    sql.batch("VACUUM ANALYZE orders")?;
    sql.batch("CREATE PUBLICATION past FOR TABLE orders, returns")?;
    Ok(u64::try_from(sql.value::<i64>("SELECT count(*) FROM orders")?)?)
}

const COPIES: &str = "
    INSERT INTO orders (customer_id, status, channel, warehouse_id, total_amount, line_count, shipping_address,
                        cancel_reason, placed_at, paid_at, shipped_at, cancelled_at, request_id)
    SELECT customer_id, status, channel, warehouse_id, total_amount, line_count, shipping_address,
           cancel_reason, placed_at, paid_at, shipped_at, cancelled_at, request_id
    FROM orders, generate_series(1, $copies)";

fn copied(past: &Site<'_>) -> Result<Duration> {
    let mut copy = Command::new(past.stack.postgres.program("psql"));
    copy.arg("--dbname").arg(past.stack.postgres.connection(&past.database)).args(["--quiet", "--output=/dev/null"]);
    copy.args(["--command", "COPY (SELECT * FROM orders) TO STDOUT (FORMAT binary)"]);
    let begun = Instant::now();
    run_command(&mut copy)?;
    Ok(begun.elapsed())
}

/// The worked example's connector, with the rules on what exists of orders and returns, and its own slot and topics.
fn configuration(past: &Site<'_>, name: &str, workers: usize) -> Result<Configuration> {
    let text = oms::connector_file(&format!("/oms/{name}"), name)
        .replace("publication = \"walwright_oms\"", "publication = \"past\"");
    let mut connector: toml::Table = text.parse()?;
    connector.remove("tombstone");
    let snapshot = connector.get_mut("snapshot").and_then(toml::Value::as_table_mut).ok_or("no [snapshot]")?;
    snapshot.insert("mode".to_owned(), "initial".into());
    snapshot.insert("workers".to_owned(), i64::try_from(workers)?.into());
    let is_wanted = |entry: &toml::Value| {
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let read = toml::Value::from("read");
        match entry.get("on").and_then(toml::Value::as_array) {
            Some(on) => on.contains(&read) && ["public.orders", "public.returns"].contains(&text("table")),
            None => ["public.orders", "public.returns", "oms.orders", "oms.returns"].contains(&text("name")),
        }
    };
    for list in ["event", "table", "topic"] {
        let entries = connector.get_mut(list).and_then(toml::Value::as_array_mut).ok_or("a list is missing")?;
        entries.retain(is_wanted);
    }
    let configuration = Configuration::own(past.stack, name, &connector.to_string())?;
    past.push_contracts(&configuration)?;
    Ok(configuration)
}

fn read(past: &Site<'_>, name: &str, rows: u64, workers: usize, copy: f64) -> Result<Value> {
    let configuration = configuration(past, name, workers)?;
    let mut daemon = past.start(&configuration)?;
    let begun = Instant::now();
    while !is_done(&daemon, name)? {
        if begun.elapsed() > WITHIN {
            return Err("the snapshot does not end".into());
        }
        runtime()?.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
    let rate = per_second(rows, begun.elapsed());
    let usage = Usage::of(daemon.id())?;
    stop(&mut daemon)?;
    drop_slot(&past.sql()?, name)?;
    let cpu = usage.cpu_s * 1e6 / rows as f64;
    println!("{workers:>8}{copy:>14.0}{rate:>14.0}{:>8.2}{cpu:>16.2}{:>14.1}", rate / copy, usage.peak_mib);
    Ok(json!({
        "workers": workers,
        "copy_rows_per_second": copy,
        "walwright_rows_per_second": rate,
        "ratio": rate / copy,
        "cpu_seconds_per_million": cpu,
        "peak_rss_mib": usage.peak_mib,
    }))
}

/// Returns that come in while all orders are read by two workers, then as many while nothing is.
fn beside(past: &Site<'_>, seconds: u64) -> Result<Value> {
    const NAME: &str = "past_beside";
    const FLOW: Flow = Flow { insert: RETURN, per_second: 200 };
    let configuration = configuration(past, NAME, 2)?;
    let mut daemon = past.start(&configuration)?;
    let topic = format!("{NAME}.oms.returns");
    let subscriber = Subscriber::new(&past.stack.kafka, &[topic])?;
    let meanwhile = latency::measure(past, &subscriber, &FLOW, |_| is_done(&daemon, NAME))?;
    let alone = latency::measure(past, &subscriber, &FLOW, |written| Ok(written >= FLOW.per_second * seconds))?;
    println!("\nreturns at {}/s while orders are read, COMMIT to subscriber:", FLOW.per_second);
    let meanwhile = meanwhile.report()?;
    println!("the same while nothing is read:");
    let report = json!({ "meanwhile": meanwhile, "alone": alone.report()? });
    stop(&mut daemon)?;
    drop_slot(&past.sql()?, NAME)?;
    Ok(report)
}

const RETURN: &str = "
    INSERT INTO returns (order_id, rma_number, reason, restocked, refund_amount, request_id)
    SELECT min(id), 'RMA', 'does not fit', true, 19.99, 'latency' FROM orders RETURNING id";

fn is_done(daemon: &Daemon, name: &str) -> Result<bool> {
    let tables: Vec<Value> = serde_json::from_str(&daemon.get(&format!("/connectors/{name}/snapshots"))?)?;
    Ok(tables.iter().any(|table| table["table"] == "public.orders" && table["state"] == "done"))
}
