//! `torture`: everything happens to the daemon and its servers at random moments under load; then the judges speak.
//!
//! ```text
//! witness slot, workload --> Postgres --> proxy --> daemon --> proxy --> Kafka --> Java reader --> oracle --> report
//!                               ^           ^         ^          ^         ^
//!                               \-- SIGQUIT  \- cuts   \- SIGKILL \- cuts   \- SIGKILL
//!                                       (and the watchdogs of slot, health and process, all the time)
//! ```
//!
//! First daemon after daemon is killed; then one lives through everything else. A third of the kills come while rows are
//! read, on servers of their own (`snapshot`). The seed decides what happens, when, and the workload; what the machine
//! does between them it cannot. Most of the kills are at failpoints, places in the daemon's own work, and cuts are at
//! bytes, so that a seed replays them wherever the machine then is.

mod blows;
mod daemon_log;
mod plan;
mod record;
mod report;
mod scene;
pub(crate) mod snapshot;
mod ways;

pub(crate) use self::report::report_file;

use std::time::Instant;

use self::plan::Plan;
use self::scene::Scene;
use crate::support::Result;
use crate::support::sandbox::{logs, random};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// How often the daemon is killed, most often at a failpoint; a third of it while rows are read.
    #[arg(long, default_value_t = 24)]
    cycles: u32,
    /// How often Postgres is stopped at once, as in a crash; the daemon stays.
    #[arg(long, default_value_t = 3)]
    postgres_cycles: u32,
    /// How often the broker is killed; the daemon stays.
    #[arg(long, default_value_t = 3)]
    broker_cycles: u32,
    /// How many connections are cut; with each four of them comes another trouble: a black hole, delay, slices, a
    /// frozen daemon, a restart of Postgres.
    #[arg(long, default_value_t = 32)]
    cuts: u32,
    /// Replays the faults and the workload; drawn and printed by default.
    #[arg(long)]
    seed: Option<u64>,
    /// With at_least_once transactions may be torn.
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

impl Arguments {
    /// The judge of a snapshot knows exactly once only.
    fn reads_snapshots(&self) -> bool {
        self.delivery == Delivery::ExactlyOnce
    }
}

/// The daemon's delivery mode.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
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
    let plan = Plan::new(arguments, seed);
    let mut scene = Scene::set(arguments, seed)?;
    let tortured = torture(&mut scene, &plan);
    let mut report = scene.end(seed, tortured)?;
    for (kills, number) in plan.snapshots.iter().zip(1..) {
        match snapshot::play(&snapshot::Arguments::round(*kills), seed.wrapping_add(number)) {
            Ok(round) => report.read_snapshots(round.round()),
            Err(fault) => report.ended(Err(fault)),
        }
    }
    report.lasted(begun.elapsed());
    let report = if arguments.resume { report.added_to_the_last()? } else { report };
    println!("{report}");
    println!("report: {}", report.write()?.display());
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("Not clean; the logs are kept in {}", logs()?.display()).into())
    }
}

/// Goes on until all is done or something does not come back.
fn torture(scene: &mut Scene, plan: &Plan) -> Result<()> {
    plan.kills.iter().try_for_each(|moment| scene.kill_daemon(moment))?;
    plan.registry.iter().try_for_each(|trouble| scene.start_without_registry(*trouble))?;
    scene.revive()?;
    plan.blows.iter().try_for_each(|blow| scene.strike(*blow))
}

/// Without them no failpoint would be reached and no mutation made.
pub(crate) fn faults_are_built_in() -> Result<()> {
    if walwright::faults::ENABLED { Ok(()) } else { Err("build with --features faults (`make` does)".into()) }
}
