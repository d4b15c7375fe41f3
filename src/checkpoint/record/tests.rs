use proptest::prelude::*;

use super::*;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        version: 1,
        epoch: 0,
        next_lsn: Lsn(0x16_B374_D848),
        timeline: 1,
        system_identifier: "7438201650283190321".to_owned(),
        delivery: Delivery::ExactlyOnce,
        partitions: BTreeMap::from([("oms.orders".to_owned(), 12)]),
        mapping: "ab12".to_owned(),
        partial: None,
        unseen: None,
        acknowledged: None,
    }
}

const GOLDEN: &str = concat!(
    r#"{"version":1,"epoch":0,"next_lsn":"16/B374D848","timeline":1,"system_identifier":"7438201650283190321","#,
    r#""delivery":"exactly_once","partitions":{"oms.orders":12},"mapping":"ab12"}"#
);

fn apply(state: &mut State, key: &str, value: Option<&str>) -> Result<()> {
    state.apply(Some(key.as_bytes()), value.map(str::as_bytes), 7)
}

#[test]
fn the_checkpoint_is_written_like_this() {
    assert_eq!(String::from_utf8(checkpoint().to_json().unwrap()).unwrap(), GOLDEN);
    let unseen = Some(BTreeMap::from([("t".to_owned(), vec![7])]));
    let pending = Checkpoint { unseen, ..checkpoint() }.to_json().unwrap();
    let pending = String::from_utf8(pending).unwrap();
    assert!(pending.starts_with(r#"{"version":2,"#) && pending.ends_with(r#","unseen":{"t":[7]}}"#), "{pending}");
    let acknowledged = Some(BTreeMap::from([("oms.orders".to_owned(), vec![0, 4711])]));
    let fast = String::from_utf8(Checkpoint { acknowledged, ..checkpoint() }.to_json().unwrap()).unwrap();
    assert!(
        fast.starts_with(r#"{"version":3,"#) && fast.ends_with(r#","acknowledged":{"oms.orders":[0,4711]}}"#),
        "{fast}"
    );
    let partial = Some(Partial { commit_lsn: Lsn(1), changes: 5 });
    let split = Checkpoint { partial, ..checkpoint() }.to_json().unwrap();
    assert!(String::from_utf8(split).unwrap().ends_with(r#","partial":{"commit_lsn":"0/1","changes":5}}"#));
    assert_eq!(
        String::from_utf8(Intent::new("s", "1").to_json().unwrap()).unwrap(),
        r#"{"version":1,"slot":"s","system_identifier":"1"}"#
    );
    assert_eq!(String::from_utf8(Takeover::new("0f").to_json().unwrap()).unwrap(), r#"{"version":1,"instance":"0f"}"#);
}

#[test]
fn the_newest_record_of_each_key_counts() {
    let mut state = State::default();
    apply(&mut state, "intent", Some(r#"{"version":1,"slot":"s","system_identifier":"1"}"#)).unwrap();
    apply(&mut state, "checkpoint", Some(&GOLDEN.replace("16/B374D848", "0/1"))).unwrap();
    apply(&mut state, "checkpoint", Some(GOLDEN)).unwrap();
    apply(&mut state, "intent", None).unwrap();
    apply(&mut state, "takeover", Some(r#"{"version":1,"instance":"a"}"#)).unwrap();
    apply(&mut state, "progress/public.orders/0", Some("anything")).unwrap();
    apply(&mut state, "progress/public.orders/1", Some("anything")).unwrap();
    apply(&mut state, "progress/public.orders/1", None).unwrap();
    apply(&mut state, "gone", None).unwrap();
    apply(&mut state, "audit/accept-gap/1", Some("anything")).unwrap();
    assert_eq!(state.checkpoint, Some(checkpoint()));
    assert_eq!(state.intent, None);
    assert_eq!(state.takeover, Some(Takeover::new("a")));
    assert_eq!(state.progress.keys().collect::<Vec<_>>(), ["progress/public.orders/0"]);
}

#[test]
fn a_late_checkpoint_of_an_instance_that_was_taken_over_does_not_count() {
    let mut state = State::default();
    let at = |next_lsn, epoch| Checkpoint { next_lsn: Lsn(next_lsn), epoch, ..checkpoint() };
    let mut apply = |checkpoint: &Checkpoint| {
        state.apply(Some(CHECKPOINT.as_bytes()), Some(&checkpoint.to_json().unwrap()), 0).unwrap();
        state.checkpoint.as_ref().map(|checkpoint| checkpoint.next_lsn.0)
    };
    assert_eq!(apply(&at(10, 1)), Some(10));
    assert_eq!(apply(&at(9, 1)), Some(10));
    assert_eq!(apply(&at(10, 1)), Some(10));
    assert_eq!(apply(&at(5, 2)), Some(5), "an operator's new epoch begins where he says");
    assert_eq!(apply(&at(11, 1)), Some(5), "and what was under way in the old one comes too late");
    let elsewhere = Checkpoint { system_identifier: "other".to_owned(), ..at(1, 2) };
    assert_eq!(apply(&elsewhere), Some(1));
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (key, value, detail) in [
        ("checkpoint", r#"{"version":4,"anything":1}"#, "format version 4 (this program reads up to 3)"),
        ("checkpoint", r#"{"version":0}"#, "format version 0"),
        ("checkpoint", "garbage", "a record that is damaged"),
        ("checkpoint", r#"{"version":1}"#, "a record that is damaged"),
        ("checkpoint", &GOLDEN.replace(r#""ab12"}"#, r#""ab12","more":1}"#), "damaged"),
        ("checkpoint", &GOLDEN.replace("16/B374D848", "5"), "damaged"),
        ("takeover", r#"{"version":1,"instance":"a","more":1}"#, "damaged"),
        ("other", "x", r#"a record of key "other""#),
        ("", "x", r#"a record of key """#),
    ] {
        let error = apply(&mut State::default(), key, Some(value)).unwrap_err();
        assert_eq!(error.kind(), Kind::CheckpointUnreadable, "{key} {value}");
        assert!(error.detail().starts_with("offset 7 of partition 0 holds "), "{error}");
        assert!(error.detail().contains(detail), "{error}");
    }
    let long = format!(r#"{{"version":1,"instance":"{}"}}"#, "x".repeat(BYTES_MAX));
    let error = apply(&mut State::default(), "takeover", Some(&long)).unwrap_err();
    assert_eq!(error.kind(), Kind::CheckpointUnreadable);
}

/// Records as each version has written them: an upgrade reads what was there before, whatever has become of the format.
/// These files are never edited; a new version adds its own.
#[test]
fn what_every_version_wrote_is_read() {
    let versions = [include_str!("golden/v1.txt"), include_str!("golden/v2.txt"), include_str!("golden/v3.txt")];
    assert_eq!(versions.len(), VERSION as usize, "the format has a new version: add its records");
    for (number, lines) in (1..).zip(versions) {
        let mut state = State::default();
        for line in lines.lines() {
            let (key, value) = line.split_once(' ').unwrap();
            assert!(key != CHECKPOINT || value.starts_with(&format!(r#"{{"version":{number},"#)), "{line}");
            apply(&mut state, key, Some(value)).unwrap();
        }
        let read = state.checkpoint.unwrap();
        let place = (read.epoch, read.next_lsn, read.timeline, read.system_identifier.as_str(), read.delivery);
        assert_eq!(place, (2, Lsn(0x16_B374_D848), 3, "7438201650283190321", Delivery::AtLeastOnce));
        assert_eq!(read.partial, Some(Partial { commit_lsn: Lsn(0x16_B374_D849), changes: 5 }));
        assert_eq!((read.partitions["oms.orders"], read.mapping.as_str()), (12, "ab12"));
        let unseen = BTreeMap::from([("public.orders".to_owned(), vec![731, 735])]);
        assert_eq!(read.unseen, (number >= 2).then_some(unseen));
        let acknowledged =
            ["oms.customers", "oms.orders"].map(str::to_owned).into_iter().zip([vec![7, 0, 9], vec![5; 12]]);
        assert_eq!(read.acknowledged, (number >= 3).then(|| acknowledged.collect()));
        assert_eq!(state.progress.len(), if number >= 2 { 2 } else { 0 });
        assert_eq!(state.intent.unwrap().slot, "walwright_oms");
        assert_eq!(state.takeover.unwrap().instance, "0f1e2d3c4b5a69788796a5b4c3d2e1f0");
    }
}

#[test]
fn a_split_transaction_at_the_end_of_all_positions_reaches_there() {
    let partial = Some(Partial { commit_lsn: Lsn(u64::MAX), changes: 5 });
    assert_eq!(Checkpoint { partial, ..checkpoint() }.reaches(), Lsn(u64::MAX));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(key in "checkpoint|intent|takeover|x", value in prop::collection::vec(any::<u8>(), 0..200)) {
        let result = State::default().apply(Some(key.as_bytes()), Some(&value), 0);
        prop_assert!(result.is_err());
    }

    #[test]
    fn what_is_written_is_read(epoch: u32, next: u64, timeline: u32, count in 1..1000i32, changes: Option<u64>) {
        let written = Checkpoint {
            epoch,
            next_lsn: Lsn(next),
            timeline,
            delivery: Delivery::AtLeastOnce,
            partitions: BTreeMap::from([("t".to_owned(), count)]),
            partial: changes.map(|changes| Partial { commit_lsn: Lsn(next), changes }),
            ..checkpoint()
        };
        let mut state = State::default();
        state.apply(Some(b"checkpoint"), Some(&written.to_json().unwrap()), 0).unwrap();
        prop_assert_eq!(state.checkpoint, Some(written));
    }
}
