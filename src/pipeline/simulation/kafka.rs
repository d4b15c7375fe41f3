//! A cluster of Kafka as far as exactly-once rests on it: transactional ids with epochs, records that are invisible until
//! a commit is decided by the coordinator and its markers are in each partition, last stable offset and high watermark.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// Two partitions of events and one of checkpoints.
pub(super) const PARTITIONS: usize = 3;
pub(super) const CHECKPOINTS: usize = 2;

/// The connector's transactional ids: control, and two that carry events.
pub(super) const CONTROL: usize = 0;
pub(super) const DATA: usize = 1;
pub(super) const OTHER: usize = 2;
const IDS: usize = 3;

/// What the coordinator gives a transaction.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The event of a row: source transaction, row, and the event's id.
    Row { transaction: usize, row: usize, id: Rc<str>, time_ms: i64 },
    /// A record of the checkpoint topic.
    State { key: Rc<str>, value: Option<Rc<[u8]>> },
}

/// A record in a partition.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Its transaction; None where the producer has none.
    pub(super) transaction: Option<usize>,
    pub(super) producer: usize,
}

/// A transaction as its coordinator sees it.
#[derive(Debug)]
pub(super) struct Transaction {
    id: usize,
    begun: Duration,
    partitions: BTreeSet<usize>,
    /// Where the marker is written.
    marked: BTreeSet<usize>,
    /// None: open; whether it was committed.
    pub(super) outcome: Option<bool>,
}

/// The coordinator's view of one transactional id.
#[derive(Debug, Default)]
struct Id {
    epoch: u32,
    /// The transaction that is open or not marked everywhere.
    current: Option<usize>,
    /// The last one whose outcome is known, with the epoch that asked for it.
    last: Option<(u32, bool)>,
}

/// A producer: what it has handed over, and what of it is acknowledged.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) instance: usize,
    /// Transactional id and epoch.
    identity: Option<(usize, u32)>,
    queues: [VecDeque<Record>; PARTITIONS],
    /// Appended, and not yet known to the client.
    unacknowledged: u64,
    pub(super) sent: u64,
    pub(super) done: u64,
    /// Behind the last record in each partition that is appended, and that the client knows of.
    appended: [i64; PARTITIONS],
    acknowledged: [i64; PARTITIONS],
    /// A record was refused: the producer is of no more use.
    pub(super) failed: bool,
    /// Its process is there.
    pub(super) alive: bool,
    /// Somebody has read since it was gone what it left: what still comes of it is late.
    pub(super) is_late: bool,
}

/// How a request for the end of a transaction is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// The epoch is not the newest one.
    Fenced,
    /// Nothing of that kind is open.
    InvalidState,
}

/// The cluster.
#[derive(Debug, Default)]
pub(super) struct Kafka {
    pub(super) logs: [Vec<Entry>; PARTITIONS],
    pub(super) transactions: Vec<Transaction>,
    ids: [Id; IDS],
    pub(super) producers: Vec<Producer>,
    /// Of the producers that wait for a partition the last one goes first next time.
    pub(super) reversed: [bool; PARTITIONS],
}

impl Kafka {
    pub(super) fn producer(&mut self, instance: usize, identity: Option<(usize, u32)>) -> usize {
        let ends = [0; PARTITIONS];
        self.producers.push(Producer {
            instance,
            identity,
            queues: Default::default(),
            unacknowledged: 0,
            sent: 0,
            done: 0,
            appended: ends,
            acknowledged: ends,
            failed: false,
            alive: true,
            is_late: false,
        });
        self.producers.len() - 1
    }

    /// A producer with the id's present epoch: what taking over without InitProducerId would be.
    pub(super) fn join(&mut self, instance: usize, id: usize) -> usize {
        self.producer(instance, Some((id, self.ids[id].epoch)))
    }

    /// The client takes a record.
    pub(super) fn hand_over(&mut self, producer: usize, partition: usize, record: Record) {
        let producer = &mut self.producers[producer];
        producer.sent += 1;
        producer.queues[partition].push_back(record);
    }

    /// InitProducerId: None while a transaction of the id is not marked everywhere, which this aborts if it is open.
    pub(super) fn init(&mut self, id: usize) -> Option<u32> {
        match self.ids[id].current {
            Some(current) if self.transactions[current].outcome.is_none() => {
                self.ids[id].epoch += 1;
                self.decide(id, current, false);
                None
            }
            Some(_) => None,
            None => {
                self.ids[id].epoch += 1;
                Some(self.ids[id].epoch)
            }
        }
    }

