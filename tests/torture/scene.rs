//! The servers, the workload, the daemon and their watchers: set up, the daemon killed, and brought to an end.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use walwright::model::Lsn;

use super::plan::{FIRST_STARTS, Moment};
use super::record::{Kill, Record, Recovery};
use super::report::Report;
use super::ways::Ways;
use super::{Arguments, Delivery, daemon_log};
use crate::support::canary::{Listener, Search};
use crate::support::daemon::Daemon;
use crate::support::fault::FAILPOINT;
use crate::support::health_watch::HealthWatch;
use crate::support::kafka;
use crate::support::oms::expected::{Counts, expected_counts, since};
use crate::support::oms::site::{Configuration, Launch, Site};
use crate::support::oms::workload::journal::Journal;
use crate::support::oms::workload::{Pace, Workload};
use crate::support::oracle::{self, Evidence, Verdict};
use crate::support::postgres;
use crate::support::process_watch::ProcessWatch;
use crate::support::slot_watch::{Checkpoints, SlotWatch, Watched};
use crate::support::stack::Stack;
use crate::support::{Context, Fault, Result, poll, runtime};

pub(super) const DATABASE: &str = "oms";
pub(super) const CONNECTOR: &str = "oms";
const SOURCE_ID: &str = "/oms/demo";
pub(super) const SLOT: &str = "walwright_oms";
const PUBLICATION: &str = "walwright_oms";
const WITNESS: &str = "witness";
/// Values that the workload writes into rows, published ones and others.
const ROWS: [&str; 5] = ["Ada Lovelace", "Hauptstraße 7", "@example.com", "+49 40 1234567", "nobody there"];
/// Where the daemon is listened to.
const PATHS: [&str; 4] = ["/metrics", "/livez", "/readyz", "/readyz/oms"];

/// How long anything may take to come back. What takes longer is a fault of liveness.
pub(super) const COMES_BACK: Duration = Duration::from_secs(90);
/// How long the daemon may take to drain after SIGTERM.
const DRAIN: Duration = Duration::from_secs(60);
/// A failpoint that is not reached in this time, counted from when the daemon was ready, is given up for a plain kill.
const REACHED: Duration = Duration::from_secs(4);

