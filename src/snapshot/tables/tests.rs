use super::*;
use crate::model::Leaf;
use crate::snapshot::{Bound, Chunk, LeftOut, Offer, Part, Wait};

const REFERENCE: u64 = 1 << 32;
const KEY: &[u8] = b"k";

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

fn request(variant: Variant) -> Request {
    Request { variant, filter: None, asked_us: 1 }
}

/// The records that Kafka has, by key.
#[derive(Default)]
struct Topic(BTreeMap<String, Vec<u8>>);

impl Topic {
    fn take(&mut self, entries: Vec<Entry>) {
        for Entry { key, value } in entries {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }

    fn load(&self, unseen: &BTreeMap<String, Vec<u64>>, next_lsn: u64) -> Snapshot {
        let records = self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        Snapshot::load(records, unseen, Lsn(next_lsn), REFERENCE).unwrap()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// A snapshot that sees everything below `xmax`, counted from the reference.
fn below(xmax: u64) -> PgSnapshot {
    format!("{0}:{0}:", REFERENCE + xmax).parse().unwrap()
}

fn bound(text: &str) -> Bound {
    Bound(vec![text.to_owned()])
}

/// A table that may be read, with what was written for it.
fn asked(variant: Variant) -> (Snapshot, Topic) {
    let mut topic = Topic::default();
    let mut snapshot = topic.load(&BTreeMap::new(), 0);
    let (table, entries) = snapshot.ask(name("t"), request(variant)).unwrap();
    assert_eq!((table, snapshot.next_chunk()), (0, None), "there is no X0");
    topic.take(entries);
    topic.take(snapshot.set_x0(table, REFERENCE + 10).unwrap());
    (snapshot, topic)
}

/// Gets a chunk up to `upper`, reads it with a snapshot that sees what is below `xmax`; the log ends at `lsn`.
fn read(snapshot: &mut Snapshot, upper: Option<&str>, xmax: u64, lsn: u64) -> RangeId {
    let Chunk { range, .. } = snapshot.next_chunk().unwrap();
    if let Some(upper) = upper {
        assert_eq!(snapshot.split(range, bound(upper)), Some(bound(upper)));
    }
    assert_eq!(snapshot.offer(range, below(xmax), 7), Offer::Accepted);
    assert_eq!(snapshot.wait(range), Wait::Rows);
    snapshot.read(range, Lsn(lsn));
    range
}

fn judge(snapshot: &mut Snapshot, xid: u32, range: RangeId) -> Verdict {
    snapshot.begin(xid);
    let version = snapshot.bounds(range.table).version;
    snapshot.judge(Place { range, version }, Some(KEY))
}

#[test]
fn a_table_is_read_chunk_by_chunk_and_forgotten() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    assert!(!snapshot.is_idle() && snapshot.judges(0));
    let first = read(&mut snapshot, Some("m"), 20, 100);
    assert_eq!(snapshot.wait(first), Wait::Flush(Lsn(100)));
    snapshot.flushed(first, Lsn(100));
    assert_eq!(judge(&mut snapshot, 19, first), Verdict::Covered);
    assert_eq!(judge(&mut snapshot, 20, first), Verdict::Hold(first));
    topic.take(snapshot.publish(first, 5).unwrap());
    assert_eq!(judge(&mut snapshot, 20, first), Verdict::Publish);
    assert_eq!((snapshot.remembered_max(), snapshot.rows(0)), (Some(Lsn(100)), 5));

    // A crash: what is published is not read again.
    let mut snapshot = topic.load(&snapshot.unseen(), 50);
    assert_eq!((snapshot.remembered_max(), snapshot.rows(0)), (Some(Lsn(100)), 5));
    assert_eq!(judge(&mut snapshot, 19, first), Verdict::Covered);
    let chunk = snapshot.next_chunk().unwrap();
    assert_eq!((chunk.lower.clone(), chunk.upper.clone()), (Some(bound("m")), None));
    assert_eq!(snapshot.next_chunk(), None, "it is taken");
    snapshot.failed(chunk.range);

    topic.take(snapshot.advance(Lsn(100)).unwrap());
    assert_eq!((snapshot.remembered_max(), judge(&mut snapshot, 19, first)), (None, Verdict::Publish));
    let last = read(&mut snapshot, None, 30, 90);
    topic.take(snapshot.publish(last, 6).unwrap());
    assert!(snapshot.is_idle(), "the stream has passed both");
    assert_eq!((snapshot.state(0), snapshot.rows(0)), (Some(State::Done), 11));
    assert_eq!(topic.keys(), ["progress/public.t"]);
    let snapshot = topic.load(&BTreeMap::new(), 100);
    assert_eq!((snapshot.is_idle(), snapshot.state(0), snapshot.rows(0)), (true, Some(State::Done), 11));
    assert_eq!((snapshot.table(&name("t")), snapshot.table(&name("u"))), (Some(0), None));
}

#[test]
fn a_flush_position_counts_for_its_own_reading_only() {
    let (mut snapshot, _) = asked(Variant::Initial);
    let first = read(&mut snapshot, Some("m"), 20, 100);
    let rest = read(&mut snapshot, None, 20, 90);
    // The other worker's connection may be of the server after a crash, which has written other contents up to here.
    snapshot.flushed(rest, Lsn(500));
    assert_eq!((snapshot.wait(first), snapshot.wait(rest)), (Wait::Flush(Lsn(100)), Wait::Ready));
    assert!(snapshot.publish(first, 1).is_err());
    snapshot.flushed(first, Lsn(99));
    assert_eq!(snapshot.wait(first), Wait::Flush(Lsn(100)));
    // A reading that was given back leaves nothing to the next one of its range.
    snapshot.flushed(first, Lsn(100));
    assert_eq!(snapshot.wait(first), Wait::Ready);
    snapshot.failed(first);
    snapshot.flushed(first, Lsn(500));
    assert_eq!(read(&mut snapshot, None, 21, 110), first);
    assert_eq!(snapshot.wait(first), Wait::Flush(Lsn(110)));
    // What the stream has passed is flushed for whoever read it.
    snapshot.advance(Lsn(110)).unwrap();
    assert_eq!(snapshot.wait(first), Wait::Ready);
}

#[test]
fn a_snapshot_must_see_what_was_left_to_its_range() {
    let (mut snapshot, _) = asked(Variant::Initial);
    let Chunk { range, .. } = snapshot.next_chunk().unwrap();
    let oldest = REFERENCE + 9;
    assert_eq!(snapshot.offer(range, below(9), 7), Offer::NoX0, "X0's own transaction has ended");
    assert_eq!((snapshot.without_x0().collect::<Vec<_>>(), snapshot.next_chunk()), (vec![0], None));
    snapshot.set_x0(0, REFERENCE + 10).unwrap();
    let Chunk { range, .. } = snapshot.next_chunk().unwrap();
    let early = format!("{oldest}:{}:{oldest}", REFERENCE + 12).parse().unwrap();
    assert_eq!(snapshot.offer(range, early, 7), Offer::NotYet { oldest, x0: REFERENCE + 10 });
    assert_eq!(judge(&mut snapshot, 20, range), Verdict::Covered);
    assert_eq!(snapshot.unseen().get("public.t"), Some(&vec![REFERENCE + 20]));
    assert!(Arc::ptr_eq(&snapshot.unseen(), &snapshot.unseen()), "no copy where nothing has changed");
    assert_eq!(snapshot.offer(range, below(20), 7), Offer::Unseen(vec![REFERENCE + 20]));
    snapshot.prune(below(21));
    assert!(snapshot.unseen().is_empty());
    assert_eq!(snapshot.offer(range, below(20), 7), Offer::Stale, "it does not see what was pruned");
    assert_eq!(snapshot.offer(range, below(21), 7), Offer::Accepted);
    assert_eq!(snapshot.offer(range, below(22), 7), Offer::Discard, "it is being read");
}

#[test]
fn unseen_xids_outlive_a_crash() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    let first = read(&mut snapshot, Some("m"), 20, 100);
    snapshot.flushed(first, Lsn(100));
    topic.take(snapshot.publish(first, 5).unwrap());
    let rest = snapshot.next_chunk().unwrap().range;
    assert_eq!(judge(&mut snapshot, 25, rest), Verdict::Covered);
    let mut snapshot = topic.load(&snapshot.unseen(), 50);
    let rest = snapshot.next_chunk().unwrap().range;
    assert_eq!(snapshot.offer(rest, below(25), 7), Offer::Unseen(vec![REFERENCE + 25]));
}

#[test]
fn a_place_is_valid_until_its_range_is_split() {
    let (mut snapshot, _) = asked(Variant::Initial);
    let before = snapshot.bounds(0);
    let whole = before.parts[0].ranges[0].0;
    let chunk = snapshot.next_chunk().unwrap();
    snapshot.split(chunk.range, bound("m")).unwrap();
    snapshot.begin(20);
    assert_eq!(snapshot.judge(Place { range: whole, version: before.version }, Some(KEY)), Verdict::Locate);
    let after = snapshot.bounds(0);
    let [Part { leaf: None, ranges }] = &after.parts[..] else { panic!("it is not divided") };
    assert_eq!(ranges.iter().map(|(_, lower)| lower.clone()).collect::<Vec<_>>(), [None, Some(bound("m"))]);
    let rest = Place { range: ranges[1].0, version: after.version };
    assert_eq!(snapshot.judge(rest, Some(KEY)), Verdict::Covered);
    let next = snapshot.next_chunk().unwrap();
    assert_eq!(next.range, rest.range, "the next worker goes on before the first is done");
    snapshot.split(next.range, bound("s")).unwrap();
    let first = Place { range: whole, version: after.version };
    assert_eq!(snapshot.judge(first, Some(KEY)), Verdict::Covered, "another range was split");
    assert_eq!(snapshot.judge(rest, Some(KEY)), Verdict::Locate);
}

#[test]
fn a_backfill_publishes_everything_and_leaves_out_what_it_read_too_early() {
    let (mut snapshot, mut topic) = asked(Variant::Backfill);
    let range = snapshot.next_chunk().unwrap().range;
    assert_eq!(judge(&mut snapshot, 15, range), Verdict::Publish);
    snapshot.failed(range);
    let range = read(&mut snapshot, None, 20, 100);
    snapshot.flushed(range, Lsn(100));
    assert_eq!(snapshot.wait(range), Wait::Stream(Lsn(100)));
    assert_eq!(judge(&mut snapshot, 19, range), Verdict::Publish);
    assert_eq!(snapshot.left_out(range), Some(&LeftOut::Keys(Default::default())));
    assert_eq!(judge(&mut snapshot, 20, range), Verdict::Publish);
    assert_eq!(snapshot.left_out(range), Some(&LeftOut::Keys([KEY.into()].into())));
    assert_eq!(snapshot.unseen()["public.t"], [REFERENCE + 20], "in case the chunk fails");
    assert_eq!(snapshot.truncate(0), Verdict::Publish);
    assert_eq!(snapshot.left_out(range), Some(&LeftOut::Every));
    snapshot.advance(Lsn(100)).unwrap();
    topic.take(snapshot.publish(range, 0).unwrap());
    assert!(snapshot.is_idle() && snapshot.remembered_max().is_none());
    assert_eq!(topic.keys(), ["progress/public.t"]);
}

#[test]
fn a_backfill_that_leaves_out_too_much_reads_again() {
    let (mut snapshot, _) = asked(Variant::Backfill);
    let range = read(&mut snapshot, None, 20, 100);
    snapshot.advance(Lsn(100)).unwrap();
    snapshot.begin(20);
    for key in 0..200_000_u32 {
        let place = Place { range, version: 0 };
        assert_eq!(snapshot.judge(place, Some(&key.to_be_bytes())), Verdict::Publish);
    }
    assert_eq!(snapshot.wait(range), Wait::Discard);
    assert!(snapshot.publish(range, 0).is_err());
    snapshot.failed(range);
    assert_eq!(snapshot.next_chunk().unwrap().range, range);
    assert_eq!(snapshot.offer(range, below(20), 7), Offer::Unseen(vec![REFERENCE + 20]));
}

#[test]
fn a_truncate_waits_for_those_that_do_not_see_it() {
    let (mut snapshot, _) = asked(Variant::Initial);
    let first = read(&mut snapshot, Some("m"), 20, 100);
    snapshot.flushed(first, Lsn(200));
    snapshot.begin(20);
    assert_eq!(snapshot.truncate(0), Verdict::Hold(first));
    snapshot.publish(first, 1).unwrap();
    // The other range sees the truncate: its rows must not come before it.
    let chunk = snapshot.next_chunk().unwrap();
    assert_eq!(snapshot.offer(chunk.range, below(21), 8), Offer::Accepted);
    snapshot.read(chunk.range, Lsn(120));
    snapshot.flushed(chunk.range, Lsn(120));
    assert_eq!(snapshot.wait(chunk.range), Wait::Stream(Lsn(120)));
    assert_eq!(snapshot.truncate(0), Verdict::Publish);
    snapshot.advance(Lsn(120)).unwrap();
    assert_eq!(snapshot.wait(chunk.range), Wait::Ready);
}

#[test]
fn a_cancelled_table_is_published_once_what_was_read_is_passed() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    let first = read(&mut snapshot, Some("m"), 20, 100);
    snapshot.flushed(first, Lsn(100));
    topic.take(snapshot.publish(first, 4).unwrap());
    let rest = read(&mut snapshot, None, 30, 110);
    topic.take(snapshot.cancel(0).unwrap());
    assert_eq!(snapshot.wait(rest), Wait::Discard);
    let mut after_crash = topic.load(&BTreeMap::new(), 50);
    for snapshot in [&mut snapshot, &mut after_crash] {
        assert_eq!(snapshot.state(0), Some(State::Cancelled));
        let [first, rest] = snapshot.bounds(0).parts[0].ranges.iter().map(|(id, _)| *id).collect::<Vec<_>>()[..] else {
            panic!("two ranges are left")
        };
        assert_eq!(judge(snapshot, 19, first), Verdict::Covered);
        assert_eq!(judge(snapshot, 40, rest), Verdict::Covered, "a truncate may be on its way");
        assert_eq!(snapshot.next_chunk(), None);
        assert!(snapshot.ask(name("t"), request(Variant::Backfill)).is_err(), "the old one is not through");
    }
    assert_eq!(snapshot.unseen().len(), 1);
    topic.take(snapshot.advance(Lsn(100)).unwrap());
    assert!(snapshot.is_idle() && snapshot.unseen().is_empty());
    assert_eq!(judge(&mut snapshot, 40, rest), Verdict::Publish);
    assert_eq!(topic.keys(), ["progress/public.t"]);
    assert_eq!(topic.load(&BTreeMap::new(), 100).rows(0), 4);
    let (again, _) = snapshot.ask(name("t"), request(Variant::Backfill)).unwrap();
    assert_eq!((snapshot.state(0), snapshot.state(again)), (None, Some(State::Running)));
}

