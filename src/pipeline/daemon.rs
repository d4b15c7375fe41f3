//! All connectors of a process, each started, stopped and replaced by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connector::Connector;
use super::health::{Health, Phase};
use super::metrics::{ConnectorMetrics, Metrics};
use super::snapshot::{Answer, Command, Commands, Progress, TableProgress};
use super::supervisor::supervise;
use super::task::{Stopper, Task, stop_signal};
use crate::config::{Loaded, Process};
use crate::connector;
use crate::error::{Error, Kind, Result};

/// What others see of a connector that runs.
#[derive(Clone)]
pub struct Member {
    /// What it does.
    pub health: Health,
    /// Refreshed before a scrape.
    pub metrics: Arc<ConnectorMetrics>,
    commands: Commands,
    progress: Progress,
}

impl Member {
    /// How far the snapshots of its tables are, as of its last start and since.
    pub fn snapshots(&self) -> Vec<TableProgress> {
        self.progress.read()
    }

    /// Has the connector do what is asked of its snapshots, and waits until it has begun. Err: why it cannot.
    pub fn command(&self, command: Command) -> Answer {
        let report = self.health.report();
        if report.state != Phase::Streaming {
            let cause = report.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            return Err(format!("the connector is {}, not streaming{cause}", report.state.name()));
        }
        self.commands.give(command)
    }
}

/// The connectors that run, by name: what the HTTP side sees of the daemon.
#[derive(Clone, Default)]
pub struct Roster(Arc<Mutex<BTreeMap<String, Member>>>);

