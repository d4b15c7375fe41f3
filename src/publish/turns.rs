//! Producers that take turns, so that a transaction does not wait for the markers of the one before.
//!
//! A transaction is begun only when the one before is committed, whoever had it; so there is one order.
//!
//! The fence takes the first id, then all others. An id that is taken later might be taken from an instance that has
//! fenced it already. So it is used only after a commit with the first id that began when it was ours: nobody had fenced
//! the first id then, and whoever does will fence this one after it.

/// The producers of one session.
#[derive(Debug)]
pub struct Turns<P> {
    /// With the first id, then the others.
    producers: Vec<P>,
    /// Who has the open transaction, or had the last one.
    at: usize,
    /// Their ids were ours when the open transaction began, which is the first id's.
    proving: Vec<P>,
}

impl<P> Turns<P> {
    /// `first` has the connector's first id.
    pub fn new(first: P) -> Turns<P> {
        Turns { producers: vec![first], at: 0, proving: Vec::new() }
    }

    /// Whose turn it is.
    pub fn current(&self) -> &P {
        &self.producers[self.at]
    }

    /// The same.
    pub fn current_mut(&mut self) -> &mut P {
        &mut self.producers[self.at]
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

    /// The open transaction is committed. True where they take turns from here on.
    pub fn committed(&mut self) -> bool {
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
}
