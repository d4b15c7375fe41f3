//! Units to Kafka transactions: group commit, the checkpoint in the same transaction, then the confirmation.
//!
//! While a commit is in flight, units gather in the channel; when it returns and anything waits, commit again. So an idle
//! source has low latency and a busy one large groups, without an interval to tune. Only what was committed long ago waits for
//! more of its kind, so that a backlog costs Kafka few commits. Nothing is confirmed that Kafka has not committed, and never
//! is a commit asked for while a record is in flight.
//!
//! Where producers take turns, the next group is sent while the commit of the one before is under way: as soon as all its
//! records are acknowledged, so that no two producers cross within a partition. Rows of a snapshot may cross, for no two
//! chunks have a key in common: where both groups have nothing else, the next one waits for nothing. The checkpoint of a group
//! is sent when the one before it is committed, and commits are strictly in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::lane::Lane;
use super::snapshot::Answered;
use super::unit::{Pending, Tally, Unit, UnitKind};
use crate::checkpoint::record::{Checkpoint, Partial};
use crate::error::{At, Error, Kind, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::model::{Batch, Lsn, Position, TableName};
use crate::publish::Progress;
use crate::snapshot::Entry;

/// A group is closed at this size even if more waits.
const GROUP_BYTES: usize = 16 << 20;
/// The same with rows of a snapshot in it: a change that comes meanwhile waits for all of it. Less where changes come.
const CHUNKS_BYTES: usize = 4 << 20;
const CHUNKS_BESIDE_BYTES: usize = 1 << 20;
/// A group of a backlog is worth waiting for until it has this size, or is so old: each commit costs Kafka the same.
const BEHIND_BYTES: usize = 4 << 20;
const BEHIND_WAIT: Duration = Duration::from_millis(100);
/// An idle source's position is written at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// The same where changes were filtered, so that their counts are not late.
const FILTERED_INTERVAL: Duration = Duration::from_secs(1);
/// Kafka away for longer than this ends the session, so that Postgres can shut down.
pub(super) const KAFKA_AWAY: Duration = Duration::from_secs(30);

/// An abort that takes longer is left to the next start.
const ABORT_WAIT: Duration = Duration::from_secs(2);
/// How long one call to the client may wait before the outage is judged anew.
const CALL: Duration = Duration::from_secs(1);

/// What the committer needs to know.
pub(super) struct CommitterSettings {
    /// The checkpoint as it stands on Kafka.
    pub(super) checkpoint: Checkpoint,
    /// The last transaction of which something lies on Kafka behind the checkpoint.
    pub(super) repeats_to: Option<Lsn>,
    /// False: the fast lane, records first, checkpoint after their acknowledgement.
    pub(super) transactional: bool,
    /// `large_transactions = "split"`
    pub(super) split: bool,
    pub(super) transaction_timeout: Duration,
    /// By which groups with rows of a snapshot are smaller.
    pub(super) chunk_divisor: u64,
}

/// The state of one session's publishing.
pub(super) struct Committer<L> {
    settings: CommitterSettings,
    lane: L,
    /// A unit taken from the channel that did not fit the group.
    stashed: Option<Unit>,
    group: Group,
    /// The group before it, which is whole and not committed.
    closing: Option<Closing>,
    last_written: Instant,
}

/// A group that waits for its acknowledgements and its commit.
struct Closing {
    group: Group,
    checkpoint: Checkpoint,
    /// All its records are acknowledged.
    is_delivered: bool,
}

/// What the open group holds, records or not.
#[derive(Default)]
struct Group {
    begun: bool,
    /// When it was.
    since: Option<Instant>,
    next_lsn: Option<Lsn>,
    partial: Option<Partial>,
    tally: Tally,
    bytes: usize,
    units_with_records: usize,
    urgent: bool,
    /// The table of which it has rows that were read.
    read_of: Option<TableName>,
    /// Its last unit is of a backlog, of which more comes.
    behind: bool,
    /// Changes are in it, or may come while it is open.
    beside: bool,
    /// It has other records than rows that were read.
    is_mixed: bool,
    /// Of its chunks, `UnitKind::Chunk::anew`.
    anew: Option<u64>,
    progress: Vec<Entry>,
    pending: Option<Pending>,
    answers: Vec<Answered>,
}

/// How a transaction that came in pieces ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Large {
    Committed,
    /// The channel closed in the middle of it; whoever closed it knows why.
    CutOff,
}

