//! What the daemon does around the core: it delivers changes, and its workers read chunks.

use std::rc::Rc;

use super::flaw::Flaw;
use super::postgres::{KEYS, NAMES, Op, Status, Taken, value};
use super::world::{Event, ReadChunk, Scope, TABLE, Unit, Worker, World, bound, is_refused, keys_between};
use crate::model::{Leaf, Lsn};
use crate::snapshot::range::Phase;
use crate::snapshot::{Bound, LeftOut, Offer, Place, RangeId, Snapshot, Variant, Verdict, Wait};

type Following = Vec<(&'static str, World)>;

/// The ranges of the table, whatever leaf they are of.
fn ranges(core: &Snapshot) -> Vec<(RangeId, Option<Bound>)> {
    core.bounds(TABLE).parts.into_iter().flat_map(|part| part.ranges).collect()
}

fn holds(leaf: &Leaf, key: usize) -> bool {
    leaf.condition == NAMES[key]
}

impl World {
    /// Delivers the next statement, with the last one the commit; false where the stream must wait.
    pub(super) fn deliver(&mut self, scope: &Scope) -> bool {
        let transaction = usize::from(self.postgres.log[self.next]);
        let ops = &scope.script[transaction];
        if self.postgres.excluded >> transaction & 1 == 0 {
            let (Status::Committed(xid) | Status::Visible(xid)) = self.postgres.status[transaction] else {
                unreachable!("what is in the log was committed");
            };
            self.core.begin(xid as u32);
            if let Some(op) = ops.get(self.delivered) {
                let Some(events) = self.judge_statement(scope, transaction, *op) else { return false };
                self.current.events.extend(events);
            }
            self.delivered += 1;
            if self.delivered < ops.len() {
                return true;
            }
        }
        self.end_transaction(scope);
        true
    }

    fn end_transaction(&mut self, scope: &Scope) {
        let before = self.next;
        (self.next, self.delivered) = (self.next + 1, 0);
        let forgotten = self.core.advance(Lsn(self.next as u64)).unwrap();
        let mut unit = std::mem::take(&mut self.current);
        unit.next = self.next;
        if scope.flaw == Some(Flaw::ForgetsApart) && !forgotten.is_empty() {
            self.push(scope, Unit { records: forgotten, next: before, ..Unit::default() });
        } else {
            unit.records.extend(forgotten);
        }
        self.push(scope, unit);
    }

    /// What a statement sends; None where the stream must wait.
    fn judge_statement(&mut self, scope: &Scope, transaction: usize, op: Op) -> Option<Vec<(u8, Event)>> {
        let number = transaction as u8;
        if op == Op::Rewrite {
            return Some(Vec::new());
        }
        if op == Op::Truncate {
            let verdict = self.core.truncate(TABLE);
            let published = self.flawed(scope, verdict, None) == Verdict::Publish;
            let events = (0..KEYS as u8).map(|key| (key, Event::Truncated { transaction: number }));
            return (!matches!(verdict, Verdict::Hold(_)) || published).then(|| events.filter(|_| published).collect());
        }
        let mut events = Vec::new();
        for key in 0..KEYS {
            let Some(row) = op.effect(key, value(transaction, self.delivered)) else { continue };
            let place = self.locate(key);
            let verdict =
                place.map_or(Verdict::Publish, |place| self.core.judge(place, Some(bound(key).0[0].as_bytes())));
            match self.flawed(scope, verdict, place) {
                Verdict::Covered => {}
                Verdict::Publish => events.push((key as u8, Event::Changed { transaction: number, row })),
                Verdict::Hold(_) => return None,
                Verdict::Locate => unreachable!("the key was located just now"),
            }
        }
        Some(events)
    }

    fn locate(&self, key: usize) -> Option<Place> {
        let bounds = self.core.bounds(TABLE);
        let below = |lower: &Option<_>| keys_between(lower.as_ref(), None, KEYS).0 <= key;
        let of_leaf = bounds.parts.iter().find(|part| part.leaf.as_ref().is_some_and(|leaf| holds(leaf, key)));
        let part = of_leaf.or(bounds.parts.first().filter(|part| part.leaf.is_none()))?;
        let (range, _) = part.ranges.iter().rev().find(|(_, lower)| below(lower))?;
        Some(Place { range: *range, version: bounds.version })
    }

    fn flawed(&mut self, scope: &Scope, verdict: Verdict, place: Option<Place>) -> Verdict {
        match (scope.flaw, verdict) {
            (Some(Flaw::HoldsNothing), Verdict::Hold(_)) => Verdict::Publish,
            (Some(Flaw::WaitsForEachOther), Verdict::Hold(id)) => {
                if let Some(Phase::Reading(reading)) = self.core.range_mut(id).map(|range| &mut range.phase) {
                    reading.held = false;
                }
                verdict
            }
            (Some(Flaw::PublishesPending), Verdict::Covered) => {
                let pends = |id: RangeId| ranges(&self.core).iter().any(|(range, _)| *range == id);
                let pends = place.is_some_and(|place| pends(place.range))
                    && place
                        .and_then(|place| self.core.range_mut(place.range))
                        .is_some_and(|range| matches!(range.phase, Phase::Pending { .. }));
                if pends { Verdict::Publish } else { verdict }
            }
            (Some(Flaw::DecidesByPosition), Verdict::Covered | Verdict::Publish) => {
                let next = Lsn(self.next as u64);
                match place.and_then(|place| self.core.range_mut(place.range)).map(|range| &range.phase) {
                    Some(Phase::Done { read: Some(read) }) if next < read.lsn => Verdict::Covered,
                    Some(Phase::Done { read: Some(_) }) => Verdict::Publish,
                    _ => verdict,
                }
            }
            _ => verdict,
        }
    }

    pub(super) fn follow_worker(&self, scope: &Scope, number: usize, all: &mut Following) -> Result<(), String> {
        match &self.workers[number] {
            Worker::Idle if self.workers[..number].contains(&Worker::Idle) => {}
            Worker::Idle => {
                self.then("take S", all, |world| world.assign(scope, number));
                if all.last().is_some_and(|(_, world)| world.workers[number] == Worker::Idle) {
                    all.pop();
                }
            }
            Worker::Assigned(..) => self.then("take S again", all, |world| world.take(scope, number)),
            Worker::Took(id, _, taken) if self.divides(scope, *id) => self.follow_list(scope, number, *id, taken, all),
            Worker::Took(id, keys, taken) => {
                let mut world = self.clone();
                let offer = world.offer(scope, *id, taken);
                world.workers[number] = match offer {
                    Offer::Accepted => Worker::Reading(*id, *keys, taken.sees),
                    Offer::Discard | Offer::NoX0 => Worker::Idle,
                    _ => Worker::Assigned(*id, *keys),
                };
                if is_refused(&offer) && !self.ending && self.is_quiet() && **taken == self.postgres.take(&scope.script)
                {
                    return Err(format!("stuck: {offer:?} though nothing runs: {taken:?}"));
                }
                all.push(("offer", world));
            }
            &Worker::Reading(range, keys, sees) => {
                if !self.postgres.is_locked(&scope.script) {
                    self.then("read", all, |world| {
                        let rows = world.postgres.read(&scope.script, scope.base, sees);
                        world.core.read(range, Lsn(world.postgres.log.len() as u64));
                        world.workers[number] = Worker::Read(ReadChunk { range, keys, sees, rows, is_connected: true });
                    });
                }
            }
            Worker::Read(chunk) => self.follow_wait(scope, number, chunk, all),
            Worker::Lost(range) => self.follow_loss(number, *range, all),
        }
        self.follow_failure(scope, number, all);
        Ok(())
    }

    fn divides(&self, scope: &Scope, id: RangeId) -> bool {
        let leaves = self.core.bounds(TABLE).parts.iter().filter(|part| part.leaf.is_some()).count();
        scope.leaves && leaves == 0 && ranges(&self.core).iter().any(|(range, _)| *range == id)
    }

    /// The worker offers the list of leaves, once it is durable.
    fn follow_list(&self, scope: &Scope, number: usize, id: RangeId, taken: &Taken, all: &mut Following) {
        if self.postgres.flushed < self.postgres.log.len() && scope.flaw != Some(Flaw::ListsUnflushed) {
            return;
        }
        self.then("list leaves", all, |world| {
            if scope.flaw == Some(Flaw::ListsTooEarly) {
                world.core.horizon = None;
                world.core.range_mut(id).into_iter().for_each(|range| range.unseen.clear());
            }
            let touched = |key| {
                let seen = scope.script.iter().enumerate().filter(|(i, _)| taken.sees >> i & 1 == 1);
                seen.flat_map(|(_, ops)| ops).any(|op| op.effect(key, 0).is_some() && !op.is_exclusive())
            };
            let (listed, unlisted): (Vec<usize>, Vec<usize>) =
                (0..KEYS).partition(|key| *key < scope.keys - 1 || scope.base[*key].is_some() || touched(*key));
            let leaf =
                |key: usize| Leaf { oid: key as u32, condition: NAMES[key].to_owned(), filenode: taken.filenode };
            let (leaves, lsn) = (listed.into_iter().map(leaf).collect(), Lsn(world.postgres.log.len() as u64));
            let (offer, records) = world.core.divide(id, taken.snapshot.clone(), lsn, leaves).unwrap();
            world.workers[number] = if is_refused(&offer) { Worker::Assigned(id, (0, KEYS)) } else { Worker::Idle };
            if scope.flaw == Some(Flaw::ForgetsTheList)
                && let Some(others) = ranges(&world.core).first().map(|(range, _)| *range)
                && let Some(range) = world.core.range_mut(others)
                && range.is_done()
            {
                range.phase = Phase::Done { read: None };
            }
            if offer == Offer::Accepted {
                // It is a reading of all other keys: there is none of them.
                let read = |key| (key as u8, Event::Read { sees: taken.sees, row: None });
                let is_initial = scope.variant == Variant::Initial;
                let events = unlisted.into_iter().filter(|_| is_initial).map(read).collect();
                world.send(scope, events, records);
            }
        });
    }

    fn follow_wait(&self, scope: &Scope, number: usize, chunk: &ReadChunk, all: &mut Following) {
        let id = chunk.range;
        match (self.core.wait(id), scope.flaw) {
            (Wait::Flush(_), _) if !chunk.is_connected => self.follow_loss(number, id, all),
            (Wait::Ready, _) => self.then("publish", all, |world| world.publish(scope, number)),
            (Wait::Stream(_), Some(Flaw::WaitsForNoStream)) if scope.variant == Variant::Backfill => {
                self.then("publish", all, |world| world.publish_ahead(scope, number));
            }
            (Wait::Stream(_), Some(Flaw::IgnoresTheFilenode)) if scope.variant == Variant::Initial => {
                self.then("publish", all, |world| world.publish_ahead(scope, number));
            }
            (Wait::Discard, _) => self.then("discard", all, |world| {
                world.core.failed(id);
                world.workers[number] = Worker::Idle;
            }),
            _ => {}
        }
    }

    /// The worker gives its range back and connects anew, though the session is about to end.
    fn follow_loss(&self, number: usize, id: RangeId, all: &mut Following) {
        self.then("connect anew", all, |world| {
            world.core.failed(id);
            world.workers[number] = Worker::Idle;
        });
    }

    fn follow_failure(&self, scope: &Scope, number: usize, all: &mut Following) {
        let id = match &self.workers[number] {
            Worker::Took(id, ..) | Worker::Reading(id, ..) => *id,
            Worker::Read(chunk) => chunk.range,
            Worker::Idle | Worker::Assigned(..) | Worker::Lost(_) => return,
        };
        if self.left.failures == 0 {
            return;
        }
        self.then("fail", all, |world| {
            world.left.failures -= 1;
            let was_read = matches!(world.workers[number], Worker::Reading(..) | Worker::Read(..));
            world.workers[number] = Worker::Idle;
            world.core.failed(id);
            if scope.flaw == Some(Flaw::FailureForgets)
                && was_read
                && let Some(range) = world.core.range_mut(id)
            {
                range.unseen.clear();
            }
        });
    }

    /// An idle worker gets a range, cuts it to one key, and takes a snapshot.
    fn assign(&mut self, scope: &Scope, number: usize) {
        let Some(chunk) = self.core.next_chunk() else { return };
        if scope.leaves {
            let leaf = chunk.leaf.as_ref().and_then(|leaf| (0..KEYS).find(|key| holds(leaf, *key)));
            self.workers[number] = Worker::Assigned(chunk.range, leaf.map_or((0, KEYS), |key| (key, key + 1)));
            return self.take(scope, number);
        }
        let (first, mut end) = keys_between(chunk.lower.as_ref(), chunk.upper.as_ref(), scope.keys);
        if scope.split && end - first > 1 {
            end = first + 1;
            self.core.split(chunk.range, bound(end));
            if scope.flaw == Some(Flaw::SplitForgets)
                && let Some((rest, _)) = ranges(&self.core).last()
                && let Some(range) = self.core.range_mut(*rest)
            {
                range.unseen.clear();
            }
        }
        // Keys that no scope has lie in the last range.
        let end = if chunk.upper.is_none() && end == scope.keys { KEYS } else { end };
        self.workers[number] = Worker::Assigned(chunk.range, (first, end));
        self.take(scope, number);
    }

    fn take(&mut self, scope: &Scope, number: usize) {
        let Worker::Assigned(id, keys) = self.workers[number] else { return };
        if scope.flaw != Some(Flaw::TakesNoLock) && self.postgres.is_locked(&scope.script) {
            return;
        }
        self.workers[number] = Worker::Took(id, keys, Rc::new(self.postgres.take(&scope.script)));
    }

    fn offer(&mut self, scope: &Scope, id: RangeId, taken: &Taken) -> Offer {
        match scope.flaw {
            Some(Flaw::ChecksNothingInProgress) => {
                self.core.horizon = None;
                self.core.range_mut(id).into_iter().for_each(|range| range.unseen.clear());
            }
            Some(Flaw::AcceptsStale) => self.core.horizon = None,
            _ => {}
        }
        let x0 = self.core.tables[TABLE].as_ref().and_then(|table| table.x0);
        let offer = self.core.offer(id, taken.snapshot.clone(), taken.filenode);
        if scope.flaw == Some(Flaw::KeepsLostX0) && offer == Offer::NoX0 {
            self.core.get_mut(TABLE).into_iter().for_each(|table| table.x0 = x0);
            return Offer::NotYet { oldest: taken.snapshot.xmin(), x0: x0.unwrap_or_default() };
        }
        offer
    }

    fn publish(&mut self, scope: &Scope, number: usize) {
        let worker = std::mem::replace(&mut self.workers[number], Worker::Idle);
        let Worker::Read(ReadChunk { range: id, keys, sees, rows, .. }) = worker else { return };
        let left_out = match self.core.left_out(id) {
            _ if scope.flaw == Some(Flaw::LeavesNothingOut) => LeftOut::Keys(Default::default()),
            Some(left_out) => left_out.clone(),
            None => unreachable!("it is being read"),
        };
        let is_left_out = |key: usize| match &left_out {
            LeftOut::Keys(left_out) => left_out.contains(bound(key).0[0].as_bytes()),
            LeftOut::Every => true,
        };
        let keys = (keys.0..keys.1).filter(|key| !is_left_out(*key));
        let events: Vec<_> = keys.map(|key| (key as u8, Event::Read { sees, row: rows[key] })).collect();
        let lsn = self.core.range_mut(id).and_then(|range| range.reading()?.lsn).unwrap_or_default();
        let mut records = self.core.publish(id, 0).unwrap();
        if scope.flaw == Some(Flaw::ForgetsEarly) {
            records.extend(self.core.advance(lsn).unwrap());
        }
        self.send(scope, events, records);
    }

    /// Publishes as if the stream were further on than it is.
    fn publish_ahead(&mut self, scope: &Scope, number: usize) {
        let Worker::Read(ReadChunk { range: id, .. }) = self.workers[number] else { return };
        if let Some(Phase::Reading(reading)) = self.core.range_mut(id).map(|range| &mut range.phase) {
            reading.held = true;
        }
        let passed = self.core.passed;
        if scope.variant == Variant::Backfill {
            self.core.passed = Lsn(u64::MAX);
        }
        self.publish(scope, number);
        self.core.passed = passed;
    }
}
