//! `demo`: rows that exist already are read, then the order workload, the daemon and a subscriber side by side, and a
//! proof at the end.
//!
//! ```text
//! history, workload -> Postgres -> daemon -> Kafka -> watch (live figures)
//!                         |                    \----> proof: a fresh subscriber's counts
//!                         \-- SQL counts ------------>   against these
//! ```

mod live;
mod proof;
mod reading;
mod sample;
mod screen;
mod watch;

use std::time::{Duration, Instant};

use self::live::{Live, Lived};
use self::proof::Proof;
use self::reading::{Read, Reading};
use self::screen::{Screen, grouped};
use self::watch::{Watch, percentiles_ms};
use crate::support::daemon::Daemon;
use crate::support::event::Decoder;
use crate::support::oms::expected::{Counts, sum};
use crate::support::oms::site::{Configuration, Site};
use crate::support::oms::workload::journal::Outcome;
use crate::support::postgres::SUPERUSER;
use crate::support::sandbox::logs;
use crate::support::stack::Stack;
use crate::support::subscriber::Subscriber;
use crate::support::{Result, kafka, postgres};

/// How long the last events may take to come.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How long the daemon may take to drain after SIGTERM.
const DRAIN: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ends by itself after so long; otherwise Ctrl-C ends it.
    #[arg(long)]
    seconds: Option<u64>,
    /// Transactions per second of all writers together.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    /// What the workload draws its transactions from; the same seed draws the same ones.
    #[arg(long)]
    seed: Option<u64>,
    /// Connections that write.
    #[arg(long, default_value_t = 8)]
    writers: u16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = logs()?;
    demo(arguments).map_err(|fault| format!("{fault}\nThe logs are kept in {}", folder.display()).into())
}

fn demo(arguments: &Arguments) -> Result<()> {
    let screen = Screen::new();
    let begun = Instant::now();
    screen.print("Starting Postgres, Kafka and a schema registry (the first time fetches their packages) ...");
    let stack = Stack::own(postgres::Options::default(), &kafka::Options::default())?;
    screen.print("Loading the OMS database with its past, registering the contracts, starting walwright ...");
    let site = Site::create(&stack, "oms")?;
    reading::load_history(&site)?;
    let configuration = Configuration::checkout()?;
    site.push_contracts(&configuration)?;
    let mut daemon = site.start(&configuration)?;
    screen.print(&servers(&site, &daemon, begun, &screen)?);

    let subscriber = Subscriber::new(&stack.kafka, &configuration.topics)?;
    let mut watch = Watch::start(subscriber, Decoder::new(stack.registry.url()), screen.colours)?;
    let read = Reading { screen: &screen, daemon: &daemon }.run(&site)?;
    await_events(&watch, &read.due, &daemon)?;
    watch.with(|seen| seen.forget_latencies());
    let live = Live { screen: &screen, watch: &watch, daemon: &daemon, seconds: arguments.seconds };
    let live = live.run(&site, arguments)?;
    let due = sum(&read.due, &live.due);
    await_events(&watch, &due, &daemon)?;
    watch.stop()?;
    let status = daemon.terminate(DRAIN)?;
    let proof = Proof::read(&stack.kafka, &configuration.topics, stack.registry.url(), due)?;

    screen.print(&written(&proof, &read, &live));
    screen.print(&proof.table(screen.colours));
    let latency_ms = watch.with(|seen| percentiles_ms(&seen.latency_us));
    let report = proof.report(&read, &live, latency_ms)?;
    screen.print(&verdict(&proof, &live, latency_ms, &screen));
    screen.print(&format!("report: {}", report.display()));
    if !status.success() {
        return Err(format!("walwright did not end well after SIGTERM ({status})").into());
    }
    if proof.holds() { Ok(()) } else { Err("What was committed and what was seen differ.".into()) }
}

/// What started where, and how to look at it.
fn servers(site: &Site<'_>, daemon: &Daemon, begun: Instant, screen: &Screen) -> Result<String> {
    let postgres = &site.stack.postgres;
    let (folder, port) = (postgres.socket_folder().display(), postgres.address().port());
    let admin = daemon.admin();
    let rows = [
        (
            "postgres",
            postgres.address().to_string(),
            format!("psql -h {folder} -p {port} -U {SUPERUSER} {}", site.database),
        ),
        ("kafka", site.stack.kafka.bootstrap(), "isolation.level=read_committed".to_owned()),
        ("registry", site.stack.registry.url(), format!("curl -s {}/subjects", site.stack.registry.url())),
        ("walwright", format!("http://{admin}"), format!("curl -s http://{admin}/metrics   (also /livez, /readyz)")),
        ("logs", logs()?.display().to_string(), String::new()),
    ];
    let colours = screen.colours;
    let width = rows.iter().take(4).map(|(_, place, _)| place.len()).max().unwrap_or(0);
    let mut text = format!("\nReady after {:.0} s.\n", begun.elapsed().as_secs_f64());
    for (name, place, look) in rows {
        let line = format!("  {}  {place:<width$}  {}\n", colours.name(&format!("{name:<9}")), colours.quiet(&look));
        text.push_str(&line);
    }
    Ok(text)
}

/// Waits until the watch has seen as many events of each type as are due; what is missing then, the proof names.
fn await_events(watch: &Watch, due: &Counts, daemon: &Daemon) -> Result<()> {
    if !watch.await_events(due, CATCH_UP)? {
        let state = daemon.get("/readyz").unwrap_or_else(|fault| fault.to_string());
        println!("\nEvents are missing after {} s; walwright says: {state}", CATCH_UP.as_secs());
    }
    Ok(())
}

/// What the source did.
fn written(proof: &Proof, read: &Read, live: &Lived) -> String {
    let count = |outcome| live.journal.count(outcome);
    format!(
        "\n{} rows that existed were read in {:.1} s while {} orders were imported,\nthen {} transactions committed, {} \
         rolled back in {:.0} s",
        grouped(proof.read),
        read.took.as_secs_f64(),
        grouped(read.imported),
        count(Outcome::Committed),
        count(Outcome::Aborted),
        live.elapsed.as_secs_f64()
    )
}

fn verdict(proof: &Proof, live: &Lived, latency_ms: [f64; 3], screen: &Screen) -> String {
    let [p50, p95, p99] = latency_ms;
    let per_second = live.events_per_second();
    let speed =
        format!("{per_second:.0} events/s, commit to subscriber: p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms");
    let events = grouped(proof.events());
    let verdict = if proof.holds() {
        screen.colours.good(&format!("difference 0: each of {events} events that were due was seen exactly once"))
    } else {
        let counts =
            format!("difference {}, {} duplicates, {events} events seen", proof.difference(), proof.duplicates);
        screen.colours.bad(&counts)
    };
    format!("\n{speed}\n{verdict}")
}
