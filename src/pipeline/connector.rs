//! One connector: what stays the same from attempt to attempt.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::contracts::Ids;
use super::health::{Health, Phase};
use super::metrics::ConnectorMetrics;
use super::session::Silenced;
use super::task::Stop;
use super::{session, start};
use crate::checkpoint::record::Takeover;
use crate::checkpoint::store::draw_instance_id;
use crate::config::Process;
use crate::connector::{Plan, SourceSection};
use crate::error::{Error, Kind, Result};

/// How an attempt ends when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stop was asked for, and all that was received is committed or will be read again.
    Stopped,
}

/// A connector of this daemon.
pub(super) struct Connector {
    pub(super) plan: Arc<Plan>,
    pub(super) source: SourceSection,
    pub(super) process: Arc<Process>,
    pub(super) handle: Handle,
    metrics: Arc<ConnectorMetrics>,
    health: Health,
    /// Drawn when the connector starts: the name that its takeover records carry.
    pub(super) instance: String,
    pub(super) ownership: Ownership,
    /// Looked up once; the registry may be away later.
    pub(super) ids: Option<Ids>,
    pub(super) silenced: Silenced,
}

/// Which takeover record this instance may find without giving way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// It has not looked yet: whoever ran before, this instance takes over.
    Starting,
    /// It has seen this record (None: there was none) and set out to write its own.
    Claiming(Option<Takeover>),
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
        let instance = draw_instance_id()?;
        Ok(Connector {
            plan,
            source,
            process,
            handle,
            metrics,
            health,
            instance,
            ownership: Ownership::Starting,
            ids: None,
            silenced: Silenced::default(),
        })
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

    /// One attempt: start, then stream until the stop or a failure.
    pub(super) fn attempt(&mut self, stop: &Stop) -> Result<End> {
        let Some(session) = start::start(self, stop)? else { return Ok(End::Stopped) };
        self.health.enter(Phase::Streaming);
        tracing::info!(connector = self.name(), "streaming");
        session::run(session, stop)
    }

    /// Behind the first fence, whatever takeover record there is belongs to an instance that can commit no more: it is
    /// remembered. In recovery it is judged.
    pub(super) fn claim(&mut self, newest: Option<&Takeover>) -> Result<()> {
        if self.ownership == Ownership::Starting {
            self.ownership = Ownership::Claiming(newest.cloned());
        }
        self.refuse_if_taken_over(newest)
    }

    /// Another instance has taken over if the newest takeover record is neither ours nor the one that was there when we
    /// set out. (One that was there before is no news: two starters that fence each other would otherwise both halt.)
    pub(super) fn refuse_if_taken_over(&self, newest: Option<&Takeover>) -> Result<()> {
        let Ownership::Claiming(seen) = &self.ownership else { return Ok(()) };
        match newest {
            None => Ok(()),
            Some(newest) if newest.instance == self.instance || seen.as_ref() == Some(newest) => Ok(()),
            Some(newest) => {
                let detail =
                    format!("instance {} runs this connector now, this one is {}", newest.instance, self.instance);
                Err(Error::new(Kind::TakenOver, detail))
            }
        }
    }
}
