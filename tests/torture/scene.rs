//! The servers, the workload, the daemon and their watchers: set up, struck, and brought to an end.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use walwright::model::Lsn;

use super::plan::{FIRST_STARTS, Moment, Outage};
use super::report::{Cycles, Kill, Report};
use super::{Arguments, Delivery, daemon_log};
use crate::support::daemon::Daemon;
use crate::support::fault::FAILPOINT;
use crate::support::health_watch::HealthWatch;
use crate::support::kafka;
use crate::support::oms::expected::{Counts, expected_counts, since};
use crate::support::oms::site::{Configuration, Launch, Site};
use crate::support::oms::workload::journal::Journal;
use crate::support::oms::workload::{Pace, Workload};
use crate::support::oracle::{self, Evidence, Verdict};
use crate::support::postgres::{self, Stop};
use crate::support::slot_watch::{Checkpoints, SlotWatch, Watched};
use crate::support::stack::Stack;
use crate::support::{Context, Fault, Result, poll, runtime};

const DATABASE: &str = "oms";
const CONNECTOR: &str = "oms";
const SOURCE_ID: &str = "/oms/demo";
const SLOT: &str = "walwright_oms";
const PUBLICATION: &str = "walwright_oms";
const WITNESS: &str = "witness";

/// How long anything may take to come back. What takes longer is a fault of liveness.
const COMES_BACK: Duration = Duration::from_secs(90);
/// How long the daemon may take to drain after SIGTERM.
const DRAIN: Duration = Duration::from_secs(60);
/// A failpoint that is not reached in this time, counted from when the daemon was ready, is given up for a plain kill.
const REACHED: Duration = Duration::from_secs(4);

pub(super) struct Scene {
    stack: Stack,
    launch: Launch,
    topics: Vec<String>,
    folder: PathBuf,
    /// The one that runs; between two kills there is none.
    daemon: Option<Daemon>,
    slot_watch: SlotWatch,
    health_watch: Option<HealthWatch>,
    checkpoints: Checkpoints,
    workload: Option<Running>,
    due_before: Counts,
    delivery: Delivery,
}

struct Running {
    stop: watch::Sender<bool>,
    writers: JoinHandle<Journal>,
}

impl Scene {
    /// Servers, database, contracts; then the witness; then a daemon that is killed in its very first start; then the
    /// workload. Nothing writes to the database between the witness and the daemon's own slot.
    pub(super) fn set(arguments: &Arguments, seed: u64) -> Result<Self> {
        let stack = Stack::own(postgres::Options::default(), &kafka::Options::default())?;
        let site = Site::create(&stack, DATABASE)?;
        let configuration = Configuration::stream_only(&stack)?;
        site.push_contracts(&configuration)?;
        let (due_before, connection) = (site.expected_counts()?, site.connection()?);
        let folder = stack.sandbox.folder("torture")?;
        oracle::take_rows(&site.sql()?, PUBLICATION, &folder.join("before"))?;
        oracle::create_witness(&site.sql()?, WITNESS)?;
        let watched = Watched {
            postgres: stack.postgres.socket_connection(DATABASE),
            slot: SLOT.to_owned(),
            brokers: stack.kafka.bootstrap(),
            checkpoint_topic: format!("walwright.checkpoint.{CONNECTOR}"),
            settle: Watched::SETTLE,
        };
        let mut launch = site.launch(&configuration)?;
        launch.set("WALWRIGHT_KAFKA__DELIVERY", arguments.delivery.name());
        let health_watch = Some(HealthWatch::start(&watched, launch.admin(), CONNECTOR)?);
        let (checkpoints, slot_watch) = (Checkpoints::new(&watched)?, SlotWatch::start(watched)?);
        let daemon = None;
        let topics = configuration.topics;
        let mut scene = Self {
            stack,
            launch,
            topics,
            folder,
            daemon,
            slot_watch,
            health_watch,
            checkpoints,
            workload: None,
            due_before,
            delivery: arguments.delivery,
        };
        if arguments.cycles > 0 {
            FIRST_STARTS.iter().try_for_each(|moment| scene.kill_daemon(moment).map(drop))?;
        }
        scene.revive()?;
        scene.workload = Some(Running::start(arguments, seed, &connection)?);
        Ok(scene)
    }

    /// A daemon, if none runs, that gets ready.
    pub(super) fn revive(&mut self) -> Result<()> {
        let daemon = match &mut self.daemon {
            Some(daemon) => daemon,
            none => none.insert(self.launch.start()?),
        };
        daemon.wait_ready(COMES_BACK)
    }

    /// A daemon that ends by SIGKILL at the moment.
    pub(super) fn kill_daemon(&mut self, moment: &Moment) -> Result<Kill> {
        if let Some(mut last) = self.daemon.take() {
            last.kill_hard()?;
        }
        let fault: Vec<_> = moment.fault().map(|fault| (FAILPOINT, fault.to_string())).into_iter().collect();
        let daemon = self.daemon.insert(self.launch.start_with(&fault)?);
        let reached = match moment {
            Moment::AfterStart(wait) => !daemon.ends_within(*wait)?,
            Moment::AfterReady(wait) => !daemon.ready_or_ended(COMES_BACK)? && !daemon.ends_within(*wait)?,
            Moment::At(_) => daemon.ready_or_ended(COMES_BACK)? || daemon.ends_within(REACHED)?,
        };
        daemon.kill_hard()?;
        if daemon.wait(Duration::ZERO)?.signal() != Some(Signal::KILL.as_raw()) {
            return Err(ended_by_itself(daemon));
        }
        self.daemon = None;
        Ok(Kill { at: moment.to_string(), reached })
    }