pub(super) struct Scene {
    pub(super) stack: Stack,
    pub(super) ways: Ways,
    pub(super) launch: Launch,
    topics: Vec<String>,
    folder: PathBuf,
    /// The one that runs; between two kills there is none.
    pub(super) daemon: Option<Daemon>,
    pub(super) record: Record,
    slot_watch: SlotWatch,
    health_watch: Option<HealthWatch>,
    process_watch: ProcessWatch,
    canaries: Listener,
    pub(super) checkpoints: Checkpoints,
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
        let stack = Stack::own(postgres::Options::default(), &kafka::Options::default().fronts(1))?;
        let ways = Ways::start(&stack)?;
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
        ways.lead(&stack, &mut launch);
        let secret = std::iter::once(site.password().to_owned());
        let search = Search::new(ROWS.iter().map(|row| (*row).to_owned()).chain(secret));
        let canaries = Listener::start(launch.admin(), &PATHS, search)?;
        let health_watch = Some(HealthWatch::start(&watched, launch.admin(), CONNECTOR)?);
        let (checkpoints, slot_watch) = (Checkpoints::new(&watched)?, SlotWatch::start(watched)?);
        let topics = configuration.topics;
        let mut scene = Self {
            stack,
            ways,
            launch,
            topics,
            folder,
            daemon: None,
            record: Record::default(),
            slot_watch,
            health_watch,
            process_watch: ProcessWatch::start()?,
            canaries,
            checkpoints,
            workload: None,
            due_before,
            delivery: arguments.delivery,
        };
        if arguments.cycles > 0 {
            FIRST_STARTS.iter().try_for_each(|moment| scene.kill_daemon(moment))?;
        }
        scene.revive()?;
        scene.workload = Some(Running::start(arguments, seed, &connection)?);
        Ok(scene)
    }

    /// A daemon, if none runs, that gets ready.
    pub(super) fn revive(&mut self) -> Result<()> {
        if self.daemon.is_none() {
            self.start_daemon(&[])?;
        }
        self.daemon.as_mut().ok_or("no daemon runs")?.wait_ready(COMES_BACK)
    }

    pub(super) fn start_daemon(&mut self, more: &[(&str, String)]) -> Result<&mut Daemon> {
        let daemon = self.launch.start_with(more)?;
        self.process_watch.follow(daemon.id());
        Ok(self.daemon.insert(daemon))
    }

    /// By SIGKILL, if one runs.
    pub(super) fn end_daemon(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.kill_hard())
    }

    /// A daemon that ends by SIGKILL at the moment. The time that counts is from its start until it is ready.
    pub(super) fn kill_daemon(&mut self, moment: &Moment) -> Result<()> {
        const KILLED: &str = "daemon killed";
        self.end_daemon()?;
        let fault: Vec<_> = moment.fault().map(|fault| (FAILPOINT, fault.to_string())).into_iter().collect();
        let begun = Instant::now();
        let daemon = self.start_daemon(&fault)?;
        let mut ready = None;
        let reached = match moment {
            Moment::AfterStart(wait) => !daemon.ends_within(*wait)?,
            Moment::AfterReady(_) | Moment::At(_) if daemon.ready_or_ended(COMES_BACK)? => moment.fault().is_some(),
            Moment::AfterReady(wait) => {
                ready = Some(begun.elapsed());
                !daemon.ends_within(*wait)?
            }
            Moment::At(_) => {
                ready = Some(begun.elapsed());
                daemon.ends_within(REACHED)?
            }
        };
        daemon.kill_hard()?;
        if daemon.wait(Duration::ZERO)?.signal() != Some(Signal::KILL.as_raw()) {
            return Err(ended_by_itself(daemon));
        }
        self.daemon = None;
        self.record.recoveries.extend(ready.map(|took| Recovery::new(KILLED, took)));
        self.record.kills.push(Kill { at: moment.to_string(), reached });
        self.record.count(KILLED);
        Ok(())
    }

    /// The workload ends, the daemon catches up and ends; then everything is read and judged. What `tortured` found is
    /// a fault of liveness, and so is a daemon that does not catch up or not end.
    pub(super) fn end(mut self, seed: u64, tortured: Result<()>) -> Result<Report> {
        let journal = self.workload.take().map(Running::stop).transpose()?.ok_or("the workload did not run")?;
        let caught_up = tortured.and_then(|()| self.revive()).and_then(|()| self.await_progress());
        let health = self.health_watch.take().map(HealthWatch::finish).transpose()?.unwrap_or_default();
        let status = caught_up.and_then(|()| self.launch.command(&["status", "--json"], &[]));
        let ended = status.and_then(|status| self.stop_daemon().map(|()| status));
        self.end_daemon()?;
        let judged = self.next_lsn().and_then(|next_lsn| self.judge(next_lsn, &journal));
        let slot = self.slot_watch.finish()?;
        let sql = self.stack.postgres.sql(DATABASE)?;
        let due = since(&self.due_before, &runtime()?.block_on(expected_counts(sql.client()))?);
        let witness = std::fs::read_to_string(self.folder.join("witness"))?;
        let mut report = Report::new(seed, self.delivery, self.record, &slot);
        report.worked(&journal);
        report.watched(health);
        report.due_by_sql = due.values().sum();
        report.judged(judged);
        let (log, mut search) = (self.launch.log()?, self.canaries.finish()?);
        search.look("log", &log);
        for server in [self.stack.kafka.log(0)?, self.stack.registry.log()] {
            search.look(&server.display().to_string(), &String::from_utf8_lossy(&std::fs::read(server)?));
        }
        match ended {
            Ok(status) => search.look("status", &status),
            Err(fault) => report.ended(Err(fault)),
        }
        report.searched(&search, ROWS.iter().all(|row| witness.contains(row)));
        report.lived(self.process_watch.finish()?);
        report.logged(daemon_log::faults(&log));
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

pub(super) fn ended_by_itself(daemon: &Daemon) -> Fault {
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