    /// Whether a transaction of the id waits for its markers.
    pub(super) fn marking(&self, id: usize) -> bool {
        self.ids[id].current.is_some_and(|current| self.transactions[current].outcome.is_some())
    }

    /// EndTxn. Asking again for what was done is no error.
    pub(super) fn end(&mut self, producer: usize, commit: bool) -> Answer {
        let Some((id, epoch)) = self.producers[producer].identity else { return Answer::InvalidState };
        if self.ids[id].epoch != epoch {
            return Answer::Fenced;
        }
        match self.ids[id].current {
            Some(current) => match self.transactions[current].outcome {
                None => {
                    self.decide(id, current, commit);
                    Answer::Done
                }
                Some(outcome) if outcome == commit => Answer::Done,
                Some(_) => Answer::InvalidState,
            },
            // Nothing was written: the client does not even ask.
            None if self.ids[id].last.is_none_or(|last| last == (epoch, commit) || last.0 != epoch) => Answer::Done,
            None => Answer::InvalidState,
        }
    }

    fn decide(&mut self, id: usize, transaction: usize, commit: bool) {
        let epoch = self.ids[id].epoch;
        self.ids[id].last = Some((epoch, commit));
        self.transactions[transaction].outcome = Some(commit);
    }

    /// The transactions that have lasted too long.
    pub(super) fn overdue(&self, now: Duration) -> Option<usize> {
        self.ids.iter().filter_map(|id| id.current).find(|current| {
            let transaction = &self.transactions[*current];
            transaction.outcome.is_none() && transaction.begun + TRANSACTION_TIMEOUT <= now
        })
    }

