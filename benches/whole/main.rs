//! The whole daemon on real servers, measured beside others on the same backlog: `make bench`, or
//! `cargo bench --bench whole`.
//!
//! Rates of one machine and one hour are worth little, their ratio more: so all read the same WAL, in turn. Everything
//! runs on the same cores, Kafka included. Each workload leaves its rows in `target/bench/report.json`, in the place of
//! those of its last call.
//!
//! ```text
//! workload   what there is to call, by the name that ONLY takes
//! backlog    changes that wait in a slot: the worked example's (oms), or of tables made for one question (plain)
//! runner     who drains them: pg_recvlogical, the daemon, the daemon without its records (null), Debezium
//! latency    single rows at a steady rate
//! connectors many of them in one daemon
//! snapshot   orders that exist already, beside one COPY of them
//! encode     an event alone, beside apache-avro
//! report     the rows, and what they say of the bars (ratios); page and plot write docs/performance.md from them
//! ```

mod backlog;
mod connectors;
mod debezium;
mod encode;
mod latency;
mod machine;
mod page;
mod plain;
mod plot;
mod ratios;
mod report;
mod runner;
mod snapshot;
mod usage;
mod workload;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::FalseyValueParser;

use self::report::{Call, RELEASE, Report, Row};
use self::support::daemon::Daemon;
use self::support::oms::site::Site;
use self::support::sandbox::logs;
use self::support::sql::Sql;
use self::support::stack::Stack;
use self::support::{Result, kafka, postgres};
use self::workload::Workload;

const STOP: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Arguments {
    /// A tenth of everything and one round, to see that it works.
    #[arg(long, env = "QUICK", value_parser = FalseyValueParser::new())]
    quick: bool,
    /// These workloads alone, parted by commas; the report keeps those of earlier calls.
    #[arg(long, env = "ONLY", value_delimiter = ',')]
    only: Vec<String>,
    /// Those alone that the report does not have yet.
    #[arg(long, env = "RESUME", value_parser = FalseyValueParser::new())]
    resume: bool,
    /// Who else is measured: debezium.
    #[arg(long, env = "PEERS", value_delimiter = ',', value_parser = ["debezium"])]
    peers: Vec<String>,
    /// Nothing is run: docs/performance.md and its plots are written from the report.
    #[arg(long, env = "REPORT", value_parser = FalseyValueParser::new())]
    report: bool,
    /// Cargo passes it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
pub(crate) struct Sizes {
    pub(crate) changes: u64,
    /// Pairs of which the median is taken.
    pub(crate) rounds: usize,
    /// Where no bar rests on it.
    pub(crate) rounds_beside: usize,
    pub(crate) rows_at_once: u64,
    pub(crate) seconds: u64,
}

impl Sizes {
    fn of(quick: bool) -> Self {
        if quick {
            Self { changes: 100_000, rounds: 1, rounds_beside: 1, rows_at_once: 500_000, seconds: 5 }
        } else {
            Self { changes: 1_000_000, rounds: 5, rounds_beside: 2, rows_at_once: 5_000_000, seconds: 15 }
        }
    }
}

/// What workloads run on, and where they leave their rows.
pub(crate) struct Bench<'a> {
    pub(crate) site: &'a Site<'a>,
    pub(crate) sizes: Sizes,
    pub(crate) report: Report,
    /// The workload that is running.
    pub(crate) call: String,
    /// Of Kafka Connect, where Debezium has been run.
    pub(crate) worker: Option<debezium::Worker>,
    names: Cell<usize>,
}

impl Bench<'_> {
    pub(crate) fn take(&mut self, row: Row) {
        row.print();
        self.report.rows.push(Row { call: self.call.clone(), ..row });
    }

    /// A name that nothing else on these servers has.
    pub(crate) fn unique(&self, name: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{name}_{}", self.names.get())
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
    let report = Report::load()?;
    if arguments.report {
        return page::write(&report);
    }
    let due = workload::due(&arguments.only, &arguments.peers, |name| {
        arguments.resume && report.workloads.get(name).is_some_and(|call| call.quick == arguments.quick)
    })?;
    let build = if cfg!(debug_assertions) { "with debug assertions: not for comparison" } else { RELEASE };
    println!("build {build}; workloads: {}", due.iter().map(|workload| workload.name).collect::<Vec<_>>().join(" "));
    let stack = Stack::own(server(), &kafka::Options::default().measured())?;
    let site = Site::create(&stack, "oms")?;
    let sizes = Sizes::of(arguments.quick);
    let mut bench = Bench { site: &site, sizes, report, call: String::new(), worker: None, names: Cell::new(0) };
    bench.report.machine = machine::facts()?;
    bench.report.versions = machine::versions(&site)?;
    println!("\nwarming up");
    runner::warm_up(&bench)?;
    for workload in due {
        run(&mut bench, workload, build, arguments.quick)?;
    }
    Ok(())
}

fn run(bench: &mut Bench<'_>, workload: &Workload, build: &str, quick: bool) -> Result<()> {
    println!("\n== {}: {}", workload.name, workload.about);
    let load_before = std::fs::read_to_string("/proc/loadavg")?.trim().to_owned();
    let begun = Instant::now();
    workload.name.clone_into(&mut bench.call);
    bench.report.forget(workload.name);
    (workload.run)(bench)?;
    let call = Call { build: build.to_owned(), quick, load_before, seconds: begun.elapsed().as_secs_f64() };
    bench.report.workloads.insert(workload.name.to_owned(), call);
    println!("report: {}", bench.report.save()?.display());
    Ok(())
}

/// No checkpoint and no vacuum falls into one round and not into another.
fn server() -> postgres::Options {
    postgres::Options::default()
        .set("shared_buffers", "512MB")
        .set("autovacuum", "off")
        .set("max_wal_size", "32GB")
        .set("checkpoint_timeout", "1h")
        .set("max_replication_slots", "80")
        .set("max_wal_senders", "80")
        .set("max_connections", "200")
}

/// The end of what is written so far, in bytes. A reader that asks for nothing beyond it stops at the published change
/// that follows.
pub(crate) fn end_of_wal(sql: &Sql) -> Result<i64> {
    let end = sql.value("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")?;
    sql.execute("UPDATE products SET list_price = list_price WHERE id = 1", &[])?;
    Ok(end)
}

pub(crate) fn stop(daemon: &mut Daemon) -> Result<()> {
    let status = daemon.terminate(STOP)?;
    if status.success() { Ok(()) } else { Err(format!("walwright did not end well ({status})").into()) }
}

pub(crate) fn create_slot(sql: &Sql, name: &str) -> Result<()> {
    sql.query("SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name]).map(drop)
}

pub(crate) fn copy_slot(site: &Site<'_>, from: &str, to: &str) -> Result<()> {
    let copy = "SELECT pg_copy_logical_replication_slot($1::text::name, $2::text::name)";
    site.sql()?.query(copy, &[&from, &to]).map(drop)
}

pub(crate) fn drop_slot(sql: &Sql, name: &str) -> Result<()> {
    sql.query("SELECT pg_drop_replication_slot($1::text::name)", &[&name]).map(drop)
}

pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}