impl<L: Lane> Committer<L> {
    pub(super) fn new(settings: CommitterSettings, lane: L) -> Committer<L> {
        let last_written = lane.now();
        Committer { settings, lane, stashed: None, group: Group::default(), closing: None, last_written }
    }

    /// Runs until the channel closes, then commits what is whole. What is begun and cannot be committed is aborted, so that
    /// readers need not wait for the transaction's timeout.
    pub(super) fn run(mut self) -> Result<()> {
        let done = self.serve();
        if (self.group.begun || self.closing.is_some()) && self.settings.transactional {
            // The transaction is lost either way: the next start fences and aborts it if this could not.
            let until = self.lane.now() + ABORT_WAIT;
            drop(self.lane.abort(until));
            faults::pass(Failpoint::Aborted);
        }
        done
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            match self.next() {
                Ok(unit) => match unit.kind {
                    UnitKind::Piece { commit_lsn, .. } => match self.large(commit_lsn, unit)? {
                        Large::Committed => {}
                        Large::CutOff if mutated(Mutation::TornOnDrain) => return self.commit(),
                        Large::CutOff => return Ok(()),
                    },
                    UnitKind::Whole { .. } | UnitKind::Progress { .. } | UnitKind::Chunk { .. } => {
                        match self.gather(unit) {
                            Err(_) if mutated(Mutation::GoOnAfterAbort) => self.give_up()?,
                            gathered => gathered.map_err(|error| self.too_slow(error))?,
                        }
                    }
                },
                Err(RecvTimeoutError::Timeout) => self.commit()?,
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
        }
    }

    fn next(&mut self) -> Result<Unit, RecvTimeoutError> {
        if let Some(unit) = self.stashed.take() {
            return Ok(unit);
        }
        self.lane.next(self.group.due(self.last_written))
    }

    /// Takes `first` and all that waits behind it into one group, and commits it if there is reason to: later, where more
    /// waits and the next group can be sent meanwhile.
    fn gather(&mut self, first: Unit) -> Result<()> {
        self.take(first)?;
        while self.group.bytes < self.group_bytes_max() {
            self.finish_if_delivered()?;
            match self.more()? {
                Some(unit) if self.group.ends_before(&unit) => {
                    self.stashed = Some(unit);
                    break;
                }
                Some(unit) => self.take(unit)?,
                None => break,
            }
        }
        let due = self.group.due(self.last_written).is_some_and(|due| due <= self.lane.now());
        if self.group.begun || due {
            self.close()?;
        }
        if self.stashed.is_none() && self.closing.is_some() && self.lane.may_overlap() {
            self.stashed = self.lane.waiting();
        }
        let goes_on = self.stashed.as_ref().is_some_and(|unit| !matches!(unit.kind, UnitKind::Piece { .. }));
        if goes_on && self.lane.may_overlap() { Ok(()) } else { self.finish() }
    }

    /// What waits for the group; of a backlog also what comes soon.
    fn more(&mut self) -> Result<Option<Unit>> {
        let waiting = self.lane.waiting();
        let until = self.group.since.filter(|_| self.group.behind).map(|since| since + BEHIND_WAIT);
        let (None, Some(until)) = (&waiting, until) else { return Ok(waiting) };
        if self.group.bytes >= BEHIND_BYTES || until <= self.lane.now() {
            return Ok(None);
        }
        self.finish()?;
        Ok(self.lane.next(Some(until)).ok())
    }

