//! What a running session is looked after for, by SQL: the slot, the publication, and how far the server is ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::check;
use super::inflight::Inflight;
use super::metrics::ConnectorMetrics;
use crate::connector::Plan;
use crate::error::{Error, Kind, Result};
use crate::model::Lsn;
use crate::source::{SourceSettings, Sql, Stream, preflight};

/// The longest that a look takes: while it lasts, nobody sees that the stream has ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// One connector's monitor.
pub(super) struct Monitor {
    pub(super) handle: Handle,
    pub(super) sql: Arc<Sql>,
    pub(super) plan: Arc<Plan>,
    pub(super) source: SourceSettings,
    pub(super) metrics: Arc<ConnectorMetrics>,
    pub(super) inflight: Inflight,
    /// The server's end of WAL when it was looked at last.
    pub(super) server_end: Lsn,
}

impl Monitor {
    /// Looks once. A connection that is gone is no finding, the replication stream decides about the server's health; it is
    /// opened anew at the next look. But how far the server is ahead is not known meanwhile, and no zero.
    pub(super) fn look(&mut self, stream: &Stream) -> Result<()> {
        let source = &self.source;
        let ask = async {
            if self.sql.is_closed() {
                self.sql = Arc::new(Sql::connect(source).await?);
            }
            let sql = &self.sql;
            let end = preflight::server(sql).await?.flush_lsn;
            let slot = preflight::slot(sql, &source.slot).await?;
            let publication = preflight::publication(sql, &source.publication).await?;
            Ok::<_, Error>((end, slot, publication))
        };
        let seen = self.handle.clone().block_on(async { timeout(PATIENCE, ask).await });
        let Ok(Ok((end, slot, publication))) = seen else {
            self.metrics.unknown();
            return Ok(());
        };
        // What was written before the last look and is not yet behind us is lag; what came since may be on its way.
        let behind = if self.inflight.is_idle() { stream.received_wal_end() } else { stream.confirmed() };
        self.metrics.lag_bytes(self.server_end.bytes_since(behind));
        if self.inflight.is_idle() && behind >= end {
            self.metrics.known();
        }
        self.server_end = end;
        if let Some(slot) = &slot {
            self.metrics.slot(slot.retained_bytes.unwrap_or(0), slot.wal_status.as_deref());
            if slot.is_lost() {
                let reason = slot.invalidation_reason.as_deref().unwrap_or("its WAL was removed");
                return Err(Error::new(
                    Kind::SlotLost,
                    format!("slot {} can no longer be read: {reason}", source.slot),
                ));
            }
        }
        let drift = check::publication(&self.plan, &source.publication, publication.as_ref());
        check::Findings { errors: drift, warnings: Vec::new() }.into_result()
    }
}
