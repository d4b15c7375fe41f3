//! A person's acts on a connector that is not running: accepted gaps, resynchronizations and removals.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::connector::Connector;
use super::gap::{self, Gap, Way};
use super::removal::{self, Removal};
use super::start::{Attempt, now_us};
use super::task::{Stop, Stopper, stop_signal};
use crate::checkpoint::audit::Signature;
use crate::config::Process;
use crate::connector;
use crate::error::{At, Result};
use crate::model::{Lsn, TableName};

/// Where a connector goes on.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub epoch: u32,
    pub next_lsn: Lsn,
}

/// A connector in the hands of an operator. It talks to Kafka and Postgres and runs nothing.
pub struct Operator {
    connector: Connector,
    stop: Stop,
    _stopper: Stopper,
}

impl Operator {
    /// Asks nobody yet.
    pub fn new(process: Arc<Process>, connector: connector::Connector, handle: Handle) -> Result<Operator> {
        let (stopper, stop) = stop_signal();
        let connector = Connector::idle(Arc::new(connector.plan), connector.source, process, handle)?;
        Ok(Operator { connector, stop, _stopper: stopper })
    }

    /// What accepting the connector's gap would mean; None: there is none. Changes nothing.
    ///
    /// # Errors
    /// `SlotHeld` while somebody streams; halts that no accepted gap ends; what keeps from asking.
    pub fn gap(&mut self) -> Result<Option<Gap>> {
        self.on(|attempt, has_state| if has_state { gap::look(attempt) } else { Ok(None) })
    }

    /// Accepts it; None: it has changed meanwhile, and nothing was done.
    pub fn accept(&mut self, gap: &Gap, signed: Signature) -> Result<Option<Accepted>> {
        self.leave(gap, &Way::Accept, signed)
    }

    /// The tables that a resynchronization reads.
    pub fn tables_to_resync(&self) -> Vec<TableName> {
        self.connector.plan.readable_tables()
    }

    /// Accepts it, and has the rows of all tables read again; None: it has changed meanwhile, and nothing was done.
    pub fn resync(&mut self, gap: &Gap, signed: Signature) -> Result<Option<Accepted>> {
        let way = Way::Resync { tables: self.tables_to_resync(), asked_us: now_us() };
        self.leave(gap, &way, signed)
    }

    fn leave(&mut self, gap: &Gap, way: &Way, signed: Signature) -> Result<Option<Accepted>> {
        let accepted = self.on(|attempt, _| gap::accept(attempt, gap, way, signed))?;
        Ok(accepted.map(|checkpoint| Accepted { epoch: checkpoint.epoch, next_lsn: checkpoint.next_lsn }))
    }

    /// What removing the connector would do. Changes nothing.
    ///
    /// # Errors
    /// `SlotHeld` while somebody streams; what keeps from asking.
    pub fn removal(&mut self) -> Result<Removal> {
        self.on(removal::look)
    }

    /// Removes it; false: what there is to remove has changed meanwhile, and nothing was done.
    pub fn remove(&mut self, removal: &Removal, signed: Signature) -> Result<bool> {
        self.on(|attempt, _| removal::remove(attempt, removal, signed))
    }

    /// Acts, and is told whether there is a checkpoint topic: an operator's question does not create it.
    fn on<T>(&mut self, act: impl FnOnce(&mut Attempt<'_>, bool) -> Result<T>) -> Result<T> {
        let name = At::connector(self.connector.name());
        let mut attempt = Attempt::new(&mut self.connector, &self.stop)?;
        let topic = attempt.kafka.admin.topic(attempt.kafka.store.topic());
        topic.and_then(|topic| act(&mut attempt, topic.is_some())).map_err(|error| error.at(name))
    }
}