#[test]
fn a_paused_table_hands_out_nothing_and_survives() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    topic.take(snapshot.pause(0).unwrap());
    assert_eq!(snapshot.next_chunk(), None);
    let mut snapshot = topic.load(&BTreeMap::new(), 0);
    assert_eq!((snapshot.state(0), snapshot.next_chunk()), (Some(State::Paused), None));
    topic.take(snapshot.resume(0).unwrap());
    assert!(snapshot.next_chunk().is_some());
}

#[test]
fn a_table_begins_anew_or_is_dropped() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    let (again, entries) = snapshot.restart_table(0).unwrap();
    topic.take(entries);
    assert_eq!(snapshot.request(again).unwrap().variant, Variant::Initial, "nothing was published");
    topic.take(snapshot.set_x0(again, REFERENCE + 10).unwrap());
    let first = read(&mut snapshot, Some("m"), 20, 100);
    snapshot.flushed(first, Lsn(100));
    topic.take(snapshot.publish(first, 4).unwrap());
    assert_eq!(topic.keys().len(), 2);
    let (again, entries) = snapshot.restart_table(again).unwrap();
    topic.take(entries);
    assert_eq!(snapshot.request(again).unwrap().variant, Variant::Backfill, "deletes of what was must be told");
    assert_eq!(topic.keys(), ["progress/public.t"]);
    assert_eq!(snapshot.without_x0().collect::<Vec<_>>(), [again], "what was published meanwhile must be visible");
    assert_eq!((snapshot.remembered_max(), snapshot.rows(again)), (None, 0));
    assert_eq!(snapshot.offer(first, below(30), 7), Offer::Discard, "of the old table");
    topic.take(snapshot.drop_table(again));
    assert!(snapshot.is_idle() && topic.keys().is_empty());
}

