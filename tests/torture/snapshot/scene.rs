//! The servers, the table, its writers, the daemon and who looks at them: set up, struck, and brought to an end.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use walwright::model::Lsn;

use super::Arguments;
use super::plan::{Backfill, Moment, Plan};
use super::progress::Progress;
use super::report::Report;
use super::shop::{self, NAME};
use super::writers::{Settings, Writers};
use crate::support::daemon::Daemon;
use crate::support::oracle;
use crate::support::oracle::snapshot::{Evidence, Verdict, judge, take_table};
use crate::support::sandbox::logs;
use crate::support::session_watch::SessionWatch;
use crate::support::stack::Stack;
use crate::support::{Context, Fault, Result, kafka, poll, postgres};
use crate::torture::daemon_log;

const WITNESS: &str = "witness";
/// How long anything may take to come, or rows to go on. What takes longer is a fault of liveness.
const COMES: Duration = Duration::from_secs(90);
/// How long is written when all rows are published.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How long a backfill stays paused.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Scene {
    /// The one that runs; between two kills there is none.
    daemon: Option<Daemon>,
    shop: crate::support::scene::Scene,
    stack: Stack,
    rows: u64,
    folder: PathBuf,
    progress: Progress,
    sessions: SessionWatch,
    writers: Option<Writers>,
    /// When daemons were started, by the server's clock.
    starts: Vec<i64>,
    kills: u32,
    backfill_kills: u32,
}

impl Scene {
    /// Servers that keep their logs whole; a table full of rows; then the witness; then the writers.
    pub(super) fn set(arguments: &Arguments, plan: &Plan, seed: u64) -> Result<Self> {
        let settings = [("log_timezone", "UTC"), ("shared_buffers", "256MB"), ("max_wal_size", "4GB")];
        let own = settings.iter().fold(postgres::Options::default(), |options, (name, value)| options.set(name, value));
        // A machine that is busy with other things for a while has not lost its broker.
        let broker =
            kafka::Options::default().set("log.cleaner.enable", "false").set("broker.session.timeout.ms", "60000");
        let stack = Stack::own(own, &broker)?;
        let shop = shop::open(&stack, arguments.rows, plan.rows_per_second)?;
        let folder = stack.sandbox.folder("torture")?;
        oracle::create_witness(&shop.sql()?, WITNESS)?;
        println!("{} rows, read {} a second at most", arguments.rows, plan.rows_per_second);
        let writers = Writers::start(Settings {
            connection: stack.postgres.socket_connection(NAME).parse()?,
            seed,
            writers: arguments.writers,
            rate: arguments.rate(),
            keys: shop::keys(arguments.rows),
        })?;
        let progress = Progress::new(stack.kafka.bootstrap(), shop.store().topic());
        let sessions = SessionWatch::start(shop.sql()?, NAME)?;
        let (daemon, writers, rows) = (None, Some(writers), arguments.rows);
        let (starts, kills, backfill_kills) = (Vec::new(), 0, 0);
        Ok(Self { daemon, shop, stack, rows, folder, progress, sessions, writers, starts, kills, backfill_kills })
    }

    /// Goes on until all is done or something does not come.
    pub(super) fn torture(&mut self, plan: &Plan) -> Result<()> {
        self.start()?;
        for moment in &plan.kills {
            self.strike(*moment)?;
            self.kills += 1;
        }
        self.wait_for(Progress::is_over)?;
        if !plan.backfills.is_empty() {
            self.stop_daemon()?;
            let [slow, fast] =
                [plan.rows_per_second, plan.backfill_rows_per_second].map(|rows| format!("rows_per_second = {rows}\n"));
            self.shop.connector(&slow, &fast)?;
            self.start()?;
        }
        plan.backfills.iter().try_for_each(|backfill| self.backfill(backfill))?;
        self.let_work(AFTERWARDS)
    }

    /// Kills the daemon at this moment, while rows are read, and starts another.
    fn strike(&mut self, moment: Moment) -> Result<()> {
        match moment {
            Moment::Rows(rows, after) => {
                self.wait_for(|progress| progress.rows() >= rows)?;
                self.let_work(after)?;
            }
            Moment::AfterStart(after) => self.let_work(after)?,
        }
        self.progress.refresh()?;
        let (rows, kills) = (self.progress.rows(), self.kills + self.backfill_kills);
        if self.progress.is_over() {
            return Err(format!("the snapshot was over after {kills} kills").into());
        }
        self.kill()?;
        println!("kill {} at {rows} rows", kills + 1);
        self.start()
    }

    /// Asks for a backfill, and waits for its end.
    fn backfill(&mut self, backfill: &Backfill) -> Result<()> {
        self.progress.refresh()?;
        let before = self.progress.asked_us();
        self.ask(&backfill.arguments())?;
        println!("backfill: {}", backfill.arguments().join(" "));
        self.wait_for(|progress| progress.asked_us() > before)?;
        if backfill.paused {
            self.wait_for(|progress| progress.rows() > 0)?;
            self.ask(&["--pause"])?;
            self.let_work(PAUSE)?;
            self.ask(&["--resume", "--table", "public.orders"])?;
        }
        for moment in &backfill.kills {
            self.strike(*moment)?;
            self.backfill_kills += 1;
        }
        self.wait_for(Progress::is_over)
    }

    /// `walwright snapshot`
    fn ask(&mut self, arguments: &[&str]) -> Result<()> {
        let daemon = self.daemon.as_mut().ok_or("no daemon runs")?;
        daemon.wait_ready(COMES)?;
        let url = format!("http://{}", daemon.admin());
        let output = self.shop.command(&[&["snapshot", NAME, "--url", &url], arguments].concat())?;
        let fault = || format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into();
        if output.status.success() { Ok(()) } else { Err(fault()) }
    }

