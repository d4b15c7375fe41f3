use proptest::prelude::*;

use super::*;

const PARTITION: (usize, i32) = (0, 0);
const ELSEWHERE: (usize, i32) = (0, 1);

fn at(commit_lsn: u64, k: u64) -> Place {
    Place { commit_lsn: Lsn(commit_lsn), time_ms: Some(7), number: 0, k }
}

fn found(events: &[Place]) -> Repeats {
    let mut repeats = Repeats::default();
    events.iter().for_each(|event| repeats.note(event));
    repeats
}

#[test]
fn what_was_found_is_there_up_to_the_last_and_nothing_behind_it() {
    let mut repeats = found(&[at(10, 0), at(10, 200), at(20, 1)]);
    assert_eq!(repeats.last(), Some(Lsn(20)));
    let there: Vec<_> = [at(10, 0), at(10, 200), at(20, 1), at(20, 2), at(30, 0)]
        .iter()
        .map(|event| repeats.has(event, PARTITION))
        .collect();
    assert_eq!(there, [true, true, true, false, false]);
    let mut nothing = Repeats::default();
    assert_eq!((nothing.last(), nothing.has(&at(10, 0), PARTITION)), (None, false));
}

/// The replay may yield what the session before did not, and the other way round: an id that is never met costs nothing.
#[test]
fn what_was_not_found_is_sent_whatever_was_found_behind_it() {
    let mut repeats = found(&[at(10, 0), at(10, 5), at(20, 0)]);
    assert!(repeats.has(&at(10, 0), PARTITION));
    assert!(!repeats.has(&at(10, 1), PARTITION), "was never there");
    assert!(!repeats.has(&at(10, 5), PARTITION), "or a fold of the partition would end with the one before");
    assert!(!repeats.has(&at(20, 0), PARTITION));
    assert!(repeats.has(&at(20, 0), ELSEWHERE), "no other partition is concerned");
}

#[test]
fn another_event_or_another_server_s_transaction_is_not_it() {
    let other = Place { number: 1, ..at(10, 0) };
    let later = Place { time_ms: Some(8), ..at(10, 0) };
    for event in [other, later, at(10, 64), at(11, 0), at(9, 0)] {
        assert!(!found(&[at(10, 0), at(12, 0)]).has(&event, PARTITION), "{event:?}");
    }
    let untimed = Place { time_ms: None, ..at(10, 0) };
    assert!(found(&[untimed]).has(&at(10, 0), PARTITION), "the topic does not keep times");
}

#[test]
fn what_does_not_fit_is_sent_again() {
    let mut repeats = Repeats::default();
    for k in 0..=BLOCKS_MAX as u64 {
        repeats.note(&at(10, k * BLOCK));
        repeats.note(&at(10, k * BLOCK + 1));
    }
    assert!(repeats.is_full());
    assert!(repeats.has(&at(10, (BLOCKS_MAX as u64 - 1) * BLOCK + 1), PARTITION));
    assert!(!repeats.has(&at(10, BLOCKS_MAX as u64 * BLOCK), PARTITION));
}

proptest! {
    /// Whatever is found: what a partition holds with what is sent behind it has every event, and ends as the source does.
    #[test]
    fn nothing_is_lost_and_the_newest_is_last(
        replay in prop::collection::btree_set((1..4u64, 0..100u64), 1..40),
        there in prop::collection::vec(any::<bool>(), 40),
        keys in 1..4u64,
    ) {
        let replay: Vec<Place> = replay.into_iter().map(|(lsn, k)| at(lsn, k)).collect();
        let log: Vec<Place> = replay.iter().zip(&there).filter(|(_, there)| **there).map(|(event, _)| *event).collect();
        let mut repeats = found(&log);
        let sent = replay.iter().copied().filter(|event| !repeats.has(event, PARTITION));
        let log: Vec<Place> = log.iter().copied().chain(sent).collect();
        for event in &replay {
            prop_assert!(log.contains(event));
        }
        for key in 0..keys {
            let newest = |events: &[Place]| events.iter().rev().find(|event| event.k % keys == key).copied();
            prop_assert_eq!(newest(&log), newest(&replay));
        }
    }
}
