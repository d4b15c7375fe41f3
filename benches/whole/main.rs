//! The whole daemon on real servers, measured beside `pg_recvlogical`: `cargo bench --bench whole`.
//!
//! Rates of one machine and one hour are worth little, their ratio more: so both read the same WAL, in turn. Everything
//! runs on the same cores, Kafka included.
//!
//! ```text
//! drain     a backlog of small transactions, daemon and pg_recvlogical in turn: rows/s, CPU, memory
//! large     one transaction of millions of rows: rows/s, memory
//! snapshot  orders that exist already, beside one COPY of them: rows/s, CPU, memory; the stream's latency meanwhile
//! latency   single rows at a steady rate: from COMMIT's return to a read_committed consumer
//! ```

mod drain;
mod large;
mod latency;
mod snapshot;
mod usage;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use self::support::daemon::Daemon;
use self::support::oms::site::{Configuration, Site, metric};
use self::support::sandbox::logs;
use self::support::sql::Sql;
use self::support::stack::Stack;
use self::support::{Context, Result, kafka, postgres, runtime};

const STOP: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Arguments {
    /// A tenth of everything, to see that it works.
    #[arg(long, env = "QUICK", value_parser = FalseyValueParser::new())]
    quick: bool,
    /// One workload alone: drain, large_transaction, snapshot or latency. The report has that one then.
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// Cargo passes it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
struct Sizes {
    changes: u64,
    rounds: usize,
    rows_at_once: u64,
    seconds: u64,
}

impl Sizes {
    fn of(arguments: &Arguments) -> Self {
        if arguments.quick {
            Self { changes: 100_000, rounds: 1, rows_at_once: 500_000, seconds: 5 }
        } else {
            Self { changes: 1_000_000, rounds: 3, rows_at_once: 5_000_000, seconds: 30 }
        }
    }
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            if let Ok(folder) = logs() {
                eprintln!("The logs are kept in {}", folder.display());
            }
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    let sizes = Sizes::of(arguments);
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let build = if cfg!(debug_assertions) { "with debug assertions: not for comparison" } else { "release" };
    println!("build {build}; load before {}", load.trim());
    let stack = Stack::own(server(), &kafka::Options::default())?;
    let site = Site::create(&stack, "oms")?;
    let mut report = json!({
        "build": build,
        "cores": std::thread::available_parallelism()?.get(),
        "load_before": load.trim(),
    });
    let mut run = |name: &str, workload: &dyn Fn() -> Result<Value>| -> Result<()> {
        if arguments.only.as_ref().is_none_or(|only| only == name) {
            report[name] = workload()?;
        }
        Ok(())
    };
    run("drain", &|| drain::run(&site, sizes.changes, sizes.rounds))?;
    run("large_transaction", &|| large::run(&site, sizes.rows_at_once))?;
    run("snapshot", &|| snapshot::run(&site, sizes.changes * 2, sizes.rounds, sizes.seconds))?;
    run("latency", &|| latency::run(&site, sizes.seconds))?;
    write(&report)
}

/// No checkpoint and no vacuum falls into one round and not into another.
fn server() -> postgres::Options {
    postgres::Options::default()
        .set("shared_buffers", "512MB")
        .set("autovacuum", "off")
        .set("max_wal_size", "32GB")
        .set("checkpoint_timeout", "1h")
}

fn write(report: &Value) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).context(folder.display())?;
    let file = folder.join("report.json");
    std::fs::write(&file, format!("{report:#}\n")).context(file.display())?;
    println!("\nreport: {}", file.display());
    Ok(())
}

/// The end of what is written so far, in bytes. A reader that asks for nothing beyond it stops at the published change
/// that follows.
fn end_of_wal(sql: &Sql) -> Result<i64> {
    let end = sql.value("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")?;
    sql.execute("UPDATE products SET list_price = list_price WHERE id = 1", &[])?;
    Ok(end)
}

/// A daemon that has published everything up to some place.
struct Drained {
    daemon: Daemon,
    /// Since its start.
    elapsed: Duration,
    /// Since it was ready: connected, its topics and programs made.
    streaming: Duration,
}

/// Starts a daemon on a slot of the same name and waits until its checkpoint passes `end`.
fn drain(site: &Site<'_>, configuration: &Configuration, end: i64, within: Duration) -> Result<Drained> {
    let begun = Instant::now();
    let daemon = site.start(configuration)?;
    let ready = Instant::now();
    while metric(&daemon.get("/metrics")?, "walwright_checkpoint_lsn").unwrap_or(0.0) < end as f64 {
        if begun.elapsed() > within {
            let state = daemon.get("/readyz").unwrap_or_else(|fault| fault.to_string());
            return Err(format!("walwright has not come to the end of the WAL; it says: {state}").into());
        }
        // Seldom enough to cost the daemon nothing, often enough for runs of seconds.
        runtime()?.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
    Ok(Drained { daemon, elapsed: begun.elapsed(), streaming: ready.elapsed() })
}

impl Drained {
    fn stop(mut self) -> Result<()> {
        stop(&mut self.daemon)
    }
}

fn stop(daemon: &mut Daemon) -> Result<()> {
    let status = daemon.terminate(STOP)?;
    if status.success() { Ok(()) } else { Err(format!("walwright did not end well ({status})").into()) }
}

fn create_slot(sql: &Sql, name: &str) -> Result<()> {
    sql.query("SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name]).map(drop)
}

fn drop_slot(sql: &Sql, name: &str) -> Result<()> {
    sql.query("SELECT pg_drop_replication_slot($1::text::name)", &[&name]).map(drop)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}