    fn start(&mut self) -> Result<()> {
        self.starts.push(self.clock()?);
        self.daemon = Some(self.shop.launch()?);
        Ok(())
    }

    /// Milliseconds since 1970, as the server's log has them.
    fn clock(&self) -> Result<i64> {
        self.shop.sql()?.value("SELECT floor(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::int8")
    }

    fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().ok_or("no daemon runs")?;
        daemon.kill_hard()?;
        if daemon.wait(Duration::ZERO)?.signal() != Some(Signal::KILL.as_raw()) {
            return Err(ended_by_itself(&daemon));
        }
        Ok(())
    }

    /// Lets time pass, in which the daemon may not end.
    fn let_work(&self, time: Duration) -> Result<()> {
        match &self.daemon {
            Some(daemon) if daemon.ends_within(time)? => Err(ended_by_itself(daemon)),
            Some(_) => Ok(()),
            None => Err("no daemon runs".into()),
        }
    }

    /// Waits until the progress is as wanted; it is waited for as long as rows are published.
    fn wait_for(&mut self, wanted: impl Fn(&Progress) -> bool) -> Result<()> {
        loop {
            let before = (self.progress.rows(), self.progress.is_over());
            let moved = poll(COMES, || {
                self.progress.refresh()?;
                self.let_work(Duration::ZERO)?;
                let now = (self.progress.rows(), self.progress.is_over());
                Ok((now != before || wanted(&self.progress)).then_some(()))
            })?;
            if moved.is_none() {
                return Err(self.stands_still());
            }
            if wanted(&self.progress) {
                return Ok(());
            }
        }
    }

    /// What the daemon says and does while nothing goes on.
    fn stands_still(&self) -> Fault {
        let report = self.daemon.as_ref().and_then(|daemon| daemon.report(NAME)).unwrap_or_default();
        let stacks = self.daemon.as_ref().map(|daemon| stacks(daemon.id()));
        let stacks = stacks.map_or("no daemon runs".to_owned(), |file| match file {
            Ok(file) => file.display().to_string(),
            Err(fault) => fault.to_string(),
        });
        let (rows, seconds) = (self.progress.rows(), COMES.as_secs());
        format!("{rows} rows for {seconds} s; the daemon says {report}; its threads: {stacks}").into()
    }

    /// The writers end, the daemon catches up and ends; then everything is read and judged.
    pub(super) fn end(mut self, seed: u64, plan: &Plan, tortured: Result<()>, begun: Instant) -> Result<Report> {
        let written = self.writers.take().map(Writers::stop).transpose()?.ok_or("nobody has written")?;
        let ended = tortured.and_then(|()| self.catch_up()).and_then(|()| self.stop_daemon());
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill_hard()?;
        }
        let judged = self.judge();
        let watched = self.shop.watched();
        let sessions = self.sessions.finish()?;
        let mut report = Report::new(seed, self.rows, (self.kills, self.backfill_kills), plan);
        report.written(&written);
        report.sessions(&sessions);
        report.judged(judged);
        report.alive(ended);
        report.alive(watched);
        report.logged(daemon_log::faults(&std::fs::read_to_string(self.stack.sandbox.log(NAME)?)?));
        report.wall_s = begun.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Waits until everything that is committed now is on Kafka.
    fn catch_up(&mut self) -> Result<()> {
        let flushed: Lsn = self.shop.sql()?.value::<String>("SELECT pg_current_wal_flush_lsn()::text")?.parse()?;
        let caught_up = poll(COMES, || {
            self.progress.refresh()?;
            self.let_work(Duration::ZERO)?;
            Ok(self.progress.next_lsn().is_some_and(|next_lsn| next_lsn >= flushed).then_some(()))
        })?;
        caught_up.ok_or_else(|| format!("the checkpoint has not reached {flushed} after {} s", COMES.as_secs()).into())
    }

    fn stop_daemon(&mut self) -> Result<()> {
        let status = self.daemon.as_mut().ok_or("no daemon runs")?.terminate(COMES)?;
        if status.success() { Ok(()) } else { Err(format!("walwright ended badly after SIGTERM ({status})").into()) }
    }

    fn judge(&self) -> Result<Verdict> {
        let [witness, table, progress] = ["witness", "table", "progress"].map(|name| self.folder.join(name));
        let (sql, brokers) = (self.shop.sql()?, self.stack.kafka.bootstrap());
        take_table(&sql, &table)?;
        oracle::take_witness(&sql, WITNESS, &witness)?;
        oracle::read_committed(&brokers, &[self.shop.store().topic().to_owned()], &progress)?;
        judge(&Evidence {
            brokers: &brokers,
            registry: &self.stack.registry.url(),
            topics: &shop::topics(&self.shop),
            initial: self.rows,
            keys: shop::keys(self.rows),
            witness: &witness,
            table: &table,
            progress: &progress,
            log: self.stack.postgres.log(),
            starts: &self.starts,
        })
    }
}

fn ended_by_itself(daemon: &Daemon) -> Fault {
    format!("walwright ended by itself; its log is {}", daemon.log_file().display()).into()
}

/// Writes where each thread of a process is, as gdb says, to a file beside the logs.
fn stacks(process: u32) -> Result<PathBuf> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-p", &process.to_string(), "-batch", "-ex", "thread apply all bt 30"]);
    let said = gdb.output().context("run gdb")?;
    let file = logs()?.join("threads.txt");
    std::fs::write(&file, said.stdout).context(file.display())?;
    Ok(file)
}
