//! One connector on servers that it shares with others: its own database, slot, topics, daemons and watchdog.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use rustix::process::Signal;
use walwright::faults::Mutation;
use walwright::kafka::KafkaClient;
use walwright::model::Lsn;
use walwright::publish::fence;

use crate::support::daemon::Daemon;
use crate::support::fault::{FAILPOINT, Fault, MUTATION};
use crate::support::oms::site::{Configuration, Launch, Site};
use crate::support::process::is_stopped;
use crate::support::slot_watch::{self, Checkpoints, SlotWatch, Watched};
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::subscriber::read_stable;
use crate::support::{Context, Result, oms, oracle, poll};
use crate::torture::Delivery;

const PATIENCE: Duration = Duration::from_secs(60);
const MUTANT_PATIENCE: Duration = Duration::from_secs(15);
/// A commit is visible a moment after its answer; on servers that nobody kills the moment is short.
const SETTLE: Duration = Duration::from_secs(3);
/// One name for each event, whatever its topic's prefix, so that contracts are pushed once for all trials.
const STRATEGY: (&str, &str) = ("WALWRIGHT_REGISTRY__SUBJECT_NAME_STRATEGY", "RecordNameStrategy");

/// What all trials copy from.
pub(super) struct Ground<'a> {
    pub(super) stack: &'a Stack,
    template: Site<'a>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(stack: &'a Stack) -> Result<Self> {
        let template = Site::create(stack, "template_oms")?;
        template.push_contracts_with(&Configuration::checkout()?, &[STRATEGY])?;
        Ok(Self { stack, template })
    }
}

pub(super) struct Trial<'a> {
    /// Of database, connector and slot; a topic's prefix with a dot behind it.
    pub(super) name: String,
    pub(super) stack: &'a Stack,
    pub(super) site: Site<'a>,
    configuration: Configuration,
    launch: Launch,
    /// For a second daemon beside the first.
    rival: Launch,
    sql: Sql,
    pub(super) daemon: Option<Daemon>,
    checkpoints: Checkpoints,
    watch: SlotWatch,
    /// The last daemon ended in good order, so it has left nothing open.
    left_well: bool,
    /// How long anything may take that must happen.
    pub(super) patience: Duration,
}

/// What is left of a trial, to be judged.
pub(super) struct Left {
    pub(super) name: String,
    pub(super) topics: Vec<String>,
    pub(super) witness: PathBuf,
    /// The newest checkpoint's; None: there is none, and so nothing to judge.
    pub(super) next_lsn: Option<Lsn>,
    pub(super) slot: slot_watch::Report,
}

impl<'a> Trial<'a> {
    /// `name`: lower-case letters, digits and `_`.
    pub(super) fn new(ground: &Ground<'a>, name: &str, delivery: Delivery) -> Result<Self> {
        let stack = ground.stack;
        let site = ground.template.copy(name)?;
        // Few partitions: there are many trials.
        let connector = oms::connector_file(&format!("/oms/{name}"), name);
        let connector =
            connector.replace("partitions = 3", "partitions = 1").replace("partitions = 6", "partitions = 4");
        let configuration = Configuration::own(stack, name, &connector)?;
        let mut launches = [site.launch(&configuration)?, site.launch(&configuration)?];
        for launch in &mut launches {
            launch.set(STRATEGY.0, STRATEGY.1);
            launch.set("WALWRIGHT_KAFKA__DELIVERY", delivery.name());
            launch.set("WALWRIGHT_LOG__LEVEL", "debug");
        }
        let [launch, rival] = launches;
        let sql = site.sql()?;
        oracle::create_witness(&sql, &witness(name))?;
        let watched = Watched {
            postgres: stack.postgres.socket_connection(name),
            slot: name.to_owned(),
            brokers: stack.kafka.bootstrap(),
            checkpoint_topic: checkpoint_topic(name),
            settle: SETTLE,
        };
        let (checkpoints, watch) = (Checkpoints::new(&watched)?, SlotWatch::start(watched)?);
        Ok(Self {
            name: name.to_owned(),
            stack,
            site,
            configuration,
            launch,
            rival,
            sql,
            daemon: None,
            checkpoints,
            watch,
            left_well: false,
            patience: PATIENCE,
        })
    }

