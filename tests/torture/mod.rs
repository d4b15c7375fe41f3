//! `torture`: daemon, Postgres and broker are killed at random moments under load; then the judges speak.
//!
//! ```text
//! witness slot, workload --> Postgres --> daemon --> Kafka --> Java reader --> oracle --> report
//!                               ^           ^          ^
//!                               \-- SIGQUIT  \- SIGKILL \- SIGKILL       (and the watchdog of the slot, all the time)
//! ```
//!
//! The seed decides the moments and the workload; what the machine does between them it cannot.

mod daemon_log;
mod plan;
mod report;
mod scene;

use std::time::Instant;

use self::plan::Plan;
use self::report::Cycles;
use self::scene::Scene;
use crate::support::Result;
use crate::support::sandbox::{logs, random};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// How often the daemon is killed.
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
    /// Connections that write.
    #[arg(long, default_value_t = 4)]
    writers: u16,
    /// Transactions per second of all writers together.
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| random() >> 32);
    println!("torture: seed {seed}, logs in {}", logs()?.display());
    let begun = Instant::now();
    let mut scene = Scene::set(arguments, seed)?;
    let mut cycles = Cycles::default();
    let tortured = torture(&mut scene, &Plan::new(arguments, seed), &mut cycles);
    let report = scene.end(seed, cycles, tortured, begun)?;
    println!("{report}");
    println!("report: {}", report.write()?.display());
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("Not clean; the logs are kept in {}", logs()?.display()).into())
    }
}

/// Goes on until all is done or something does not come back.
fn torture(scene: &mut Scene, plan: &Plan, cycles: &mut Cycles) -> Result<()> {
    for moment in &plan.daemon {
        scene.kill_daemon(*moment)?;
        cycles.daemon += 1;
        cycles.show();
    }
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
