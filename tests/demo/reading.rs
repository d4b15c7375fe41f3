//! The rows that exist already: loaded before the daemon starts, and shown going by while it reads them.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::screen::{Screen, grouped};
use crate::support::daemon::Daemon;
use crate::support::oms::expected::Counts;
use crate::support::oms::history;
use crate::support::oms::site::Site;
use crate::support::sql::Sql;
use crate::support::{Context, Result, runtime};

/// Orders that are there before the daemon starts.
const ORDERS: u64 = 50_000;
/// Orders that are imported at once while rows are read, and the pause before the next ones.
const IMPORT: (u64, Duration) = (5, Duration::from_millis(50));
const TICK: Duration = Duration::from_millis(400);
/// How long reading may take.
const READ_MAX: Duration = Duration::from_secs(120);
const BAR_WIDTH: u64 = 24;

/// What came of reading.
pub(super) struct Read {
    /// One event for each row that was there at the end of it.
    pub(super) due: Counts,
    /// Orders that were inserted meanwhile.
    pub(super) imported: u64,
    pub(super) took: Duration,
}

pub(super) struct Reading<'a> {
    pub(super) screen: &'a Screen,
    pub(super) daemon: &'a Daemon,
}

/// How far a table is, of what `/connectors/oms/snapshots` says of it.
#[derive(Deserialize)]
struct Table {
    table: String,
    state: String,
    rows: u64,
    estimated_rows: Option<u64>,
    waits_for: Option<String>,
}

impl Table {
    fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// Tens of thousands of orders and what belongs to them.
pub(super) fn load_history(site: &Site<'_>) -> Result<()> {
    let sql = site.sql()?;
    runtime()?.block_on(history::write(sql.client(), ORDERS)).context("load the OMS database's past")?;
    runtime()?.block_on(history::analyze(sql.client())).context("analyze the OMS database")
}

impl Reading<'_> {
    /// Shows what is read until all is, while orders are imported: each of those is due once, read or inserted.
    pub(super) fn run(&self, site: &Site<'_>) -> Result<Read> {
        let begun = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let importing = runtime()?.spawn(import(site.sql()?, stopped));
        let shown = self.show(begun);
        let took = begun.elapsed();
        stop.send_replace(true);
        let imported = runtime()?.block_on(importing).context("the import")?.context("import orders")?;
        shown?;
        Ok(Read { due: site.read_counts()?, imported, took })
    }

    fn show(&self, begun: Instant) -> Result<()> {
        let mut last = (begun, 0);
        loop {
            let tables = self.look()?;
            let (now, rows) = (Instant::now(), tables.iter().map(|table| table.rows).sum());
            let line = line(&tables, begun, rows, rate(last, (now, rows)));
            if !tables.is_empty() && !tables.iter().any(Table::is_running) {
                self.screen.print(&line);
                return Ok(());
            }
            if begun.elapsed() > READ_MAX {
                return Err(format!("rows are still being read after {} s: {line}", READ_MAX.as_secs()).into());
            }
            self.screen.status(&line);
            last = (now, rows);
            runtime()?.block_on(async { sleep(TICK).await });
        }
    }

    fn look(&self) -> Result<Vec<Table>> {
        Ok(serde_json::from_str(&self.daemon.get("/connectors/oms/snapshots")?)?)
    }
}

/// Rows per second between two looks.
fn rate(last: (Instant, u64), now: (Instant, u64)) -> f64 {
    now.1.saturating_sub(last.1) as f64 / (now.0 - last.0).as_secs_f64().max(0.001)
}

fn line(tables: &[Table], begun: Instant, rows: u64, rate: f64) -> String {
    let elapsed = begun.elapsed();
    let expected: u64 = tables.iter().map(|table| table.estimated_rows.unwrap_or(0).max(table.rows)).sum();
    let running: Vec<_> = tables.iter().filter(|table| table.is_running()).collect();
    let filled = if running.is_empty() { BAR_WIDTH } else { rows * BAR_WIDTH / expected.max(1) };
    let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '#' } else { '-' }).collect();
    let mut line = format!("{:>5.1} s  reading [{bar}] {:>7} rows", elapsed.as_secs_f64(), grouped(rows));
    if running.is_empty() {
        let mean = rows as f64 / elapsed.as_secs_f64().max(0.001);
        return format!("{line} of {} tables, {} rows/s, done", tables.len(), grouped(mean as u64));
    }
    line.push_str(&format!(" of about {}, {:>6} rows/s", grouped(expected), grouped(rate as u64)));
    if rows > 0 {
        let left = (expected - rows) as f64 * elapsed.as_secs_f64() / rows as f64;
        line.push_str(&format!(", {left:.1} s left"));
    }
    let names: Vec<_> = running.iter().map(|table| table.table.trim_start_matches("public.")).collect();
    let waits = running.iter().find_map(|table| table.waits_for.as_ref());
    let waits = waits.map(|waits_for| format!(", waits for {waits_for}")).unwrap_or_default();
    format!("{line}: {}{waits}", names.join(" "))
}

/// Inserts orders, some at once, until it is told to stop, and says how many.
async fn import(sql: Sql, mut stop: watch::Receiver<bool>) -> std::result::Result<u64, tokio_postgres::Error> {
    let (orders, pause) = IMPORT;
    let mut imported = 0;
    while timeout(pause, stop.wait_for(|stop| *stop)).await.is_err() {
        history::write(sql.client(), orders).await?;
        imported += orders;
    }
    Ok(imported)
}