    /// Postgres loses what it had in memory and recovers; the daemon must come back by itself.
    pub(super) fn crash_postgres(&mut self, outage: Outage) -> Result<()> {
        self.let_work(outage.after)?;
        self.stack.postgres.stop(Stop::Immediate)?;
        self.let_work(outage.lasts)?;
        self.stack.postgres.restart()?;
        self.await_progress()
    }

    /// The broker is killed and comes back with its log; the daemon must come back by itself.
    pub(super) fn kill_broker(&mut self, outage: Outage) -> Result<()> {
        self.let_work(outage.after)?;
        self.stack.kafka.kill_hard(0)?;
        self.let_work(outage.lasts)?;
        self.stack.kafka.restart(0)?;
        self.await_progress()
    }

    /// Lets time pass, in which the daemon may not end.
    fn let_work(&self, time: Duration) -> Result<()> {
        match &self.daemon {
            Some(daemon) if daemon.ends_within(time)? => Err(ended_by_itself(daemon)),
            Some(_) => Ok(()),
            None => Err("no daemon runs".into()),
        }
    }

    /// Waits until everything that is committed now is on Kafka.
    fn await_progress(&mut self) -> Result<()> {
        let flushed: String = self.stack.postgres.sql(DATABASE)?.value("SELECT pg_current_wal_flush_lsn()::text")?;
        let flushed: Lsn = flushed.parse().context("pg_current_wal_flush_lsn")?;
        let caught_up = poll(COMES_BACK, || {
            self.let_work(Duration::ZERO)?;
            Ok(self.checkpoints.newest().is_some_and(|next_lsn| next_lsn >= flushed).then_some(()))
        })?;
        caught_up.ok_or_else(|| {
            let state =
                self.daemon.as_ref().ok_or_else(|| "no daemon runs".into()).and_then(|daemon| daemon.get("/readyz"));
            let state = state.unwrap_or_else(|fault| fault.to_string());
            format!("the checkpoint has not reached {flushed} after {} s: {state}", COMES_BACK.as_secs()).into()
        })
    }

    /// The workload ends, the daemon catches up and ends; then everything is read and judged. What `tortured` found is
    /// a fault of liveness, and so is a daemon that does not catch up or not end.
    pub(super) fn end(mut self, seed: u64, cycles: Cycles, tortured: Result<()>, begun: Instant) -> Result<Report> {
        let journal = self.workload.take().map(Running::stop).transpose()?.ok_or("the workload did not run")?;
        let caught_up = tortured.and_then(|()| self.revive()).and_then(|()| self.await_progress());
        let health = self.health_watch.take().map(HealthWatch::finish).transpose()?.unwrap_or_default();
        let ended = caught_up.and_then(|()| self.stop_daemon());
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill_hard()?;
        }
        let judged = self.next_lsn().and_then(|next_lsn| self.judge(next_lsn, &journal));
        let slot = self.slot_watch.finish()?;
        let sql = self.stack.postgres.sql(DATABASE)?;
        let due = since(&self.due_before, &runtime()?.block_on(expected_counts(sql.client()))?);
        let mut report = Report::new(seed, self.delivery, cycles, &slot);
        report.worked(&journal);
        report.watched(health);
        report.due_by_sql = due.values().sum();
        report.judged(judged);
        report.ended(ended);
        report.logged(daemon_log::faults(&self.launch.log()?));
        report.seconds = begun.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Where the daemon has left off, be it by its own will or not.
    fn next_lsn(&mut self) -> Result<Lsn> {
        let newest = poll(COMES_BACK, || Ok(self.checkpoints.newest()))?;
        newest.ok_or_else(|| "there is no checkpoint to be read".into())
    }

    fn judge(&self, next_lsn: Lsn, journal: &Journal) -> Result<Verdict> {
        let files = ["records", "witness", "journal", "before", "after"].map(|name| self.folder.join(name));
        let [records, witness, journal_file, before, after] = &files;
        let sql = self.stack.postgres.sql(DATABASE)?;
        oracle::take_rows(&sql, PUBLICATION, after)?;
        oracle::take_witness(&sql, WITNESS, witness)?;
        journal.write(journal_file)?;
        oracle::read_committed(&self.stack.kafka.bootstrap(), &self.topics, records)?;
        oracle::judge(&Evidence {
            registry: &self.stack.registry.url(),
            records,
            witness,
            journal: Some(journal_file),
            before: Some(before),
            after: Some(after),
            source_id: SOURCE_ID,
            topic_prefix: "",
            next_lsn,
        })
    }

    fn stop_daemon(&mut self) -> Result<()> {
        let status = self.daemon.as_mut().ok_or("no daemon runs")?.terminate(DRAIN)?;
        if status.success() { Ok(()) } else { Err(format!("walwright ended badly after SIGTERM ({status})").into()) }
    }
}

fn ended_by_itself(daemon: &Daemon) -> Fault {
    format!("walwright ended by itself; its log is {}", daemon.log_file().display()).into()
}

impl Running {
    fn start(arguments: &Arguments, seed: u64, connection: &tokio_postgres::Config) -> Result<Self> {
        let mut workload = Workload::new(connection, seed, arguments.writers);
        let pace = Pace { rate: Some(arguments.rate), transactions_per_writer: None };
        let (stop, stopped) = watch::channel(false);
        let writers = runtime()?.spawn(async move { workload.run(&stopped, pace).await });
        Ok(Self { stop, writers })
    }

    fn stop(self) -> Result<Journal> {
        self.stop.send_replace(true);
        runtime()?.block_on(self.writers).context("the workload")
    }
}
