//! All connectors of a process: built together, started together, stopped within one grace period.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connector::Connector;
use super::health::{Health, HealthMap};
use super::metrics::{ConnectorMetrics, Metrics};
use super::supervisor::supervise;
use super::task::{Stopper, Task, stop_signal};
use crate::config::Loaded;
use crate::config::Process;
use crate::connector::{Plan, SourceSection};
use crate::error::{Error, Kind, Result};

/// The connectors of one process.
pub struct Daemon {
    process: Arc<Process>,
    connectors: Vec<(Arc<Plan>, SourceSection, Arc<ConnectorMetrics>)>,
    metrics: Arc<Metrics>,
    health: HealthMap,
    running: Vec<(String, Task<()>)>,
    stopper: Option<Stopper>,
}

impl Daemon {
    /// Builds what does not need a connection.
    pub fn new(loaded: Loaded) -> Result<Daemon> {
        let metrics = Metrics::new()?;
        let connectors: Vec<_> = loaded
            .connectors
            .into_iter()
            .map(|connector| {
                let metrics = Arc::new(metrics.connector(&connector.plan));
                (Arc::new(connector.plan), connector.source, metrics)
            })
            .collect();
        let health = connectors.iter().map(|(plan, ..)| (plan.name.clone(), Health::default())).collect();
        Ok(Daemon {
            process: Arc::new(loaded.process),
            connectors,
            metrics: Arc::new(metrics),
            health: Arc::new(health),
            running: Vec::new(),
            stopper: None,
        })
    }

    /// What is scraped.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The connectors' handles, refreshed before a scrape.
    pub fn connector_metrics(&self) -> Vec<Arc<ConnectorMetrics>> {
        self.connectors.iter().map(|(_, _, metrics)| metrics.clone()).collect()
    }

    /// Each connector's health.
    pub fn health(&self) -> HealthMap {
        self.health.clone()
    }

    /// Starts every connector on a thread of its own.
    pub fn start(&mut self, handle: &Handle) -> Result<()> {
        let (stopper, stop) = stop_signal();
        for (plan, source, metrics) in &self.connectors {
            let health = self.health.get(&plan.name).cloned().unwrap_or_default();
            let process = self.process.clone();
            let mut connector =
                Connector::new(plan.clone(), source.clone(), process, handle.clone(), metrics.clone(), health)?;
            let stop = stop.clone();
            let task = Task::spawn(&plan.name, move || {
                supervise(&mut connector, &stop);
                Ok(())
            })?;
            self.running.push((plan.name.clone(), task));
        }
        self.stopper = Some(stopper);
        Ok(())
    }

    /// Stops the intake of all connectors and waits for what they have received to be committed. What takes longer than
    /// `grace` is left to the next start, which reads it again.
    pub fn stop(&mut self, grace: Duration) -> Result<()> {
        self.stopper = None;
        let until = Instant::now() + grace;
        let mut late = Vec::new();
        for (name, task) in self.running.drain(..) {
            match task.join_until(until) {
                Some(ended) => ended?,
                None => late.push(name),
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
