//! One connector: what stays the same from attempt to attempt.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::contracts::Ids;
use super::health::{Health, Phase};
use super::metrics::{ConnectorMetrics, Metrics};
use super::ownership::Owner;
use super::session::Silenced;
use super::snapshot::{Commands, Progress};
use super::task::Stop;
use super::{session, start};
use crate::checkpoint::store::draw_instance_id;
use crate::config::Process;
use crate::connector::{Plan, SourceSection};
use crate::error::{Error, Kind, Result};

/// How an attempt ends when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stop was asked for, and all that was received is committed or will be read again.
    Stopped,
    /// Something was asked for that a session begins with.
    Again,
}

/// A connector of this daemon.
pub(super) struct Connector {
    pub(super) plan: Arc<Plan>,
    pub(super) source: SourceSection,
    pub(super) process: Arc<Process>,
    pub(super) handle: Handle,
    metrics: Arc<ConnectorMetrics>,
    health: Health,
    pub(super) owner: Owner,
    /// Looked up once; the registry may be away later.
    pub(super) ids: Option<Ids>,
    pub(super) silenced: Silenced,
    pub(super) commands: Commands,
    /// Of snapshots.
    pub(super) progress: Progress,
    /// By which the chunks of snapshots are smaller: Kafka took so few rows in the time of a transaction.
    pub(super) chunk_divisor: u64,
    /// The warnings about rules and tables that were logged last.
    warned: Vec<String>,
}

impl Connector {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: SourceSection,
        process: Arc<Process>,
        handle: Handle,
        metrics: Arc<ConnectorMetrics>,
        health: Health,
    ) -> Result<Connector> {
        let owner = Owner::new(draw_instance_id()?);
        Ok(Connector {
            plan,
            source,
            process,
            handle,
            metrics,
            health,
            owner,
            ids: None,
            silenced: Silenced::default(),
            commands: Commands::default(),
            progress: Progress::default(),
            chunk_divisor: 1,
            warned: Vec::new(),
        })
    }

    /// A connector that nobody runs: to look at, or for an operator's act.
    pub(super) fn idle(
        plan: Arc<Plan>,
        source: SourceSection,
        process: Arc<Process>,
        handle: Handle,
    ) -> Result<Connector> {
        let metrics = Arc::new(Metrics::new()?.connector(&plan));
        Connector::new(plan, source, process, handle, metrics, Health::default())
    }

    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    pub(super) fn metrics(&self) -> &Arc<ConnectorMetrics> {
        &self.metrics
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Logs what may halt the connector later: once, not at every attempt.
    pub(super) fn warn(&mut self, warnings: Vec<String>) {
        if warnings != self.warned {
            warnings.iter().for_each(|warning| tracing::warn!(connector = self.name(), "{warning}"));
            self.warned = warnings;
        }
    }

    /// One attempt: start, then stream until the stop or a failure.
    pub(super) fn attempt(&mut self, stop: &Stop) -> Result<End> {
        let Some((session, closing)) = start::start(self, stop)? else { return Ok(End::Stopped) };
        self.health.enter(Phase::Streaming);
        tracing::info!(connector = self.name(), "streaming");
        let ended = session::run(session, stop);
        let ended = closing.join().and(ended);
        let is_too_much = |error: &Error| error.kind() == Kind::TransactionTooLong && error.place().table.is_some();
        self.chunk_divisor =
            if ended.as_ref().is_err_and(is_too_much) { self.chunk_divisor.saturating_mul(4) } else { 1 };
        ended
    }
}
