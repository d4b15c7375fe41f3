//! The snapshot of one table: what a change of it leads to, and what may be published when.

use std::sync::Arc;

use super::range::{self, Chain, LeftOut, Phase, Range, Reading};
use super::record::{self, Entry, Of, ReadRecord, Request, State, TableRecord, Variant};
use super::visibility::PgSnapshot;
use super::{Offer, Ordinal, Place, RangeId, Verdict, Wait};
use crate::error::Result;
use crate::faults::{Mutation, mutated};
use crate::model::{Leaf, Lsn, TableName};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) name: TableName,
    pub(super) key: String,
    pub(super) request: Request,
    pub(super) state: State,
    /// What began before this xid must have ended before the first snapshot.
    pub(super) x0: Option<u64>,
    /// The storage as the stream knows it: every truncate that a snapshot of this storage sees has been delivered, or no
    /// range is read whose snapshot does not see it. Of a divided table each leaf has its own.
    pub(super) filenode: Option<u32>,
    /// The columns of its key, by which ranges are bounded; None: not known yet.
    pub(super) identity: Option<Vec<String>>,
    /// As on Kafka.
    written: (State, Option<u32>),
    /// Rows published, once there are no ranges any more.
    total: u64,
    /// Of a divided table, numbered from 1.
    pub(super) leaves: Vec<Arc<Leaf>>,
    /// Empty once nothing is asked of it any more.
    pub(super) chain: Chain,
    /// Grows when a range is split.
    pub(super) version: u64,
    /// Xids have joined unseen sets.
    pub(super) noted: bool,
}

impl Table {
    pub(super) fn new(name: TableName, request: Request) -> Table {
        Table {
            key: record::table_key(&name),
            name,
            request,
            state: State::Running,
            x0: None,
            filenode: None,
            identity: None,
            written: (State::Running, None),
            total: 0,
            leaves: Vec::new(),
            chain: Chain::from([range::whole(0, 0)]),
            version: 0,
            noted: false,
        }
    }

    pub(super) fn restore(record: TableRecord, leaves: Vec<Leaf>, chain: Chain) -> Table {
        let name = record.name();
        let request = Request { variant: record.variant, filter: record.filter, asked_us: record.asked_us };
        let mut table = Table {
            state: record.state,
            x0: record.x0,
            filenode: record.filenode,
            identity: record.identity,
            written: (record.state, record.filenode),
            total: record.rows,
            leaves: leaves.into_iter().map(Arc::new).collect(),
            chain,
            ..Table::new(name, request)
        };
        if table.is_over() {
            table.leaves.clear();
            table.chain.clear();
        }
        table
    }

    pub(super) fn record(&mut self) -> Result<Entry> {
        self.written = (self.state, self.filenode);
        let record = TableRecord {
            version: TableRecord::VERSION,
            schema: self.name.schema.clone(),
            table: self.name.table.clone(),
            variant: self.request.variant,
            filter: self.request.filter.clone(),
            asked_us: self.request.asked_us,
            state: self.state,
            x0: self.x0,
            filenode: self.filenode,
            identity: self.identity.clone(),
            rows: self.rows(),
        };
        record::entry(&self.key, Of::Table, &record)
    }

    /// Whether its changes must be judged.
    pub(super) fn judges(&self) -> bool {
        !self.chain.is_empty()
    }

    /// Whether any range of it was published.
    pub(super) fn has_published(&self) -> bool {
        self.state == State::Done || self.chain.values().any(Range::is_done)
    }

    /// Ranges that workers have.
    pub(super) fn ranges_at_work(&self) -> usize {
        self.chain.values().filter(|range| !range.is_idle() && !range.is_done()).count()
    }

    /// Rows published so far.
    pub(super) fn rows(&self) -> u64 {
        if self.chain.is_empty() {
            self.total
        } else {
            self.chain.values().fold(0, |rows, range| range.rows.saturating_add(rows))
        }
    }

    /// Reads no more. What is not published stays as if pending until no snapshot is remembered: a truncate that one of
    /// them sees is still to come, and must be published for none of the ranges or for all.
    pub(super) fn cancel(&mut self) -> Result<Vec<Entry>> {
        self.state = State::Cancelled;
        for range in self.chain.values_mut().filter(|range| !range.is_done()) {
            range.phase = Phase::Pending { taken: false };
        }
        let mut entries = if self.is_over() { self.clear() } else { Vec::new() };
        entries.push(self.record()?);
        Ok(entries)
    }

    /// Whether nothing is read any more, and nothing remembered.
    fn is_over(&self) -> bool {
        let remembers = self.chain.values().any(|range| range.forget_at().is_some());
        matches!(self.state, State::Done | State::Cancelled) && !remembers
    }

    fn clear(&mut self) -> Vec<Entry> {
        let entries = self.tombstones();
        self.total = self.rows();
        self.leaves.clear();
        self.chain.clear();
        entries
    }

