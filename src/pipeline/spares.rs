//! The memory of batches that were sent, for those to come: to grow a new one copies it several times over. Only what is
//! of a backlog or a snapshot is given back, so that a connector that has caught up uses up its spares with its next units.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::Batch;

/// As many at most: one is filled, one is sent, and two wait.
const SPARES_MAX: usize = 4;
/// What is larger goes back to the allocator: few batches are.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// Clones share the same ones.
#[derive(Clone, Debug)]
pub(super) struct Spares {
    back: Sender<Batch>,
    free: Receiver<Batch>,
}

impl Default for Spares {
    fn default() -> Spares {
        let (back, free) = bounded(SPARES_MAX);
        Spares { back, free }
    }
}

impl Spares {
    /// An empty batch, if there is one.
    pub(super) fn take(&self) -> Option<Batch> {
        self.free.try_recv().ok()
    }

    /// A batch of which nothing is needed any more.
    pub(super) fn give(&self, mut batch: Batch) {
        if batch.bytes.capacity() <= SPARE_BYTES_MAX {
            batch.clear();
            // Full: there are enough.
            let _kept = self.back.try_send(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch { bytes: vec![1; bytes], ..Batch::default() }
    }

    #[test]
    fn what_was_given_comes_back_empty_and_with_its_memory() {
        let spares = Spares::default();
        assert!(spares.take().is_none());
        spares.give(batch(1000));
        let spare = spares.take().unwrap();
        assert!(spare.bytes.is_empty() && spare.bytes.capacity() >= 1000);
        assert!(spares.take().is_none());
    }

    #[test]
    fn neither_large_ones_nor_many_are_kept() {
        let spares = Spares::default();
        spares.give(batch(SPARE_BYTES_MAX + 1));
        assert!(spares.take().is_none());
        (0..SPARES_MAX + 3).for_each(|_| spares.give(batch(10)));
        assert_eq!(std::iter::from_fn(|| spares.take()).count(), SPARES_MAX);
    }
}
