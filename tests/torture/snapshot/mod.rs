//! `torture-snapshot`: the daemon is killed again and again while it reads a table that is written to; then a judge speaks.
//!
//! ```text
//! witness slot, writers --> Postgres --> daemon --> Kafka --> Java reader --> snapshot.py --> report
//!                 sessions, locks -/       ^- SIGKILL  \--> progress (when to kill)
//! ```
//!
//! The seed decides how far the snapshot is at each kill, and what is written; what the machine does between them it cannot.

mod plan;
mod progress;
mod report;
mod scene;
mod shop;
mod writers;

use std::time::Instant;

use self::plan::Plan;
pub(crate) use self::report::{Report, Round};
use self::scene::Scene;
use crate::support::Result;
use crate::support::sandbox::{logs, random};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Rows that the table has when the daemon is started first.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: u64,
    /// How often the daemon is killed, spread over the snapshot.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Replays the moments and the writers; drawn and printed by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Rows that all writers together change per second; by default as many as suit the table, at most 2000.
    #[arg(long)]
    rate: Option<f64>,
    /// Backfills of the table, one after the other, once its rows are read; the daemon is killed in each.
    #[arg(long, default_value_t = 2)]
    backfills: u32,
    /// Connections that write.
    #[arg(long, default_value_t = 8)]
    writers: u16,
}

impl Arguments {
    /// So many kills, a few seconds apart, and a backfill of each kind.
    pub(crate) fn round(kills: u32) -> Self {
        let rows = 5_000 * u64::from(kills.max(1));
        Self { rows, kills, seed: None, rate: None, backfills: 2, writers: 8 }
    }

    fn rate(&self) -> f64 {
        self.rate.unwrap_or((self.rows as f64 / 100.0).clamp(200.0, 2_000.0))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| random() >> 32);
    println!("torture-snapshot: seed {seed}, logs in {}", logs()?.display());
    let report = play(arguments, seed)?;
    println!("{}", report.write()?);
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("Not clean; the logs are kept in {}", logs()?.display()).into())
    }
}

/// One run, from its servers' start to the verdict, which is printed.
pub(crate) fn play(arguments: &Arguments, seed: u64) -> Result<Report> {
    let begun = Instant::now();
    let plan = Plan::new(arguments, seed);
    let mut scene = Scene::set(arguments, &plan, seed)?;
    let tortured = scene.torture(&plan);
    let report = scene.end(seed, &plan, tortured, begun)?;
    println!("{report}");
    Ok(report)
}
