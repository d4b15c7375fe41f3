//! Several trials at a time: most of one is waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

/// Does `work` for each of `cases`, so many at a time; the results are in the order of the cases.
pub(super) fn in_lanes<C: Sync, R: Send>(cases: &[C], lanes: usize, work: impl Fn(&C) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { return done };
            done.push((index, work(case)));
        }
    };
    let mut all: Vec<_> = scope(|threads| {
        let running: Vec<_> = (0..lanes).map(|_| threads.spawn(lane)).collect();
        running.into_iter().flat_map(|lane| lane.join().expect("a lane panicked")).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}