    /// Tombstones of all records but its own.
    pub(super) fn tombstones(&self) -> Vec<Entry> {
        let done = self.chain.iter().filter(|(_, range)| range.is_done()).map(|(ordinal, _)| Of::Range(*ordinal));
        let leaves = Some(Of::Leaves).filter(|_| !self.leaves.is_empty());
        done.chain(leaves).map(|of| record::tombstone(&self.key, of)).collect()
    }

    /// One half of a change, to a key that lies here. `horizon` sees what every later snapshot will.
    pub(super) fn judge(
        &mut self,
        place: Place,
        xid: u64,
        key: Option<&[u8]>,
        horizon: Option<&PgSnapshot>,
    ) -> Verdict {
        if self.chain.is_empty() {
            return Verdict::Publish;
        }
        let (variant, id) = (self.request.variant, place.range);
        let range = self.chain.get_mut(&id.ordinal).filter(|range| range.since <= place.version);
        let Some(range) = range else { return Verdict::Locate };
        let mut note = || {
            let hidden = !horizon.is_some_and(|horizon| horizon.sees(xid));
            self.noted |= hidden && range.unseen.insert(xid);
        };
        match (&mut range.phase, variant) {
            (Phase::Done { read }, _) => judge_done(read.as_ref(), xid),
            (Phase::Pending { .. }, _) => {
                note();
                let is_covered = variant == Variant::Initial && !mutated(Mutation::PendingPublished);
                if is_covered { Verdict::Covered } else { Verdict::Publish }
            }
            (Phase::Reading(reading), Variant::Initial) => {
                if reading.snapshot.sees(xid) {
                    return Verdict::Covered;
                }
                if mutated(Mutation::NoHold) {
                    return Verdict::Publish;
                }
                reading.held = true;
                Verdict::Hold(id)
            }
            (Phase::Reading(reading), Variant::Backfill) => {
                if let Some(key) = key.filter(|_| !reading.snapshot.sees(xid) && !mutated(Mutation::NothingLeftOut)) {
                    reading.leave_out(key);
                }
                note();
                Verdict::Publish
            }
        }
    }

    /// A truncate: one event that stands for every key. It waits for each chunk that does not see it, and is published
    /// if a published one does not.
    pub(super) fn truncate(&mut self, table: usize, xid: u64, horizon: Option<&PgSnapshot>) -> Verdict {
        let always = self.request.variant == Variant::Backfill || self.chain.is_empty();
        let mut verdict = if always { Verdict::Publish } else { Verdict::Covered };
        let ordinals: Vec<Ordinal> = self.chain.keys().copied().collect();
        for ordinal in ordinals {
            let place = Place { range: RangeId { table, ordinal }, version: self.version };
            match self.judge(place, xid, None, horizon) {
                Verdict::Hold(id) => return Verdict::Hold(id),
                Verdict::Publish => verdict = Verdict::Publish,
                Verdict::Covered | Verdict::Locate => {}
            }
        }
        let backfilled = self.request.variant == Variant::Backfill;
        for range in self.chain.values_mut().filter(|_| backfilled) {
            if let Phase::Reading(reading) = &mut range.phase
                && !reading.snapshot.sees(xid)
            {
                reading.left_out = LeftOut::Every;
            }
        }
        verdict
    }

    /// What to do with a snapshot that was taken for a pending range; `Accepted` leaves it to the caller to note it.
    pub(super) fn offer(
        &mut self,
        ordinal: Ordinal,
        snapshot: &Arc<PgSnapshot>,
        filenode: u32,
        horizon: Option<&PgSnapshot>,
    ) -> Offer {
        let offer = self.admit(ordinal, snapshot, horizon);
        if let Some(range) = self.chain.get_mut(&ordinal).filter(|_| offer == Offer::Accepted) {
            range.unseen.clear();
            range.phase = Phase::Reading(Reading::new(snapshot.clone(), filenode));
            if self.leaves.is_empty() {
                self.filenode.get_or_insert(filenode);
            }
        }
        offer
    }

    /// Whether the snapshot may be used for a pending range.
    pub(super) fn admit(&mut self, ordinal: Ordinal, snapshot: &PgSnapshot, horizon: Option<&PgSnapshot>) -> Offer {
        let Some(range) = self.chain.get_mut(&ordinal) else { return Offer::Discard };
        if range.phase != (Phase::Pending { taken: true }) {
            return Offer::Discard;
        }
        // Its transaction has ended, so a crash of the server took the xid back: xmin might never get there.
        let Some(x0) = self.x0.filter(|x0| snapshot.xmax() > *x0) else {
            self.x0 = None;
            range.phase = Phase::Pending { taken: false };
            return Offer::NoX0;
        };
        if snapshot.xmin() < x0 && !mutated(Mutation::X0Ignored) {
            return Offer::NotYet { oldest: snapshot.xmin(), x0 };
        }
        if horizon.is_some_and(|horizon| !snapshot.covers(horizon)) {
            return Offer::Stale;
        }
        let unseen: Vec<u64> = range.unseen.iter().copied().filter(|xid| !snapshot.sees(*xid)).collect();
        if !unseen.is_empty() && !mutated(Mutation::UnseenIgnored) {
            return Offer::Unseen(unseen);
        }
        Offer::Accepted
    }

