//! The ledger: what of the stream is to be published and what may be confirmed. Pure: positions in, decisions out.
//!
//! One rule carries all: `next_lsn` is exclusive. Replay drops a transaction if and only if its commit record starts
//! before `next_lsn`; one commit's end is often the next one's start, so an inclusive comparison loses data.

use crate::error::{Error, Kind, Result};
use crate::faults::{Mutation, mutated};
use crate::model::Lsn;

/// How much of a transaction that the source sends is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It lies before the checkpoint: every change of it is on Kafka.
    Drop,
    /// Publish it from this change on; the ones before are on Kafka (0 but for a split transaction).
    Publish {
        /// Changes to leave out.
        from: u64,
    },
}

/// What was received, against the checkpoint that the session began with.
#[derive(Debug)]
pub struct Ledger {
    next_lsn: Lsn,
    partial: Option<(Lsn, u64)>,
    open: Option<Lsn>,
    last_commit: Lsn,
}

impl Ledger {
    /// Starts at the checkpoint's `next_lsn`; `partial` names a split transaction by its commit LSN with the number of
    /// its changes that are on Kafka.
    pub fn new(next_lsn: Lsn, partial: Option<(Lsn, u64)>) -> Ledger {
        Ledger { next_lsn, partial, open: None, last_commit: Lsn(0) }
    }

    /// What the session began with.
    pub fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// A Begin message arrived; `commit_lsn` is its final LSN.
    pub fn begin(&mut self, commit_lsn: Lsn) -> Result<Admission> {
        if let Some(open) = self.open {
            return Err(Error::new(
                Kind::Protocol,
                format!("a transaction begins while the one committed at {open} is open"),
            ));
        }
        if commit_lsn <= self.last_commit {
            let detail =
                format!("a transaction committed at {commit_lsn} came after the one committed at {}", self.last_commit);
            return Err(Error::new(Kind::Protocol, detail));
        }
        self.open = Some(commit_lsn);
        Ok(self.admit(commit_lsn))
    }

    /// Whether what was committed (or, for a non-transactional message, written) at `lsn` is to be published.
    pub fn admit(&self, lsn: Lsn) -> Admission {
        if lsn < self.next_lsn || (mutated(Mutation::InclusiveComparison) && lsn == self.next_lsn) {
            return Admission::Drop;
        }
        match self.partial {
            Some((commit_lsn, changes)) if commit_lsn == lsn => Admission::Publish { from: changes },
            _ => Admission::Publish { from: 0 },
        }
    }

    /// The Commit message of the open transaction arrived. Once its events are on Kafka, `end_lsn` is the next LSN.
    pub fn commit(&mut self, commit_lsn: Lsn, end_lsn: Lsn) -> Result<Lsn> {
        match self.open.take() {
            Some(open) if open == commit_lsn && end_lsn > commit_lsn => {
                self.last_commit = commit_lsn;
                Ok(end_lsn.max(self.next_lsn))
            }
            Some(open) => {
                let detail = format!(
                    "the transaction committed at {open} ended as one committed at {commit_lsn} with its end at {end_lsn}"
                );
                Err(Error::new(Kind::Protocol, detail))
            }
            None => Err(Error::new(Kind::Protocol, format!("a commit at {commit_lsn} without a begin"))),
        }
    }

    /// A keepalive arrived. `wal_end` is the next LSN once everything received before it is on Kafka; None while a
    /// transaction is open, since the server has then sent only a part of what lies before `wal_end`.
    pub fn keepalive(&self, wal_end: Lsn) -> Option<Lsn> {
        (self.open.is_none() && wal_end > self.next_lsn).then_some(wal_end)
    }

    /// The commit LSN of the transaction that is being received.
    pub fn open(&self) -> Option<Lsn> {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: Admission = Admission::Publish { from: 0 };

    #[test]
    fn a_commit_that_starts_where_the_last_one_ended_is_published() {
        let mut ledger = Ledger::new(Lsn(100), None);
        assert_eq!(ledger.begin(Lsn(99)).unwrap(), Admission::Drop);
        assert_eq!(ledger.commit(Lsn(99), Lsn(100)).unwrap(), Lsn(100));
        assert_eq!(ledger.begin(Lsn(100)).unwrap(), PUBLISH);
        assert_eq!(ledger.commit(Lsn(100), Lsn(110)).unwrap(), Lsn(110));
    }

    /// Faults: ACK-05.
    #[test]
    fn a_keepalive_inside_a_transaction_confirms_nothing() {
        let mut ledger = Ledger::new(Lsn(100), None);
        assert_eq!(ledger.keepalive(Lsn(150)), Some(Lsn(150)));
        ledger.begin(Lsn(200)).unwrap();
        assert_eq!(ledger.keepalive(Lsn(250)), None);
        ledger.commit(Lsn(200), Lsn(210)).unwrap();
        assert_eq!(ledger.keepalive(Lsn(250)), Some(Lsn(250)));
    }

    #[test]
    fn a_keepalive_behind_the_checkpoint_moves_nothing() {
        let ledger = Ledger::new(Lsn(100), None);
        assert_eq!(ledger.keepalive(Lsn(100)), None);
        assert_eq!(ledger.keepalive(Lsn(40)), None);
    }

    /// Faults: ACK-10.
    #[test]
    fn replayed_transactions_never_move_the_next_lsn_back() {
        let mut ledger = Ledger::new(Lsn(100), None);
        ledger.begin(Lsn(50)).unwrap();
        assert_eq!(ledger.commit(Lsn(50), Lsn(60)).unwrap(), Lsn(100));
    }

    #[test]
    fn a_split_transaction_goes_on_after_its_last_published_change() {
        let mut ledger = Ledger::new(Lsn(100), Some((Lsn(120), 7)));
        assert_eq!(ledger.begin(Lsn(120)).unwrap(), Admission::Publish { from: 7 });
        ledger.commit(Lsn(120), Lsn(130)).unwrap();
        assert_eq!(ledger.begin(Lsn(130)).unwrap(), PUBLISH);
    }

    #[test]
    fn broken_order_is_a_protocol_error() {
        let mut ledger = Ledger::new(Lsn(0), None);
        assert_eq!(ledger.commit(Lsn(1), Lsn(2)).unwrap_err().kind(), Kind::Protocol);
        ledger.begin(Lsn(10)).unwrap();
        assert_eq!(ledger.begin(Lsn(20)).unwrap_err().kind(), Kind::Protocol);
        assert_eq!(ledger.commit(Lsn(11), Lsn(12)).unwrap_err().kind(), Kind::Protocol);
        let mut ledger = Ledger::new(Lsn(0), None);
        ledger.begin(Lsn(10)).unwrap();
        ledger.commit(Lsn(10), Lsn(12)).unwrap();
        assert_eq!(
            ledger.begin(Lsn(10)).unwrap_err().kind(),
            Kind::Protocol,
            "the same transaction twice in a session"
        );
    }
}