impl Roster {
    /// As it is now.
    pub fn members(&self) -> BTreeMap<String, Member> {
        self.with(|members| members.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Member>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The connectors of one process.
pub struct Daemon {
    process: Arc<Process>,
    handle: Handle,
    metrics: Arc<Metrics>,
    roster: Roster,
    running: BTreeMap<String, Running>,
    /// Told to stop by a reload, and late.
    late: Vec<(String, Task<()>)>,
}

/// A connector on its thread.
struct Running {
    /// Its file and contracts, to see whether a reload changes anything.
    made_of: String,
    health: Health,
    stopper: Stopper,
    task: Task<()>,
}

impl Daemon {
    /// Builds what does not need a connection.
    pub fn new(process: Process, handle: Handle) -> Result<Daemon> {
        Ok(Daemon {
            process: Arc::new(process),
            handle,
            metrics: Arc::new(Metrics::new()?),
            roster: Roster::default(),
            running: BTreeMap::new(),
            late: Vec::new(),
        })
    }

    /// What is scraped.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Who runs.
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Starts every connector on a thread of its own.
    pub fn start(&mut self, connectors: Vec<connector::Connector>) -> Result<()> {
        connectors.into_iter().try_for_each(|connector| self.start_one(connector))
    }

    fn start_one(&mut self, connector: connector::Connector) -> Result<()> {
        let made_of = made_of(&connector);
        let connector::Connector { plan, source } = connector;
        let (name, plan) = (plan.name.clone(), Arc::new(plan));
        let metrics = Arc::new(self.metrics.connector(&plan));
        let health = Health::default();
        let (stopper, stop) = stop_signal();
        let (process, handle) = (self.process.clone(), self.handle.clone());
        let mut connector = Connector::new(plan, source, process, handle, metrics.clone(), health.clone())?;
        let (commands, progress) = (connector.commands.clone(), connector.progress.clone());
        let task = Task::spawn(&name, move || {
            supervise(&mut connector, &stop);
            Ok(())
        })?;
        self.roster.with(|members| {
            members.insert(name.clone(), Member { health: health.clone(), metrics, commands, progress })
        });
        self.running.insert(name, Running { made_of, health, stopper, task });
        Ok(())
    }

    /// Takes over what is in the files now: a connector that is gone is stopped, a new one started, one that has changed
    /// or is halted stopped and started. The others do not notice. Those that take longer than `grace` to stop are left to
    /// end by themselves; their successors wait for the slot.
    ///
    /// # Errors
    /// `Configuration` where the connectors would no longer fit the process's own settings: nothing was changed.
    pub fn reload(&mut self, loaded: Loaded, grace: Duration) -> Result<()> {
        self.note_process(&loaded.process)?;
        let wanted: BTreeMap<String, connector::Connector> =
            loaded.connectors.into_iter().map(|connector| (connector.plan.name.clone(), connector)).collect();
        let stays = |name: &str, running: &Running| {
            let halted = running.health.report().state == Phase::Halted;
            !halted && wanted.get(name).is_some_and(|connector| made_of(connector) == running.made_of)
        };
        let leaving: BTreeMap<String, Running> =
            self.running.extract_if(.., |name, running| !stays(name, running)).collect();
        self.end(leaving, &wanted, grace);
        for (name, connector) in wanted {
            if !self.running.contains_key(&name) {
                self.start_one(connector)?;
                tracing::info!(connector = name, "connector started by a reload");
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        leaving: BTreeMap<String, Running>,
        wanted: &BTreeMap<String, connector::Connector>,
        grace: Duration,
    ) {
        let until = Instant::now() + grace;
        // All are told before one is waited for.
        let tasks: Vec<(String, Task<()>)> =
            leaving.into_iter().map(|(name, running)| (name, running.tell())).collect();
        for (name, task) in tasks {
            if !wanted.contains_key(&name) {
                self.roster.with(|members| members.remove(&name));
            }
            match task.join_until(until) {
                Ok(ended) => {
                    if let Err(error) = ended {
                        tracing::error!(connector = name, error = %error.chain(), "connector ended badly");
                    }
                    tracing::info!(connector = name, "connector stopped by a reload");
                }
                Err(task) => {
                    tracing::warn!(connector = name, "connector does not stop in time; it is left to end by itself");
                    self.late.push((name, task));
                }
            }
        }
    }

    /// Says what of the process's own settings has changed, and takes effect at its next start only.
    fn note_process(&self, new: &Process) -> Result<()> {
        let old = &self.process;
        if old.kafka.topic_prefix != new.kafka.topic_prefix {
            let detail = "[kafka] topic_prefix has changed, which needs a restart: nothing was reloaded";
            return Err(Error::new(Kind::Configuration, detail));
        }
        let sections = [
            ("kafka", old.kafka == new.kafka),
            ("registry", old.registry == new.registry),
            ("admin", old.admin == new.admin),
            ("log", old.log == new.log),
        ];
        for (section, _) in sections.iter().filter(|(_, same)| !same) {
            tracing::warn!(section, "settings of the process have changed: they take effect at its next start");
        }
        Ok(())
    }

    /// Stops the intake of all connectors and waits for what they have received to be committed. What takes longer than
    /// `grace` is left to the next start, which reads it again.
    pub fn stop(&mut self, grace: Duration) -> Result<()> {
        let until = Instant::now() + grace;
        let running = std::mem::take(&mut self.running);
        let told: Vec<_> = running.into_iter().map(|(name, running)| (name, running.tell())).collect();
        let mut late = Vec::new();
        for (name, task) in told.into_iter().chain(self.late.drain(..)) {
            match task.join_until(until) {
                Ok(ended) => ended?,
                Err(_) => late.push(name),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "{} did not stop within {} s; the next start reads its checkpoint",
            late.join(", "),
            grace.as_secs()
        );
        Err(Error::new(Kind::KafkaUnreachable, detail))
    }
}

impl Running {
    /// Tells it to stop.
    fn tell(self) -> Task<()> {
        drop(self.stopper);
        self.task
    }
}

/// All that a connector is made of, in words: file, contracts, references (secrets are not among them).
fn made_of(connector: &connector::Connector) -> String {
    format!("{:?} {:?}", connector.plan, connector.source)
}