    /// What the chunk waits for. What the stream has passed is flushed: a server sends nothing before.
    pub(super) fn wait(&self, ordinal: Ordinal, passed: Lsn) -> Wait {
        let Some(reading) = self.chain.get(&ordinal).and_then(Range::reading) else { return Wait::Discard };
        if reading.leaves_out_too_many() {
            return Wait::Discard;
        }
        let Some(lsn) = reading.lsn else { return Wait::Rows };
        if reading.flushed.max(passed) < lsn && !mutated(Mutation::PublishUnflushed) {
            return Wait::Flush(lsn);
        }
        if passed < lsn && !self.may_precede_the_stream(ordinal, reading) {
            return Wait::Stream(lsn);
        }
        Wait::Ready
    }

    /// Whether the rows may be published before the stream has passed their snapshot.
    ///
    /// A truncate is one event for all ranges: where this snapshot sees one that another range's does not, the event
    /// is still to come and would wipe these rows out. Then the storages differ. While the stream holds at a change that
    /// this snapshot does not see, a truncate that it does see has been delivered: it could begin only when the change's
    /// transaction, which locks the table, was visible, or had ended when that one began. A leaf whose storage is that
    /// which it had when the leaves were listed was not truncated since; each snapshot sees what was before.
    fn may_precede_the_stream(&self, ordinal: Ordinal, reading: &Reading) -> bool {
        if self.request.variant == Variant::Backfill {
            return mutated(Mutation::BackfillAhead);
        }
        let filenode = self.leaf(ordinal).map_or(self.filenode, |leaf| Some(leaf.filenode));
        filenode == Some(reading.filenode) || reading.held
    }

    /// The rows of a range are published: its records.
    pub(super) fn publish(&mut self, ordinal: Ordinal, rows: u64, passed: Lsn) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let Some(range) = self.chain.get_mut(&ordinal) else { return Ok(entries) };
        let Phase::Reading(Reading { snapshot, filenode, lsn: Some(lsn), .. }) = &range.phase else {
            return Ok(entries);
        };
        let remembers = passed < *lsn && !mutated(Mutation::ForgetAtOnce);
        let read = remembers.then(|| ReadRecord { snapshot: PgSnapshot::clone(snapshot), lsn: *lsn });
        let is_forgotten = read.is_none();
        if self.leaves.is_empty() {
            self.filenode = Some(*filenode);
        }
        range.rows = rows;
        range.phase = Phase::Done { read };
        range.unseen.clear();
        entries.push(record::entry(&self.key, Of::Range(ordinal), &range.record())?);
        if self.chain.values().all(Range::is_done) {
            self.state = State::Done;
        }
        if is_forgotten {
            entries.extend(self.tidy()?);
        }
        if self.written != (self.state, self.filenode) {
            entries.push(self.record()?);
        }
        Ok(entries)
    }

    /// Forgets snapshots that the stream has passed.
    pub(super) fn forget(&mut self, passed: Lsn) -> Result<Vec<Entry>> {
        let mut forgotten = Vec::new();
        for (ordinal, range) in &mut self.chain {
            if range.forget_at().is_some_and(|lsn| lsn <= passed) {
                range.phase = Phase::Done { read: None };
                forgotten.push(record::entry(&self.key, Of::Range(*ordinal), &range.record())?);
            }
        }
        if !forgotten.is_empty() {
            forgotten.extend(self.tidy()?);
        }
        Ok(forgotten)
    }

    /// Joins what can be joined. A table that is over needs no ranges.
    fn tidy(&mut self) -> Result<Vec<Entry>> {
        if self.is_over() {
            return Ok(self.clear());
        }
        let (gone, grown) = range::merge(&mut self.chain);
        let mut entries: Vec<Entry> =
            gone.into_iter().map(|ordinal| record::tombstone(&self.key, Of::Range(ordinal))).collect();
        for ordinal in grown {
            if let Some(range) = self.chain.get(&ordinal) {
                entries.push(record::entry(&self.key, Of::Range(ordinal), &range.record())?);
            }
        }
        Ok(entries)
    }
}

fn judge_done(read: Option<&ReadRecord>, xid: u64) -> Verdict {
    match read {
        Some(read) if read.snapshot.sees(xid) && !mutated(Mutation::CoveredPublished) => Verdict::Covered,
        Some(_) if mutated(Mutation::DecidedByLsn) => Verdict::Covered,
        Some(_) | None => Verdict::Publish,
    }
}
