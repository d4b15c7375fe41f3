use super::*;
use crate::kafka::Bounds;

fn offsets(of: &[(&str, &[i64])]) -> Offsets {
    of.iter().map(|(topic, offsets)| ((*topic).to_owned(), offsets.to_vec())).collect()
}

fn checkpoint(acknowledged: Option<Offsets>) -> Checkpoint {
    Checkpoint {
        version: 1,
        epoch: 0,
        next_lsn: Lsn(100),
        timeline: 1,
        system_identifier: "one".to_owned(),
        delivery: Delivery::AtLeastOnce,
        partitions: BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]),
        mapping: "m".to_owned(),
        partial: None,
        unseen: None,
        acknowledged,
    }
}

fn bounds(of: &[(&str, &[(i64, i64)])]) -> AllBounds {
    let both = |(low, high): &(i64, i64)| Bounds { low: *low, high: *high };
    of.iter().map(|(topic, of)| ((*topic).to_owned(), of.iter().map(both).collect())).collect()
}

fn tail(topic: &str, partition: i32, from: i64, to: i64) -> Tail {
    Tail { topic: topic.to_owned(), partition, from, to }
}

const BOUNDS: &[(&str, &[(i64, i64)])] = &[("a", &[(0, 10), (0, 20)]), ("b", &[(0, 30)])];

#[test]
fn each_partition_is_read_from_what_was_acknowledged_to_its_end() {
    let old = checkpoint(Some(offsets(&[("a", &[7, 20]), ("b", &[0])])));
    let bounds = bounds(BOUNDS);
    let from = from(&old, &old, &bounds).unwrap();
    assert_eq!(Some(&from), old.acknowledged.as_ref(), "a start that finds the same writes nothing");
    assert_eq!(tails(&from, &bounds), [tail("a", 0, 7, 10), tail("b", 0, 0, 30)]);
}

#[test]
fn where_the_replay_may_yield_other_events_nothing_is_left_out() {
    let old = checkpoint(Some(offsets(&[("a", &[7, 20]), ("b", &[0])])));
    let mapping = Checkpoint { mapping: "n".to_owned(), ..old.clone() };
    let partitions = Checkpoint { partitions: BTreeMap::from([("a".to_owned(), 3)]), ..old.clone() };
    for now in [mapping, partitions] {
        assert_eq!(from(&old, &now, &bounds(BOUNDS)), None);
    }
    assert_eq!(from(&checkpoint(None), &old, &bounds(BOUNDS)), None, "nor where nothing was noted");
}

#[test]
fn a_topic_that_was_made_anew_is_read_whole_and_an_emptied_one_as_far_as_it_is_there() {
    let old = checkpoint(Some(offsets(&[("a", &[7, 20]), ("b", &[5])])));
    let bounds = bounds(&[("a", &[(0, 3), (25, 30)]), ("b", &[(9, 9)])]);
    let from = from(&old, &old, &bounds).unwrap();
    assert_eq!(from, offsets(&[("a", &[0, 20]), ("b", &[5])]));
    assert_eq!(tails(&from, &bounds), [tail("a", 0, 0, 3), tail("a", 1, 25, 30)]);
}

#[test]
fn what_was_never_noted_of_a_partition_is_not_looked_for() {
    let old = checkpoint(Some(offsets(&[("a", &[7])])));
    let bounds = bounds(BOUNDS);
    let from = from(&old, &old, &bounds).unwrap();
    assert_eq!(from, offsets(&[("a", &[7, 20]), ("b", &[30])]));
    assert_eq!(tails(&from, &bounds), [tail("a", 0, 7, 10)]);
}

#[test]
fn ends_are_noted_where_they_are_of_use() {
    let all = bounds(BOUNDS);
    assert_eq!(ends(&all, true), Some(offsets(&[("a", &[10, 20]), ("b", &[30])])));
    assert_eq!(ends(&all, false), None);
    let many = vec![(0, 1); PARTITIONS_MAX + 1];
    assert_eq!(ends(&bounds(&[("a", &many)]), true), None);
}
