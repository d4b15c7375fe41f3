//! What is on its way from the assembler to Kafka: how old its oldest transaction is, and whether anything waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::health::Health;
use super::metrics::ConnectorMetrics;
use super::unit::Unit;

/// Shared by the assembler, which adds units, and the committer, which takes them away; touched once a unit.
#[derive(Clone)]
pub(super) struct Inflight {
    oldest_us: Arc<Mutex<VecDeque<i64>>>,
    metrics: Arc<ConnectorMetrics>,
    health: Health,
}

impl Inflight {
    pub(super) fn new(metrics: Arc<ConnectorMetrics>, health: Health) -> Inflight {
        metrics.oldest(None);
        Inflight { oldest_us: Arc::default(), metrics, health }
    }

    /// A unit leaves the assembler.
    pub(super) fn add(&self, unit: &Unit) {
        let Some(commit_us) = unit.oldest_us else { return };
        let mut queue = self.oldest_us.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_empty() {
            self.metrics.oldest(Some(commit_us));
            self.health.work_waits(true);
        }
        queue.push_back(commit_us);
    }

    /// Whether everything that was received is on Kafka.
    pub(super) fn is_idle(&self) -> bool {
        self.oldest_us.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// So many units with records are on Kafka.
    pub(super) fn remove(&self, units: usize) {
        let mut queue = self.oldest_us.lock().unwrap_or_else(PoisonError::into_inner);
        let count = units.min(queue.len());
        queue.drain(..count);
        self.metrics.oldest(queue.front().copied());
        self.health.committed(!queue.is_empty());
    }
}