    fn group_bytes_max(&self) -> usize {
        let chunks = match (&self.group.read_of, self.group.beside) {
            (None, _) => return GROUP_BYTES,
            (Some(_), false) => CHUNKS_BYTES,
            (Some(_), true) => CHUNKS_BESIDE_BYTES,
        };
        chunks / usize::try_from(self.settings.chunk_divisor).unwrap_or(usize::MAX)
    }

    fn take(&mut self, mut unit: Unit) -> Result<()> {
        match unit.kind {
            UnitKind::Chunk { anew, .. } => {
                self.group.is_mixed |= self.group.anew.is_some_and(|before| before != anew);
                self.group.anew = Some(anew);
            }
            _ => self.group.is_mixed |= !unit.batch.is_empty(),
        }
        match unit.kind {
            UnitKind::Whole { next_lsn } => {
                self.group.next_lsn = Some(next_lsn);
                self.group.beside |= unit.oldest_us.is_some();
            }
            UnitKind::Progress { next_lsn, reply_requested } => {
                self.group.next_lsn = Some(next_lsn);
                self.group.urgent |= reply_requested;
            }
            UnitKind::Piece { commit_lsn, changes, end } => {
                self.group.next_lsn = end;
                self.group.partial = end.is_none().then_some(Partial { commit_lsn, changes });
            }
            UnitKind::Chunk { beside, .. } => {
                self.group.read_of = unit.read_of.take().or(self.group.read_of.take());
                self.group.beside |= beside;
            }
        }
        self.group.behind = unit.behind;
        self.group.urgent |= !unit.progress.is_empty();
        self.group.progress.append(&mut unit.progress);
        self.group.answers.append(&mut unit.answers);
        self.group.pending = unit.pending.take().or(self.group.pending.take());
        self.group.tally.add(&unit.tally);
        self.group.units_with_records += usize::from(unit.oldest_us.is_some());
        self.send(&unit.batch)?;
        unit.spend();
        if mutated(Mutation::AckOnSend)
            && let Some(next_lsn) = self.group.next_lsn
        {
            self.lane.confirm(next_lsn);
        }
        Ok(())
    }

    /// The mistake of `Mutation::GoOnAfterAbort`.
    fn give_up(&mut self) -> Result<()> {
        drive(&mut self.lane, "abort", L::abort)?;
        self.closing = None;
        let units = std::mem::take(&mut self.group).units_with_records;
        self.lane.count(&Tally::default(), 0, self.settings.checkpoint.next_lsn, units);
        Ok(())
    }

    fn send(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.make_way()?;
        self.begin()?;
        self.group.bytes += batch.bytes.len();
        let mut sent = 0;
        drive(&mut self.lane, "send records", |lane, until| {
            sent = lane.send(batch, sent, until)?;
            Ok(if sent == batch.records.len() { Progress::Done } else { Progress::Pending })
        })
    }

    /// Records of this group may be sent from here on.
    fn make_way(&mut self) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let may_cross = !closing.group.is_mixed && !self.group.is_mixed && closing.group.anew == self.group.anew;
        if !closing.is_delivered && !may_cross {
            drive(&mut self.lane, "wait for acknowledgements", L::wait_delivered)?;
            closing.is_delivered = true;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if self.settings.transactional && !self.group.begun {
            self.lane.begin()?;
            faults::pass(Failpoint::GroupBegun);
            if self.closing.is_some() {
                faults::pass(Failpoint::GroupOverlaps);
            }
        }
        if !self.group.begun {
            self.group.begun = true;
            self.group.since = Some(self.lane.now());
        }
        Ok(())
    }