    /// Runs statements as one transaction, on one session for all.
    pub(super) fn transact(&self, statements: &str) -> Result<()> {
        self.sql.batch(statements)
    }

    pub(super) fn sql(&self) -> &Sql {
        &self.sql
    }

    /// A session of its own.
    pub(super) fn session(&self) -> Result<Sql> {
        self.stack.postgres.sql(&self.name)
    }

    /// Replaces what occurs exactly once in the connector file, for the next start.
    pub(super) fn connector(&self, from: &str, to: &str) -> Result<()> {
        let file = self.configuration.file.with_file_name("connectors").join(format!("{}.toml", self.name));
        let text = std::fs::read_to_string(&file).context(file.display())?;
        if text.matches(from).count() != 1 {
            return Err(format!("{} does not hold {from:?} once", file.display()).into());
        }
        std::fs::write(&file, text.replace(from, to)).context(file.display())
    }

    /// Every daemon makes this mistake from now on. What it then cannot do any more is not waited for as long.
    pub(super) fn mutate(&mut self, mutation: Mutation) {
        self.launch.set(MUTATION, mutation.name());
        self.rival.set(MUTATION, mutation.name());
        self.patience = MUTANT_PATIENCE;
    }

    /// Starts the next daemon, with a fault or without. The last one must have ended.
    pub(super) fn start(&mut self, fault: Option<Fault>) -> Result<()> {
        self.left_well = false;
        self.daemon = Some(self.launch.start_with(&environment(fault))?);
        Ok(())
    }

    /// Starts one beside the first, which is handed out.
    pub(super) fn start_rival(&mut self, fault: Option<Fault>) -> Result<Daemon> {
        let first = self.daemon.take().ok_or("no daemon runs")?;
        self.daemon = Some(self.rival.start_with(&environment(fault))?);
        Ok(first)
    }

