//! What workers say: chunks are handed out, read and published.

use std::sync::Arc;

use super::range::{self, Phase};
use super::record::{Entry, State};
use super::tables::Snapshot;
use super::visibility::PgSnapshot;
use super::{Bound, Chunk, LeftOut, Offer, RangeId, Wait};
use crate::error::{Error, Kind, Result};
use crate::model::Lsn;

impl Snapshot {
    /// A range for a worker, who has it until `publish` or `failed`. Of the tables that run and have their X0 it is the one
    /// of which workers have the fewest ranges, then the one of which the fewest rows were read: a small one need not
    /// wait until the ranges of a large one are used up.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        let ready = self.tables.iter().enumerate().filter_map(|(number, table)| {
            let table = table.as_ref().filter(|table| table.state == State::Running && table.x0.is_some())?;
            let (ordinal, _) = table.chain.iter().find(|(_, range)| range.is_idle())?;
            Some((table.ranges_at_work(), table.rows(), number, *ordinal))
        });
        let (_, _, number, ordinal) = ready.min()?;
        let table = self.get_mut(number)?;
        let range = table.chain.get_mut(&ordinal)?;
        range.phase = Phase::Pending { taken: true };
        let (lower, upper) = (range.lower.clone(), range.upper.clone());
        Some(Chunk {
            range: RangeId { table: number, ordinal },
            table: table.name.clone(),
            variant: table.request.variant,
            filter: table.request.filter.clone(),
            leaf: table.leaf(ordinal).cloned(),
            lower,
            upper,
            identity: table.identity.clone(),
        })
    }

    /// The worker reads its range only up to `upper`, which lies inside; others may have the rest. Answers where the range
    /// ends now: it stays as it is where it cannot be cut any more, or has been given up.
    pub fn split(&mut self, id: RangeId, upper: Bound) -> Option<Bound> {
        let table = self.get_mut(id.table)?;
        if table.chain.get(&id.ordinal)?.phase == (Phase::Pending { taken: true }) {
            table.version += 1;
            range::split(&mut table.chain, id.ordinal, upper, table.version);
        }
        table.chain.get(&id.ordinal)?.upper.clone()
    }

    /// A worker has locked the table, then taken this snapshot, then asked for the table's filenode.
    pub fn offer(&mut self, id: RangeId, snapshot: PgSnapshot, filenode: u32) -> Offer {
        let snapshot = Arc::new(snapshot);
        let horizon = self.horizon.clone();
        let Some(table) = self.get_mut(id.table) else { return Offer::Discard };
        let offer = table.offer(id.ordinal, &snapshot, filenode, horizon.as_deref());
        if offer == Offer::Accepted {
            self.unseen = None;
            self.take_horizon(snapshot);
        }
        offer
    }

    /// A worker has read all rows; `lsn` is `pg_current_wal_insert_lsn()`, asked after the snapshot was taken.
    pub fn read(&mut self, id: RangeId, lsn: Lsn) {
        if let Some(Phase::Reading(reading)) = self.range_mut(id).map(|range| &mut range.phase) {
            reading.lsn = Some(lsn);
        }
    }

    /// A worker gives its range back: it pends again. What the stream covered meanwhile was visible to a snapshot that
    /// the next one must cover; what a backfill left out is in the unseen set.
    pub fn failed(&mut self, id: RangeId) {
        if let Some(range) = self.range_mut(id).filter(|range| !range.is_done()) {
            range.phase = Phase::Pending { taken: false };
        }
    }

    /// The server has flushed its log up to here, says the connection that took the snapshot by which the range is read.
    /// It counts for this reading only: another range's snapshot may be of the server as it was before a crash.
    pub fn flushed(&mut self, id: RangeId, lsn: Lsn) {
        if let Some(Phase::Reading(reading)) = self.range_mut(id).map(|range| &mut range.phase) {
            reading.flushed = reading.flushed.max(lsn);
        }
    }

    /// What the chunk waits for.
    pub fn wait(&self, id: RangeId) -> Wait {
        self.get(id.table).map_or(Wait::Discard, |table| table.wait(id.ordinal, self.passed))
    }

    /// The rows of the chunk that are not published.
    pub fn left_out(&self, id: RangeId) -> Option<&LeftOut> {
        self.get(id.table)?.chain.get(&id.ordinal)?.reading().map(|reading| &reading.left_out)
    }

    /// The rows of a chunk that is `Ready` are published at this place of the stream: the records that go with them. What
    /// of the stream was judged before must be on Kafka no later.
    pub fn publish(&mut self, id: RangeId, rows: u64) -> Result<Vec<Entry>> {
        if self.wait(id) != Wait::Ready {
            return Err(Error::new(Kind::Bug, "a chunk was to be published that is not ready"));
        }
        let passed = self.passed;
        let Some(table) = self.get_mut(id.table) else { return Ok(Vec::new()) };
        let entries = table.publish(id.ordinal, rows, passed)?;
        self.settle();
        Ok(entries)
    }

    /// A fresh snapshot: what it sees needs no waiting for. To be given now and then while no chunk is read.
    pub fn prune(&mut self, snapshot: PgSnapshot) {
        if self.horizon.as_ref().is_none_or(|horizon| snapshot.covers(horizon)) {
            self.take_horizon(Arc::new(snapshot));
        }
    }

    pub(super) fn take_horizon(&mut self, snapshot: Arc<PgSnapshot>) {
        self.reference = self.reference.max(snapshot.xmax());
        for range in self.tables.iter_mut().flatten().flat_map(|table| table.chain.values_mut()) {
            if !range.unseen.is_empty() {
                range.unseen.retain(|xid| !snapshot.sees(*xid));
                self.unseen = None;
            }
        }
        self.horizon = Some(snapshot);
    }
}