    /// Rows of a snapshot that could not be published in the time of a Kafka transaction are too many at once.
    fn too_slow(&self, error: Error) -> Error {
        let limit = self.settings.transaction_timeout;
        let group = self.closing.as_ref().map_or(&self.group, |closing| &closing.group);
        let (Some(table), Some(since)) = (&group.read_of, group.since) else { return error };
        if !outlasts(&error, self.lane.now() - since, limit) {
            return error;
        }
        let limit = limit.as_millis();
        let detail = format!(
            "rows that were read did not get to Kafka within transaction.timeout.ms = {limit}: fewer are read at once now; set [snapshot] bytes_per_second if it comes again"
        );
        Error::new(Kind::TransactionTooLong, detail).at(At::table(table.clone())).because(error)
    }

    /// A transaction longer than a unit: a Kafka transaction of its own, sent out piece by piece.
    fn large(&mut self, commit_lsn: Lsn, first: Unit) -> Result<Large> {
        self.commit()?;
        let mut begun = self.lane.now();
        let limit = self.settings.transaction_timeout;
        let mut warned = false;
        let mut unit = first;
        loop {
            let ended = matches!(unit.kind, UnitKind::Piece { end: Some(_), .. });
            let taken = self.take(unit);
            faults::pass(Failpoint::PieceSent);
            let taken = if ended { taken.and_then(|()| self.commit()) } else { taken };
            let lasted = self.lane.now() - begun;
            taken.map_err(|error| too_long(error, lasted, limit, commit_lsn))?;
            if ended {
                return Ok(Large::Committed);
            }
            let split = self.settings.split && (self.group.bytes >= GROUP_BYTES || lasted > limit / 4);
            if split || mutated(Mutation::TornTransaction) {
                self.commit()?;
                begun = self.lane.now();
            } else if !warned && lasted > limit / 2 {
                warned = true;
                tracing::warn!(%commit_lsn, limit_s = limit.as_secs(), "a source transaction has used half of transaction.timeout.ms");
            }
            let Ok(next) = self.lane.next(None) else { return Ok(Large::CutOff) };
            unit = next;
        }
    }

    /// Writes the checkpoint behind the group's records, commits both, and confirms.
    fn commit(&mut self) -> Result<()> {
        self.close()?;
        self.finish()
    }

    /// Writes the checkpoint behind the group's records, once the group before it is committed.
    fn close(&mut self) -> Result<()> {
        self.finish()?;
        if self.group.next_lsn.is_none() && self.group.partial.is_none() && self.group.progress.is_empty() {
            return Ok(());
        }
        let mut checkpoint = self.settings.checkpoint.clone();
        if let Some(pending) = self.group.pending.take() {
            checkpoint.unseen = pending.map(|unseen| BTreeMap::clone(&unseen));
        }
        checkpoint.partial = self.group.partial.take();
        checkpoint.next_lsn = self.group.next_lsn.unwrap_or(checkpoint.next_lsn);
        self.begin()?;
        let lane = &mut self.lane;
        if !self.settings.transactional && !mutated(Mutation::DeliveryOutstanding) {
            drive(lane, "wait for acknowledgements", L::wait_delivered)?;
        }
        // Until the replay is past what a session before has left, the next start must find that too.
        if self.settings.repeats_to < Some(checkpoint.next_lsn) {
            checkpoint.acknowledged = lane.acknowledged();
        }
        let apart = mutated(Mutation::ProgressOutside) && !self.group.progress.is_empty();
        if self.settings.transactional && (mutated(Mutation::CheckpointOutside) || apart) {
            drive(lane, "commit", L::commit)?;
            lane.begin()?;
        }
        for entry in &std::mem::take(&mut self.group.progress) {
            drive(lane, "send the progress", |lane, until| lane.send_progress(entry, until))?;
            faults::pass(Failpoint::ProgressSent);
        }
        let value = checkpoint.to_json()?;
        drive(lane, "send the checkpoint", |lane, until| lane.send_checkpoint(&value, until))?;
        faults::pass(Failpoint::CheckpointSent);
        if mutated(Mutation::ConfirmBeforeCommit) {
            lane.confirm(checkpoint.next_lsn);
        }
        lane.close();
        self.closing = Some(Closing { group: std::mem::take(&mut self.group), checkpoint, is_delivered: false });
        Ok(())
    }