    pub(super) fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().ok_or_else(|| "no daemon runs".into())
    }

    /// The kind of the error for which the connector has halted.
    pub(super) fn halted(&self) -> Option<String> {
        halt_of(self.daemon.as_ref()?, &self.name)
    }

    /// Waits until `probe` says so. A daemon that ends or halts meanwhile will not do it any more.
    pub(super) fn await_that(&mut self, what: &str, mut probe: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let done = poll(self.patience, || {
            if probe(self)? {
                return Ok(Some(Ok(())));
            }
            if let Some(kind) = self.halted() {
                return Ok(Some(Err(format!("halted: {kind}"))));
            }
            let ended = self.daemon.as_ref().is_none_or(|daemon| daemon.ends_within(Duration::ZERO).unwrap_or(true));
            Ok(ended.then(|| Err("the daemon has ended".to_owned())))
        })?;
        match done {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(format!("{what}: {why}").into()),
            None => Err(format!("{what}: not after {} s", self.patience.as_secs()).into()),
        }
    }

    /// Waits until the daemon streams.
    pub(super) fn ready(&mut self) -> Result<()> {
        self.await_that("get ready", |trial| Ok(trial.daemon()?.get("/readyz").is_ok()))
    }

    /// Waits until everything that was committed in this database is on Kafka.
    pub(super) fn caught_up(&mut self) -> Result<()> {
        let end = self.end_of_wal()?;
        self.await_that("catch up", |trial| Ok(trial.checkpoint().is_some_and(|next_lsn| next_lsn >= end)))
    }

    /// Where the last transaction of this database ends that changed anything.
    pub(super) fn end_of_wal(&self) -> Result<Lsn> {
        let query = "SELECT coalesce(max(lsn), '0/0')::text FROM pg_logical_slot_peek_changes($1, NULL, NULL, 'skip-empty-xacts', '1')
                     WHERE data LIKE 'COMMIT%'";
        let rows = self.sql.query(query, &[&witness(&self.name)])?;
        let text: String = rows.first().ok_or("no answer")?.try_get(0)?;
        text.parse().context(text)
    }

    /// Changes that the stream holds, by the witness: rows and truncates of published tables, and messages.
    pub(super) fn changes(&self) -> Result<f64> {
        let query = "SELECT count(*) FROM pg_logical_slot_peek_changes($1, NULL, NULL) AS changes,
                            substring(changes.data from '^(?:table (.+?): (?:INSERT|UPDATE|DELETE|TRUNCATE):|message)') AS name
                     WHERE changes.data LIKE 'message: %' OR name IN (
                         SELECT schemaname || '.' || tablename FROM pg_publication_tables)";
        let rows = self.sql.query(query, &[&witness(&self.name)])?;
        let count: i64 = rows.first().ok_or("no answer")?.try_get(0)?;
        Ok(count as f64)
    }

    /// Who has taken the connector over, in order: instances by the number of their first record, a repetition once.
    pub(super) fn owners(&self) -> Result<Vec<usize>> {
        let (mut known, mut owners): (Vec<Vec<u8>>, Vec<usize>) = (Vec::new(), Vec::new());
        read_stable(&self.stack.kafka, &[checkpoint_topic(&self.name)], |record| {
            if record.key() == Some(b"takeover") {
                let instance = record.payload().unwrap_or_default().to_vec();
                let number = known.iter().position(|known| *known == instance).unwrap_or_else(|| {
                    known.push(instance);
                    known.len() - 1
                });
                owners.push(number);
            }
            Ok(())
        })?;
        owners.dedup();
        Ok(owners)
    }

    /// The newest checkpoint that is committed.
    pub(super) fn checkpoint(&mut self) -> Option<Lsn> {
        self.checkpoints.newest()
    }

    /// Waits until the daemon's connector has halted for this reason, and is true. False: what must not be has been done.
    pub(super) fn halts(&mut self, kind: &str, mut unless: impl FnMut(&mut Self) -> Result<bool>) -> Result<bool> {
        let done = poll(self.patience, || match self.halted() {
            Some(halt) if halt == kind => Ok(Some(true)),
            Some(halt) => Err(format!("halted: {halt}, not {kind}").into()),
            None => Ok(unless(self)?.then_some(false)),
        })?;
        done.ok_or_else(|| format!("no halt for {kind} after {} s", self.patience.as_secs()).into())
    }

    /// Waits until the daemon stands still at its failpoint.
    pub(super) fn stopped(&mut self) -> Result<()> {
        self.await_that("stand still", |trial| is_stopped(trial.daemon()?.id()))
    }

    /// Waits until one of the two daemons works and the other has given way: halted, waits for the slot, or ended in good
    /// order. The one that works is the trial's from then on, the other is handed out.
    pub(super) fn settle(&mut self, other: Daemon) -> Result<Daemon> {
        let (one, name) = (self.daemon.take().ok_or("no daemon runs")?, self.name.clone());
        let mut daemons = [one, other];
        let mut last = [String::new(), String::new()];
        let working = poll(self.patience, || {
            for (daemon, state) in daemons.iter_mut().zip(&mut last) {
                *state = state_of(daemon, &name)?;
            }
            let gives_way = |state: &str| ["halted taken-over", "retrying slot-held", "ended"].contains(&state);
            let works = |at: usize| last[at] == "streaming" && gives_way(&last[1 - at]);
            Ok((0..2).find(|at| works(*at)))
        })?;
        let working = working.ok_or_else(|| format!("two daemons do not settle: {last:?}"))?;
        let [one, other] = daemons;
        let (works, other) = if working == 0 { (one, other) } else { (other, one) };
        self.daemon = Some(works);
        Ok(other)
    }

    /// Ends the connection that reads the slot, and waits until it is free.
    pub(super) fn free_slot(&self) -> Result<()> {
        let query = "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots
                     WHERE slot_name = $1 AND active_pid IS NOT NULL";
        self.sql.query(query, &[&self.name]).map(drop)
    }

    /// Whether the slot comes to stand ahead of the checkpoint.
    pub(super) fn slot_passes(&mut self, within: Duration) -> Result<bool> {
        let query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        let passed = poll(within, || {
            let rows = self.sql.query(query, &[&self.name])?;
            let confirmed: &str = rows.first().ok_or("there is no slot")?.try_get(0)?;
            let confirmed: Lsn = confirmed.parse().context(confirmed)?;
            Ok(self.checkpoint().filter(|next_lsn| confirmed > *next_lsn).map(|_| ()))
        })?;
        Ok(passed.is_some())
    }

    /// Waits for the daemon's end at its failpoint. False: it does not come by in time, and still runs.
    pub(super) fn killed(&mut self, within: Duration) -> Result<bool> {
        let daemon = self.daemon()?;
        if !daemon.ends_within(within)? {
            return Ok(false);
        }
        let status = daemon.wait(Duration::ZERO)?;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            return Err(format!("the daemon ended by itself ({status}): {}", daemon.log_file().display()).into());
        }
        self.daemon = None;
        Ok(true)
    }

    /// Aborts what a daemon that is no more has left open, so that readers need not wait for it.
    pub(super) fn fence(&self) -> Result<()> {
        let client = KafkaClient::new(&self.stack.kafka.bootstrap());
        let topic = checkpoint_topic(&self.name);
        let fenced = fence(&client, "walwright", &self.name, &topic, 60_000, Instant::now() + PATIENCE);
        fenced.map(drop).map_err(|error| error.chain().into())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.kill_hard())
    }

    /// SIGTERM, and an end in good order.
    pub(super) fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().ok_or("no daemon runs")?;
        let status = daemon.terminate(self.patience)?;
        self.left_well = status.success();
        if self.left_well { Ok(()) } else { Err(format!("walwright ended badly after SIGTERM ({status})").into()) }
    }

    /// Ends it; what it published stays on Kafka.
    pub(super) fn close(mut self) -> Result<Left> {
        self.kill()?;
        if !self.left_well {
            self.fence()?;
        }
        let slot = self.watch.finish()?;
        let next_lsn = self.checkpoints.newest();
        let file = self.configuration.file.with_file_name("witness");
        oracle::take_witness(&self.sql, &witness(&self.name), &file)?;
        drop(self.sql);
        self.stack.postgres.drop_database(&self.name)?;
        Ok(Left { name: self.name, topics: self.configuration.topics, witness: file, next_lsn, slot })
    }
}

fn environment(fault: Option<Fault>) -> Vec<(&'static str, String)> {
    fault.map(|fault| (FAILPOINT, fault.to_string())).into_iter().collect()
}

/// What a daemon's connector does, and why if it does not stream.
fn state_of(daemon: &mut Daemon, connector: &str) -> Result<String> {
    if daemon.ends_within(Duration::ZERO)? {
        return Ok("ended".to_owned());
    }
    let report = daemon.report(connector).unwrap_or_default();
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    Ok(format!("{} {}", text("state"), text("kind")).trim().to_owned())
}

/// The kind of error for which a daemon's connector has halted.
pub(super) fn halt_of(daemon: &Daemon, connector: &str) -> Option<String> {
    let report = daemon.report(connector)?;
    (report["state"] == "halted").then(|| report["kind"].as_str().unwrap_or_default().to_owned())
}

fn checkpoint_topic(name: &str) -> String {
    format!("{name}.walwright.checkpoint.{name}")
}

fn witness(name: &str) -> String {
    format!("witness_{name}")
}
