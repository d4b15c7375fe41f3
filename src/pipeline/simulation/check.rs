//! What must hold at every step, and what must have come true at the end.

use std::collections::BTreeSet;

use super::kafka::{CHECKPOINTS, Entry, Kafka, Record};
use super::postgres::{Item, Postgres, Wal};
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, State};

/// What the promises are judged by.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Source transactions may become visible in parts.
    split: bool,
    doubles: Doubles,
    /// Rows that came from a process that was gone, behind its successor's look at what it had left.
    late: BTreeSet<(usize, usize)>,
    /// The position of the first checkpoint: what was committed from here on is due.
    due_from: Option<u64>,
    /// What the checkpoint topic says to whoever reads it.
    state: State,
    /// Its position.
    pub(super) next_lsn: u64,
    /// How often each row of each transaction is committed on Kafka.
    committed: Vec<Vec<u32>>,
}

/// Which rows may be there more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubles {
    #[default]
    None,
    /// Without transactions: those that are late.
    Late,
    /// Nor is there a fence.
    Any,
}

type Judgement = Result<(), String>;

impl Oracle {
    pub(super) fn new(split: bool, doubles: Doubles) -> Oracle {
        Oracle { split, doubles, ..Oracle::default() }
    }

    /// These records are late.
    pub(super) fn late<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        let row = |record: &Record| match record {
            Record::Row { transaction, row, .. } => Some((*transaction, *row)),
            Record::State { .. } => None,
        };
        self.late.extend(records.filter_map(row));
    }

    /// The coordinator has decided for this transaction.
    pub(super) fn decided(&mut self, kafka: &Kafka, postgres: &Postgres, transaction: usize) -> Judgement {
        self.published(kafka.records_of(transaction), postgres)
    }

    /// Records became visible together.
    pub(super) fn published<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        postgres: &Postgres,
    ) -> Judgement {
        let (mut touched, mut checkpoint) = (Vec::new(), None);
        for record in records {
            match record {
                Record::Row { transaction, row, .. } => {
                    self.count(postgres, *transaction, *row)?;
                    if touched.last() != Some(transaction) {
                        touched.push(*transaction);
                    }
                }
                Record::State { key, value } => {
                    let applied = self.state.apply(Some(key.as_bytes()), value.as_deref(), 0);
                    applied.map_err(|error| format!("CHECKPOINT: {error}"))?;
                    if **key == *CHECKPOINT {
                        checkpoint = self.state.checkpoint.clone();
                    }
                }
            }
        }
        for transaction in &touched {
            self.whole(postgres.wal[*transaction].at, *transaction, checkpoint.as_ref())?;
        }
        checkpoint.map_or(Ok(()), |checkpoint| self.moved(postgres, &checkpoint))
    }

    fn count(&mut self, postgres: &Postgres, transaction: usize, row: usize) -> Judgement {
        self.committed.resize(self.committed.len().max(transaction + 1), Vec::new());
        let rows = &mut self.committed[transaction];
        if rows.is_empty() {
            let Item::Commit { rows: count } = postgres.wal[transaction].item else { unreachable!() };
            rows.resize(count, 0);
        }
        rows[row] += 1;
        let may_be = match self.doubles {
            Doubles::None => false,
            Doubles::Late => self.late.contains(&(transaction, row)),
            Doubles::Any => true,
        };
        if rows[row] > 1 && !may_be {
            return Err(format!("DUPLICATE: row {transaction}-{row} is committed twice"));
        }
        Ok(())
    }

    /// A transaction of which something is visible is all visible, and the checkpoint says so.
    fn whole(&self, at: u64, transaction: usize, checkpoint: Option<&Checkpoint>) -> Judgement {
        if self.doubles != Doubles::None {
            return Ok(());
        }
        let seen = self.committed[transaction].iter().filter(|count| **count > 0).count();
        let rows = self.committed[transaction].len();
        let Some(checkpoint) = checkpoint else {
            return Err(format!("UNCOVERED: transaction {transaction} became visible without a checkpoint"));
        };
        let partial = checkpoint.partial.filter(|partial| self.split && partial.commit_lsn.0 == at);
        let covered = checkpoint.next_lsn.0 > at || partial.is_some_and(|partial| partial.changes == seen as u64);
        if !covered {
            return Err(format!("UNCOVERED: transaction {transaction} at {at} is not before {}", checkpoint.next_lsn));
        }
        if seen < rows && partial.is_none() {
            return Err(format!("TORN: {seen} of {rows} rows of transaction {transaction} are visible"));
        }
        Ok(())
    }

    /// A checkpoint is committed: nothing before it may be missing.
    fn moved(&mut self, postgres: &Postgres, checkpoint: &Checkpoint) -> Judgement {
        let next_lsn = checkpoint.next_lsn.0;
        let due_from = *self.due_from.get_or_insert(next_lsn);
        if next_lsn < self.next_lsn {
            return Err(format!("BACKWARDS: the checkpoint went from {} to {next_lsn}", self.next_lsn));
        }
        self.next_lsn = next_lsn;
        match self.missing(postgres, due_from, next_lsn, checkpoint.timeline) {
            Some((transaction, at)) => Err(format!(
                "LOSS: transaction {transaction} at {at} is not on Kafka and the checkpoint is at {next_lsn}"
            )),
            None => Ok(()),
        }
    }

    /// What is not on Kafka of all that was committed in this range up to this timeline.
    fn missing(&self, postgres: &Postgres, from: u64, to: u64, timeline: u32) -> Option<(usize, u64)> {
        let due = |(_, record): &(usize, &Wal)| {
            let lies_there = record.timeline <= timeline && (from..to).contains(&record.at);
            matches!(record.item, Item::Commit { .. }) && !record.lost && lies_there
        };
        let is_missing = |(transaction, _): &(usize, &Wal)| {
            self.committed.get(*transaction).is_none_or(|rows| rows.is_empty() || rows.contains(&0))
        };
        let missing = postgres.wal.iter().enumerate().filter(due).find(is_missing);
        missing.map(|(transaction, record)| (transaction, record.at))
    }

    /// Whether the checkpoint's position is one of the server's history.
    pub(super) fn lies_on(&self, postgres: &Postgres) -> bool {
        let checkpoint = self.state.checkpoint.as_ref();
        let (of, reaches) = checkpoint.map_or((0, 0), |checkpoint| (checkpoint.timeline, checkpoint.reaches().0));
        let held = postgres.history.iter().any(|(timeline, at)| *timeline == of && *at >= reaches);
        of == postgres.timeline || held
    }

    /// The slot moved.
    pub(super) fn confirmed(&self, postgres: &Postgres) -> Judgement {
        match postgres.slot {
            Some(slot) if slot.confirmed > self.next_lsn => {
                Err(format!("AHEAD: the slot is at {}, the checkpoint at {}", slot.confirmed, self.next_lsn))
            }
            _ => Ok(()),
        }
    }

    /// Whether everything that is due is on Kafka, and the slot knows.
    pub(super) fn is_complete(&self, postgres: &Postgres) -> bool {
        let Some(due_from) = self.due_from else { return false };
        let last = postgres.wal.iter().rev().find(|record| matches!(record.item, Item::Commit { .. }) && !record.lost);
        let confirmed = postgres.slot.map_or(0, |slot| slot.confirmed);
        self.missing(postgres, due_from, u64::MAX, u32::MAX).is_none() && last.is_none_or(|last| last.end <= confirmed)
    }

    /// What readers see at the end: each row that is due once (or more), in order.
    pub(super) fn end(&self, kafka: &Kafka, postgres: &Postgres) -> Judgement {
        let mut seen = vec![Vec::new(); postgres.wal.len()];
        for partition in 0..CHECKPOINTS {
            let mut last = (0, 0);
            for entry in kafka.visible(partition) {
                let Record::Row { transaction, row, id, .. } = &entry.record else { continue };
                let now = (*transaction, *row);
                if now <= last && last != (0, 0) && self.doubles == Doubles::None {
                    return Err(format!("ORDER: row {now:?} came after {last:?} in partition {partition}"));
                }
                last = now;
                seen[*transaction].push((*row, id.clone()));
            }
        }
        seen.iter_mut().try_for_each(|rows| {
            rows.sort();
            rows.dedup();
            let rows_of_one_id = rows.windows(2).all(|pair| pair[0].0 != pair[1].0);
            if rows_of_one_id { Ok(()) } else { Err("ID: a row has two ids".to_owned()) }
        })?;
        let counted: usize = self.committed.iter().flatten().filter(|count| **count > 0).count();
        let visible: usize = seen.iter().map(Vec::len).sum();
        if counted == visible { Ok(()) } else { Err(format!("HIDDEN: {visible} of {counted} rows can be read")) }
    }

    /// Each life of a producer without transactions keeps the source's order.
    pub(super) fn order_of_lives(kafka: &Kafka) -> Judgement {
        for log in &kafka.logs[..CHECKPOINTS] {
            let mut last = vec![None; kafka.producers.len()];
            for Entry { record, producer, .. } in log {
                let Record::Row { transaction, row, .. } = record else { continue };
                if last[*producer].is_some_and(|last| last >= (*transaction, *row)) {
                    return Err(format!("ORDER: row {transaction}-{row} came late from producer {producer}"));
                }
                last[*producer] = Some((*transaction, *row));
            }
        }
        Ok(())
    }
}
