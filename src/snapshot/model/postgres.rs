//! A Postgres of one table with three keys at most: a log, what is flushed of it, what is visible, locks, snapshots.

use crate::snapshot::PgSnapshot;

/// So many keys a table may have; they are "a", "b", "c".
pub(super) const KEYS: usize = 3;
pub(super) const NAMES: [&str; KEYS] = ["a", "b", "c"];

/// A row's value, by key.
pub(super) type Rows = [Option<u8>; KEYS];

/// One statement; keys by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Put(usize),
    Delete(usize),
    Move(usize, usize),
    Truncate,
    /// An ALTER TABLE that writes the rows anew: nothing is sent, but like a truncate it is not MVCC-safe.
    Rewrite,
}

impl Op {
    /// Whether it takes the ACCESS EXCLUSIVE lock.
    pub(super) fn is_exclusive(self) -> bool {
        matches!(self, Op::Truncate | Op::Rewrite)
    }

    fn touches(self, key: usize) -> bool {
        match self {
            Op::Put(k) | Op::Delete(k) => k == key,
            Op::Move(from, to) => from == key || to == key,
            Op::Truncate | Op::Rewrite => true,
        }
    }

    /// What it leaves of a key; None where it does not touch it.
    pub(super) fn effect(self, key: usize, value: u8) -> Option<Option<u8>> {
        match self {
            Op::Put(k) if k == key => Some(Some(value)),
            Op::Delete(k) if k == key => Some(None),
            Op::Move(from, _) if from == key => Some(None),
            Op::Move(_, to) if to == key => Some(Some(value)),
            Op::Truncate => Some(None),
            _ => None,
        }
    }

    pub(super) fn apply(self, rows: &mut Rows, value: u8) {
        for (key, row) in rows.iter_mut().enumerate() {
            *row = self.effect(key, value).unwrap_or(*row);
        }
    }
}

/// What a statement writes: no two statements write the same.
pub(super) fn value(transaction: usize, statement: usize) -> u8 {
    (transaction as u8 + 1) * 10 + statement as u8
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Status {
    Idle,
    /// Its statements are done, it holds its locks.
    Begun(u64),
    /// In the log; it holds its locks, perhaps waiting for a standby.
    Committed(u64),
    Visible(u64),
}

/// A snapshot: the transactions that it sees, and what Postgres tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    pub(super) sees: u8,
    pub(super) snapshot: PgSnapshot,
    pub(super) filenode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Postgres {
    pub(super) status: Vec<Status>,
    /// Commits in their order; a position is an index.
    pub(super) log: Vec<u8>,
    pub(super) flushed: usize,
    next_xid: u64,
    last_completed: u64,
    /// Transactions whose changes the slot does not send, since they began before it.
    pub(super) excluded: u8,
}

/// The first xid that is given: far enough in the second epoch for short xids to matter.
const FIRST_XID: u64 = (1 << 32) + 2;

impl Postgres {
    pub(super) fn new(transactions: usize) -> Postgres {
        Postgres {
            status: vec![Status::Idle; transactions],
            log: Vec::new(),
            flushed: 0,
            next_xid: FIRST_XID,
            last_completed: FIRST_XID - 1,
            excluded: 0,
        }
    }

    pub(super) fn draw_xid(&mut self) -> u64 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    /// `pg_current_xact_id()` in a transaction of its own, which has ended.
    pub(super) fn x0(&mut self) -> u64 {
        let xid = self.draw_xid();
        self.last_completed = self.last_completed.max(xid);
        xid
    }

    /// Row locks and table locks: what conflicts comes in the order of the script, each when the one before is visible.
    pub(super) fn may_begin(&self, script: &[Vec<Op>], transaction: usize) -> bool {
        let conflict = |x: &Op, y: &Op| {
            x.is_exclusive() || y.is_exclusive() || (0..KEYS).any(|key| x.touches(key) && y.touches(key))
        };
        (0..transaction).all(|earlier| {
            matches!(self.status[earlier], Status::Visible(_))
                || !script[transaction].iter().any(|x| script[earlier].iter().any(|y| conflict(x, y)))
        })
    }

    pub(super) fn commit(&mut self, transaction: usize, xid: u64) {
        self.status[transaction] = Status::Committed(xid);
        self.log.push(transaction as u8);
    }

    pub(super) fn show(&mut self, transaction: usize, xid: u64) {
        self.status[transaction] = Status::Visible(xid);
        self.last_completed = self.last_completed.max(xid);
    }

    /// Whether a lock of ours would wait.
    pub(super) fn is_locked(&self, script: &[Vec<Op>]) -> bool {
        self.status.iter().zip(script).any(|(status, ops)| {
            matches!(status, Status::Begun(_) | Status::Committed(_)) && ops.iter().any(|op| op.is_exclusive())
        })
    }

    pub(super) fn sees(&self) -> u8 {
        let visible = |status: &Status| u8::from(matches!(status, Status::Visible(_)));
        self.status.iter().rev().fold(0, |mask, status| mask << 1 | visible(status))
    }

    pub(super) fn is_all_visible(&self) -> bool {
        self.status.iter().all(|status| matches!(status, Status::Visible(_)))
    }

    pub(super) fn take(&self, script: &[Vec<Op>]) -> Taken {
        let xmax = self.last_completed + 1;
        let running = self.status.iter().filter_map(|status| match status {
            Status::Begun(xid) | Status::Committed(xid) if *xid < xmax => Some(*xid),
            _ => None,
        });
        let mut running: Vec<u64> = running.collect();
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(xmax);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        let snapshot = format!("{xmin}:{xmax}:{}", list.join(",")).parse().unwrap();
        let sees = self.sees();
        let rewritten = |(i, ops): (usize, &Vec<Op>)| sees >> i & 1 == 1 && ops.iter().any(|op| op.is_exclusive());
        let filenode = 1 + script.iter().enumerate().filter(|(i, ops)| rewritten((*i, ops))).count() as u32;
        Taken { sees, snapshot, filenode }
    }

    /// The rows as these transactions left them.
    pub(super) fn rows(&self, script: &[Vec<Op>], base: Rows, sees: u8) -> Rows {
        let mut rows = base;
        for transaction in self.log.iter().map(|t| usize::from(*t)).filter(|t| sees >> t & 1 == 1) {
            for (i, op) in script[transaction].iter().enumerate() {
                op.apply(&mut rows, value(transaction, i));
            }
        }
        rows
    }

    /// What a snapshot reads: nothing where the storage was replaced behind its back.
    pub(super) fn read(&self, script: &[Vec<Op>], base: Rows, sees: u8) -> Rows {
        let replaced = |(i, ops): (usize, &Vec<Op>)| {
            let ended = matches!(self.status[i], Status::Committed(_) | Status::Visible(_));
            ended && sees >> i & 1 == 0 && ops.iter().any(|op| op.is_exclusive())
        };
        if script.iter().enumerate().any(replaced) { [None; KEYS] } else { self.rows(script, base, sees) }
    }

    /// Power fails: commits that were not flushed have not been, and their xids are given again.
    pub(super) fn crash(&mut self) {
        self.log.truncate(self.flushed);
        self.next_xid = FIRST_XID;
        for (i, status) in self.status.iter_mut().enumerate() {
            match *status {
                Status::Committed(xid) | Status::Visible(xid) if self.log.contains(&(i as u8)) => {
                    *status = Status::Visible(xid);
                    self.next_xid = self.next_xid.max(xid + 1);
                }
                _ => {
                    *status = Status::Idle;
                    self.excluded &= !(1 << i);
                }
            }
        }
        self.last_completed = self.next_xid - 1;
    }
}