    /// When the next transaction will have lasted too long.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let open = self.ids.iter().filter_map(|id| id.current).map(|current| &self.transactions[current]);
        open.filter(|open| open.outcome.is_none()).map(|open| open.begun + TRANSACTION_TIMEOUT).min()
    }

    /// The coordinator aborts a transaction that has lasted too long, and fences its producer.
    pub(super) fn time_out(&mut self, transaction: usize) {
        let id = self.transactions[transaction].id;
        self.ids[id].epoch += 1;
        self.decide(id, transaction, false);
    }

    /// The transaction whose marker is due in a partition.
    pub(super) fn unmarked(&self, partition: usize) -> Option<usize> {
        self.ids.iter().filter_map(|id| id.current).find(|current| {
            let transaction = &self.transactions[*current];
            transaction.outcome.is_some()
                && transaction.partitions.contains(&partition)
                && !transaction.marked.contains(&partition)
        })
    }

    pub(super) fn mark(&mut self, transaction: usize, partition: usize) {
        let marked = &mut self.transactions[transaction];
        marked.marked.insert(partition);
        if marked.marked == marked.partitions {
            self.ids[marked.id].current = None;
        }
    }

    /// The producer whose records are next in a partition. One whose last transaction is not marked everywhere waits.
    pub(super) fn sender(&self, partition: usize) -> Option<usize> {
        let sends = |producer: &Producer| {
            let waits = producer.identity.is_some_and(|(id, _)| self.marking(id));
            !producer.queues[partition].is_empty() && !waits && !producer.failed
        };
        match self.reversed[partition] {
            true => self.producers.iter().rposition(sends),
            false => self.producers.iter().position(sends),
        }
    }

    /// A partition's leader takes what a producer has for it; false: the producer is fenced.
    pub(super) fn append(&mut self, partition: usize, sender: usize, now: Duration) -> bool {
        let transaction = match self.producers[sender].identity {
            Some((id, epoch)) if self.ids[id].epoch != epoch => {
                self.refuse(sender);
                return false;
            }
            Some((id, _)) => Some(self.open(id, partition, now)),
            None => None,
        };
        self.reversed[partition] = false;
        let records = std::mem::take(&mut self.producers[sender].queues[partition]);
        self.producers[sender].unacknowledged += records.len() as u64;
        let entries = records.into_iter().map(|record| Entry { record, transaction, producer: sender });
        self.logs[partition].extend(entries);
        self.producers[sender].appended[partition] = self.logs[partition].len() as i64;
        true
    }

    /// A record of the producer could not be delivered.
    pub(super) fn refuse(&mut self, producer: usize) {
        let producer = &mut self.producers[producer];
        producer.failed = true;
        producer.queues.iter_mut().for_each(VecDeque::clear);
    }

    fn open(&mut self, id: usize, partition: usize, now: Duration) -> usize {
        let open = self.ids[id].current.unwrap_or_else(|| {
            let (partitions, marked) = Default::default();
            self.transactions.push(Transaction { id, begun: now, partitions, marked, outcome: None });
            self.transactions.len() - 1
        });
        self.ids[id].current = Some(open);
        self.transactions[open].partitions.insert(partition);
        open
    }

    /// A producer that has acknowledgements under way.
    pub(super) fn unacknowledged(&self) -> Option<usize> {
        self.producers.iter().position(|producer| producer.unacknowledged > 0)
    }

    pub(super) fn acknowledge(&mut self, producer: usize) {
        let producer = &mut self.producers[producer];
        producer.done += std::mem::take(&mut producer.unacknowledged);
        producer.acknowledged = producer.appended;
    }

    /// The producers of an instance's present life.
    pub(super) fn living(&self, instance: usize) -> impl Iterator<Item = usize> {
        let all = self.producers.iter().enumerate();
        all.filter(move |(_, producer)| producer.instance == instance && producer.alive).map(|(index, _)| index)
    }

    /// The client forgets what it has not sent.
    pub(super) fn purge(&mut self, producer: usize) {
        self.producers[producer].queues.iter_mut().for_each(VecDeque::clear);
    }

    /// Whether something of it is on its way.
    pub(super) fn is_sending(&self, producer: usize) -> bool {
        self.producers[producer].queues.iter().any(|queue| !queue.is_empty())
    }

    /// The process of a producer is gone, or has dropped it. What is on the network may still arrive.
    pub(super) fn abandon(&mut self, producer: usize, lose: bool) {
        let producer = &mut self.producers[producer];
        producer.alive = false;
        if lose {
            producer.queues.iter_mut().for_each(VecDeque::clear);
        }
    }

    /// From here on the producer notes how far its records are acknowledged.
    pub(super) fn note_from(&mut self, producer: usize, ends: &[i64]) {
        let producer = &mut self.producers[producer];
        producer.appended[..CHECKPOINTS].copy_from_slice(ends);
        producer.acknowledged = producer.appended;
    }

    /// Behind the last acknowledged record of each partition of events.
    pub(super) fn acknowledged(&self, producer: usize) -> Vec<i64> {
        self.producers[producer].acknowledged[..CHECKPOINTS].to_vec()
    }

    /// Somebody reads what those who are gone have left.
    pub(super) fn look_behind(&mut self) {
        self.producers.iter_mut().for_each(|producer| producer.is_late |= !producer.alive);
    }

    pub(super) fn high_watermark(&self, partition: usize) -> usize {
        self.logs[partition].len()
    }

    /// The first offset that a transaction without a marker holds back.
    pub(super) fn stable(&self, partition: usize) -> usize {
        let held = |entry: &Entry| {
            entry.transaction.is_some_and(|transaction| !self.transactions[transaction].marked.contains(&partition))
        };
        self.logs[partition].iter().position(held).unwrap_or(self.logs[partition].len())
    }

    /// What a `read_committed` reader sees.
    pub(super) fn visible(&self, partition: usize) -> impl Iterator<Item = &Entry> {
        self.logs[partition][..self.stable(partition)].iter().filter(|entry| self.is_committed(entry))
    }

    /// Whether the commit is decided.
    pub(super) fn is_committed(&self, entry: &Entry) -> bool {
        entry.transaction.is_none_or(|transaction| self.transactions[transaction].outcome == Some(true))
    }

    /// The records of a transaction, by partition.
    pub(super) fn records_of(&self, transaction: usize) -> impl Iterator<Item = &Record> {
        let all = self.logs.iter().flatten();
        all.filter(move |entry| entry.transaction == Some(transaction)).map(|entry| &entry.record)
    }

    /// The open transaction of a producer.
    pub(super) fn current(&self, producer: usize) -> Option<usize> {
        let (id, epoch) = self.producers[producer].identity?;
        self.ids[id].current.filter(|_| self.ids[id].epoch == epoch)
    }
}
