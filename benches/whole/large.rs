//! One transaction of many rows: how fast, and how much memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::oms::backlog::one_transaction;
use crate::support::oms::site::{Configuration, Site};
use crate::support::sql::connect;
use crate::support::subscriber::read_to_end;
use crate::support::{Context, Result, runtime};
use crate::usage::Usage;
use crate::{create_slot, drop_slot, end_of_wal, per_second};

const DRAIN: Duration = Duration::from_secs(900);
const NAME: &str = "large";

pub(crate) fn run(site: &Site<'_>, rows: u64) -> Result<Value> {
    let sql = site.sql()?;
    create_slot(&sql, NAME)?;
    let begun = Instant::now();
    let connection = site.stack.postgres.socket_connection(&site.database);
    runtime()?
        .block_on(async { one_transaction(&mut connect(&connection).await?, rows).await.context("one transaction") })?;
    let end = end_of_wal(&sql)?;
    println!("\none transaction of {rows} rows, written in {:.0} s", begun.elapsed().as_secs_f64());
    let configuration = Configuration::on_slot(site.stack, NAME, NAME)?;
    site.push_contracts(&configuration)?;
    let drained = crate::drain(site, &configuration, end, DRAIN)?;
    let usage = Usage::of(drained.daemon.id())?;
    let rate = per_second(rows, drained.elapsed);
    drained.stop()?;
    drop_slot(&sql, NAME)?;
    let mut events = 0;
    read_to_end(&site.stack.kafka, &configuration.topics, |_| {
        events += 1;
        Ok(())
    })?;
    if events != rows {
        return Err(format!("{rows} events are due, {events} are on the topics").into());
    }
    println!("walwright/s {rate:.0}, CPU {:.2} s, peak RSS {:.1} MiB", usage.cpu_s, usage.peak_mib);
    Ok(json!({
        "rows": rows,
        "walwright_rows_per_second": rate,
        "cpu_seconds": usage.cpu_s,
        "peak_rss_mib": usage.peak_mib,
    }))
}
