//! Producers that take turns, so that a transaction waits neither for the commit nor for the markers of the one before.
//!
//! Two are open at most: one that is whole and is committed next, and the one behind it. Commits are strictly in order, and
//! where one fails nothing behind it is committed.
//!
//! The fence takes the first id, then all others. An id that is taken later might be taken from an instance that has
//! fenced it already. So it is used only after a commit with the first id that began when it was ours: nobody had fenced
//! the first id then, and whoever does will fence this one after it.

/// The producers of one session.
#[derive(Debug)]
pub struct Turns<P> {
    /// With the first id, then the others.
    producers: Vec<P>,
    /// Who has the transaction that was begun last.
    at: usize,
    /// Who has the one before it, which is whole and not committed.
    closing: Option<usize>,
    /// Their ids were ours when the open transaction began, which is the first id's.
    proving: Vec<P>,
}

impl<P> Turns<P> {
    /// `first` has the connector's first id.
    pub fn new(first: P) -> Turns<P> {
        Turns { producers: vec![first], at: 0, closing: None, proving: Vec::new() }
    }

    /// Whose turn it is.
    pub fn current(&self) -> &P {
        &self.producers[self.at]
    }

    /// The same.
    pub fn current_mut(&mut self) -> &mut P {
        &mut self.producers[self.at]
    }

    /// Who has the transaction that is committed next.
    pub fn oldest(&self) -> &P {
        &self.producers[self.closing.unwrap_or(self.at)]
    }

    /// The same.
    pub fn oldest_mut(&mut self) -> &mut P {
        &mut self.producers[self.closing.unwrap_or(self.at)]
    }

    /// Whether a transaction may begin while the one before is not committed: who has that one cannot.
    pub fn may_overlap(&self) -> bool {
        self.producers.len() > 1
    }

    /// Whether the first one is the only one, and no others are about to come.
    pub fn is_alone(&self) -> bool {
        self.producers.len() == 1 && self.proving.is_empty()
    }

    /// The next one, for a new transaction. `taken` are others whose ids have become ours since the first was alone.
    pub fn begin(&mut self, taken: Vec<P>) -> &mut P {
        self.proving.extend(taken);
        self.at = (self.at + 1) % self.producers.len();
        self.current_mut()
    }

    /// The transaction that was begun last is whole.
    pub fn close(&mut self) {
        self.closing = Some(self.at);
    }

    /// Whether two transactions are open.
    pub fn overlaps(&self) -> bool {
        self.closing.is_some_and(|closing| closing != self.at)
    }

    /// The oldest transaction is aborted.
    pub fn aborted(&mut self) {
        self.closing = None;
    }

    /// The oldest transaction is committed. True where they take turns from here on.
    pub fn committed(&mut self) -> bool {
        self.closing = None;
        let proved = !self.proving.is_empty();
        self.producers.append(&mut self.proving);
        proved
    }

    /// Back to the first one. None of them may have an open transaction.
    pub fn rest(&mut self) {
        self.producers.truncate(1);
        self.proving.clear();
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_used_after_a_commit_that_began_when_they_were_ours() {
        let mut turns = Turns::new(0);
        assert_eq!((*turns.begin(Vec::new()), turns.is_alone()), (0, true));
        assert!(!turns.committed());
        assert_eq!((*turns.begin(vec![1, 2]), turns.is_alone()), (0, false));
        assert!(turns.committed());
        for expected in [1, 2, 0, 1] {
            assert_eq!(*turns.begin(Vec::new()), expected);
            assert!(!turns.committed());
            assert_eq!(*turns.current(), expected);
        }
        turns.rest();
        assert_eq!((*turns.begin(Vec::new()), turns.is_alone()), (0, true));
    }

    #[test]
    fn the_transaction_before_is_committed_while_the_next_one_is_open() {
        let mut turns = Turns::new(0);
        assert!(!turns.may_overlap());
        turns.begin(vec![1, 2]);
        turns.close();
        assert_eq!(*turns.oldest(), 0);
        assert!(turns.committed() && turns.may_overlap());
        for (first, second) in [(1, 2), (0, 1), (2, 0)] {
            turns.begin(Vec::new());
            turns.close();
            turns.begin(Vec::new());
            assert_eq!((*turns.oldest_mut(), *turns.current()), (first, second));
            turns.committed();
            assert_eq!((*turns.oldest(), *turns.current()), (second, second));
            turns.committed();
        }
    }
}
