//! `torture`: daemon, Postgres and broker are killed at random moments under load; then the judges speak.
//!
//! ```text
//! witness slot, workload --> Postgres --> daemon --> Kafka --> Java reader --> oracle --> report
//!                               ^           ^          ^
//!                               \-- SIGQUIT  \- SIGKILL \- SIGKILL       (and the watchdog of the slot, all the time)
//! ```
//!
//! The seed decides the moments and the workload; what the machine does between them it cannot. Most of the moments are
//! failpoints, places in the daemon's own work, so that a seed replays them wherever the machine then is.

mod daemon_log;
mod plan;
mod report;
mod scene;
pub(crate) mod snapshot;

pub(crate) use self::report::report_file;

use std::time::Instant;

use self::plan::Plan;
use self::report::Cycles;
use self::scene::Scene;
use crate::support::Result;
use crate::support::sandbox::{logs, random};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// How often the daemon is killed, most often at a failpoint.
    #[arg(long, default_value_t = 200)]
    cycles: u32,
    /// How often Postgres is stopped at once, as in a crash; the daemon stays.
    #[arg(long, default_value_t = 20)]
    postgres_cycles: u32,
    /// How often the broker is killed; the daemon stays.
    #[arg(long, default_value_t = 20)]
    broker_cycles: u32,
    /// Replays the moments and the workload; drawn and printed by default.
    #[arg(long)]
    seed: Option<u64>,
    /// With at_least_once duplicates are counted and are no mistake.
    #[arg(long, value_enum, default_value_t)]
    delivery: Delivery,
    /// Adds this run to the report that is there.
    #[arg(long)]
    resume: bool,
    /// Connections that write.
    #[arg(long, default_value_t = 4)]
    writers: u16,
    /// Transactions per second of all writers together.
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
}

/// The daemon's delivery mode.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
pub(crate) enum Delivery {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

impl Delivery {
    /// As the process file has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly_once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

/// Faults: ACK-01, ACK-12, KF-01.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    faults_are_built_in()?;
    let seed = arguments.seed.unwrap_or_else(|| random() >> 32);
    println!("torture: seed {seed}, logs in {}", logs()?.display());
    let begun = Instant::now();
    let mut scene = Scene::set(arguments, seed)?;
    let mut cycles = Cycles::default();
    let tortured = torture(&mut scene, &Plan::new(arguments, seed), &mut cycles);
    let report = scene.end(seed, cycles, tortured, begun)?;
    println!("{report}");
    println!("{}", report.write(arguments.resume)?);
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("Not clean; the logs are kept in {}", logs()?.display()).into())
    }
}

/// Goes on until all is done or something does not come back.
fn torture(scene: &mut Scene, plan: &Plan, cycles: &mut Cycles) -> Result<()> {
    for moment in &plan.daemon {
        cycles.kills.push(scene.kill_daemon(moment)?);
        cycles.daemon += 1;
        cycles.show();
    }
    scene.revive()?;
    for moment in &plan.postgres {
        scene.crash_postgres(*moment)?;
        cycles.postgres += 1;
        cycles.show();
    }
    for moment in &plan.broker {
        scene.kill_broker(*moment)?;
        cycles.broker += 1;
        cycles.show();
    }
    Ok(())
}

/// Without them no failpoint would be reached and no mutation made.
pub(crate) fn faults_are_built_in() -> Result<()> {
    if walwright::faults::ENABLED { Ok(()) } else { Err("build with --features faults (`make` does)".into()) }
}