#[test]
fn damaged_progress_is_refused() {
    let load = |records: &[(&str, &str)]| {
        let records = records.iter().map(|(key, value)| (*key, value.as_bytes()));
        Snapshot::load(records, &BTreeMap::new(), Lsn(0), REFERENCE)
    };
    let orphan = load(&[("progress/public.t/5", r#"{"version":1,"lower":null,"upper":null,"rows":0}"#)]);
    assert_eq!(orphan.unwrap_err().kind(), Kind::CheckpointUnreadable);
    assert!(load(&[("progress/public.t", r#"{"version":2}"#)]).is_err());
}

#[test]
fn a_small_table_does_not_wait_until_a_large_one_is_read() {
    let (mut snapshot, mut topic) = asked(Variant::Initial);
    let large = read(&mut snapshot, Some("b"), 11, 50);
    let (small, entries) = snapshot.ask(name("small"), request(Variant::Initial)).unwrap();
    topic.take(entries);
    topic.take(snapshot.set_x0(small, REFERENCE + 10).unwrap());
    let first = snapshot.next_chunk().unwrap().range;
    assert_eq!((large.table(), first.table()), (0, small), "each table has a worker");
    snapshot.failed(first);
    snapshot.flushed(large, Lsn(50));
    topic.take(snapshot.publish(large, 100).unwrap());
    assert_eq!(snapshot.next_chunk().unwrap().range.table(), small, "less of it is read");
}

/// The leaves with these file nodes.
fn leaves(filenodes: [u32; 2]) -> Vec<Leaf> {
    let leaf = |filenode| Leaf { oid: filenode + 1_000, condition: format!("id % 2 = {}", filenode % 2), filenode };
    filenodes.map(leaf).to_vec()
}

/// A table of two leaves, divided by a snapshot that sees what is below 20, at 100.
fn divided(variant: Variant) -> (Snapshot, Topic) {
    let (mut snapshot, mut topic) = asked(variant);
    let chunk = snapshot.next_chunk().unwrap();
    assert!(chunk.is_undivided());
    let early = snapshot.divide(chunk.range, below(9), Lsn(100), leaves([7, 8])).unwrap();
    assert_eq!(early, (Offer::NoX0, vec![]), "it is a snapshot like any other");
    snapshot.set_x0(0, REFERENCE + 10).unwrap();
    let chunk = snapshot.next_chunk().unwrap();
    let (offer, entries) = snapshot.divide(chunk.range, below(20), Lsn(100), leaves([7, 8])).unwrap();
    assert_eq!(offer, Offer::Accepted);
    topic.take(entries);
    (snapshot, topic)
}

/// The first range of each part.
fn firsts(snapshot: &Snapshot) -> Vec<(Option<u32>, RangeId)> {
    let parts = snapshot.bounds(0).parts;
    parts.iter().map(|part| (part.leaf.as_ref().map(|leaf| leaf.filenode), part.ranges[0].0)).collect()
}

#[test]
fn a_partitioned_table_is_read_leaf_by_leaf() {
    let (mut snapshot, mut topic) = divided(Variant::Initial);
    let [(None, others), (Some(7), one), (Some(8), two)] = firsts(&snapshot)[..] else { panic!("not two leaves") };
    assert_eq!(snapshot.offer(others, below(30), 7), Offer::Discard);
    // The list is a reading of all other keys: what it sees is covered, and the rest is news.
    assert_eq!(
        (judge(&mut snapshot, 19, others), judge(&mut snapshot, 20, others)),
        (Verdict::Covered, Verdict::Publish)
    );
    assert_eq!((judge(&mut snapshot, 21, two), snapshot.remembered_max()), (Verdict::Covered, Some(Lsn(100))));

    let first = snapshot.next_chunk().unwrap();
    assert_eq!((first.range, first.leaf.map(|leaf| leaf.filenode)), (one, Some(7)));
    snapshot.split(one, bound("m")).unwrap();
    assert_eq!(snapshot.offer(one, below(22), 7), Offer::Accepted);
    snapshot.read(one, Lsn(110));
    snapshot.flushed(one, Lsn(110));
    assert_eq!(snapshot.wait(one), Wait::Ready, "a leaf that is what it was when it was listed");
    topic.take(snapshot.publish(one, 5).unwrap());
    let keys = ["", "/1.4294967296", "/4294967296", "/leaves"].map(|key| format!("progress/public.t{key}"));
    assert_eq!(topic.keys(), keys);

    let mut snapshot = topic.load(&snapshot.unseen(), 50);
    assert_eq!(firsts(&snapshot).into_iter().map(|(_, range)| range).collect::<Vec<_>>(), [others, one, two]);
    assert_eq!((judge(&mut snapshot, 19, others), judge(&mut snapshot, 21, one)), (Verdict::Covered, Verdict::Covered));
    topic.take(snapshot.advance(Lsn(110)).unwrap());
    assert_eq!(judge(&mut snapshot, 19, others), Verdict::Publish);
    for (upper, filenode) in [(Some("m"), 7), (None, 8)] {
        let chunk = snapshot.next_chunk().unwrap();
        assert_eq!((chunk.lower, chunk.leaf.map(|leaf| leaf.filenode)), (upper.map(bound), Some(filenode)));
        assert_eq!(snapshot.offer(chunk.range, below(30), filenode), Offer::Accepted);
        snapshot.read(chunk.range, Lsn(105));
        topic.take(snapshot.publish(chunk.range, 1).unwrap());
    }
    assert!(snapshot.is_idle());
    assert_eq!((snapshot.state(0), snapshot.rows(0), topic.keys()), (Some(State::Done), 7, vec!["progress/public.t"]));
}

#[test]
fn a_leaf_that_is_another_than_was_listed_waits_for_the_stream() {
    let (mut snapshot, _) = divided(Variant::Initial);
    let chunk = snapshot.next_chunk().unwrap();
    assert_eq!(snapshot.offer(chunk.range, below(22), 9), Offer::Accepted);
    snapshot.read(chunk.range, Lsn(110));
    snapshot.flushed(chunk.range, Lsn(110));
    assert_eq!(snapshot.wait(chunk.range), Wait::Stream(Lsn(110)));
    // A truncate is told: of the other keys there may be rows since the list was made.
    snapshot.begin(21);
    assert_eq!(snapshot.truncate(0), Verdict::Publish);
    snapshot.begin(19);
    assert_eq!(snapshot.truncate(0), Verdict::Covered);
    snapshot.advance(Lsn(110)).unwrap();
    assert_eq!(snapshot.wait(chunk.range), Wait::Ready);
}

#[test]
fn a_backfill_of_leaves_publishes_what_lies_in_none_of_them() {
    let (mut snapshot, mut topic) = divided(Variant::Backfill);
    let [(Some(7), one), (Some(8), _)] = firsts(&snapshot)[..] else { panic!("not two leaves") };
    assert_eq!((judge(&mut snapshot, 19, one), snapshot.remembered_max()), (Verdict::Publish, None));
    topic.take(snapshot.drop_table(0));
    assert!(topic.keys().is_empty());
}

#[test]
fn a_table_that_an_earlier_version_has_begun_goes_on_undivided() {
    let table = r#"{"version":1,"schema":"public","table":"t","variant":"initial","asked_us":5,"state":"running","x0":1,"identity":["id bigint"],"rows":7}"#;
    let range = r#"{"version":1,"lower":null,"upper":["5"],"rows":7}"#;
    let mut topic = Topic::default();
    topic.0.insert("progress/public.t".to_owned(), table.into());
    let mut untouched = topic.load(&BTreeMap::new(), 0);
    assert!(untouched.next_chunk().unwrap().is_undivided());
    topic.0.insert("progress/public.t/4294967296".to_owned(), range.into());
    let mut begun = topic.load(&BTreeMap::new(), 0);
    let chunk = begun.next_chunk().unwrap();
    assert!(!chunk.is_undivided());
    assert_eq!(begun.divide(chunk.range, below(20), Lsn(1), leaves([7, 8])).unwrap().0, Offer::Discard);
    // Without transactions a crash may leave the list alone: it was never divided.
    topic.0.insert("progress/public.t/leaves".to_owned(), br#"{"version":1,"leaves":[]}"#.to_vec());
    topic.0.remove("progress/public.t/4294967296");
    assert!(topic.load(&BTreeMap::new(), 0).next_chunk().unwrap().is_undivided());
    topic.0.insert("progress/public.t/3.4294967296".to_owned(), range.into());
    let records = topic.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    let orphan = Snapshot::load(records, &BTreeMap::new(), Lsn(0), REFERENCE).unwrap_err();
    assert!(orphan.to_string().contains("ranges of leaf 3"), "{orphan}");
}

/// What is asked of Postgres must not change with each leaf that is done.
#[test]
fn leaves_that_are_done_are_asked_for_no_longer_a_few_at_a_time() {
    let (mut snapshot, _) = asked(Variant::Initial);
    let chunk = snapshot.next_chunk().unwrap();
    let many = (1..=80).map(|oid| Leaf { oid, condition: String::new(), filenode: oid }).collect();
    assert_eq!(snapshot.divide(chunk.range, below(20), Lsn(0), many).unwrap().0, Offer::Accepted);
    let mut counts = Vec::new();
    while let Some(chunk) = snapshot.next_chunk() {
        let parts = snapshot.bounds(0).parts.len();
        if counts.last() != Some(&parts) {
            counts.push(parts);
        }
        let filenode = chunk.leaf.unwrap().filenode;
        assert_eq!(snapshot.offer(chunk.range, below(20), filenode), Offer::Accepted);
        snapshot.read(chunk.range, Lsn(0));
        snapshot.publish(chunk.range, 1).unwrap();
    }
    assert_eq!(counts, [80, 70, 60, 50, 40, 30, 20, 10]);
    assert_eq!(snapshot.rows(0), 80);
}