    fn finish_if_delivered(&mut self) -> Result<()> {
        let Some(closing) = &self.closing else { return Ok(()) };
        if closing.is_delivered || self.lane.wait_delivered(self.lane.now())? == Progress::Done {
            return self.finish();
        }
        Ok(())
    }

    /// Commits the group that is closed, if there is one, and confirms.
    fn finish(&mut self) -> Result<()> {
        let Some(closing) = &self.closing else { return Ok(()) };
        let lane = &mut self.lane;
        if !closing.is_delivered {
            drive(lane, "wait for acknowledgements", L::wait_delivered)?;
        }
        if self.settings.transactional {
            drive(lane, "commit", L::commit)?;
        }
        faults::pass(Failpoint::CommitAcknowledged);
        if let Some(Closing { group, checkpoint, .. }) = self.closing.take() {
            self.committed(group, checkpoint);
        }
        Ok(())
    }

    fn committed(&mut self, group: Group, checkpoint: Checkpoint) {
        group.answers.into_iter().for_each(Answered::tell);
        self.lane.confirm(checkpoint.next_lsn);
        faults::pass(Failpoint::Confirmed);
        self.lane.count(&group.tally, group.bytes, checkpoint.next_lsn, group.units_with_records);
        self.settings.checkpoint = checkpoint;
        self.last_written = self.lane.now();
    }
}

/// Calls `step` until it is done; an outage without any acknowledgement for `KAFKA_AWAY` is an error.
fn drive<L: Lane>(lane: &mut L, doing: &str, mut step: impl FnMut(&mut L, Instant) -> Result<Progress>) -> Result<()> {
    let (mut moved, mut in_flight) = (lane.now(), lane.in_flight());
    loop {
        let now = lane.now();
        if step(lane, now + CALL)? == Progress::Done {
            return Ok(());
        }
        if lane.in_flight() != in_flight {
            (moved, in_flight) = (now, lane.in_flight());
        } else if lane.now() - moved >= KAFKA_AWAY {
            return Err(lane.pending_error(doing));
        }
    }
}

impl Group {
    /// A piece of a transaction needs a group of its own, and changes do not wait for the rows behind them.
    fn ends_before(&self, unit: &Unit) -> bool {
        match unit.kind {
            UnitKind::Piece { .. } => true,
            UnitKind::Chunk { .. } => self.is_mixed && !unit.batch.is_empty(),
            UnitKind::Whole { .. } | UnitKind::Progress { .. } => false,
        }
    }

    /// When a group without records is to be written; None: there is nothing to write.
    fn due(&self, last_written: Instant) -> Option<Instant> {
        if self.progress.is_empty() {
            self.next_lsn?;
        }
        Some(match (self.urgent || self.begun, self.tally.received > 0) {
            (true, _) => last_written,
            (false, true) => last_written + FILTERED_INTERVAL,
            (false, false) => last_written + PROGRESS_INTERVAL,
        })
    }
}

/// A Kafka transaction that fails after nearly its whole timeout failed because of it.
fn outlasts(error: &Error, lasted: Duration, limit: Duration) -> bool {
    error.kind() == Kind::KafkaTransaction && lasted >= limit.mul_f64(0.9)
}

fn too_long(error: Error, lasted: Duration, limit: Duration, commit_lsn: Lsn) -> Error {
    if !outlasts(&error, lasted, limit) {
        return error;
    }
    let detail = format!(
        "the transaction committed at {commit_lsn} did not fit into transaction.timeout.ms = {}",
        limit.as_millis()
    );
    let position = Position { epoch: 0, lsn: commit_lsn, n: 0, r: 0 };
    Error::new(Kind::TransactionTooLong, detail).at(At::position(position)).because(error)
}
