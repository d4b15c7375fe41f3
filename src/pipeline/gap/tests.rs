//! What is lost, what is kept and where it goes on, for each halt.

use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::judge::{SlotFacts, TimelineSwitch};
use crate::checkpoint::record::Delivery;

const AT: Lsn = Lsn(0x1000);

fn state() -> State {
    let checkpoint = Checkpoint {
        version: 1,
        epoch: 4,
        next_lsn: AT,
        timeline: 2,
        system_identifier: "one".to_owned(),
        delivery: Delivery::ExactlyOnce,
        partitions: BTreeMap::new(),
        mapping: String::new(),
        partial: None,
        unseen: None,
        acknowledged: None,
    };
    State { checkpoint: Some(checkpoint), ..State::default() }
}

fn slot(at: u64) -> Option<SlotFacts> {
    Some(SlotFacts { confirmed_flush: Lsn(at), lost: None, mismatch: None })
}

fn facts() -> SourceFacts {
    SourceFacts {
        slot_name: "s".to_owned(),
        slot: slot(0xF00),
        holder: None,
        system_identifier: "one".to_owned(),
        timeline: 2,
        flush_lsn: Lsn(0x2000),
        history: Vec::new(),
        adopt_slot: false,
    }
}

fn gap(facts: &SourceFacts) -> Gap {
    Gap::of(facts, &state()).unwrap().unwrap()
}

fn lines(gap: &Gap) -> Vec<String> {
    let text = gap.to_string();
    let told = text.lines().filter(|line| line.starts_with("never") || line.starts_with("published"));
    told.map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn what_streams_has_no_gap_and_a_first_start_has_none() {
    assert!(Gap::of(&facts(), &state()).unwrap().is_none());
    assert!(Gap::of(&facts(), &State::default()).unwrap().is_none());
}

#[test]
fn a_slot_ahead_is_used_from_where_it_stands() {
    let ahead = gap(&SourceFacts { slot: slot(0x1800), ..facts() });
    assert_eq!(lines(&ahead), ["what was committed from 0/1000 to 0/1800"]);
    let after = ahead.after(Lsn(0x1800));
    assert_eq!((after.epoch, after.next_lsn, after.timeline), (5, Lsn(0x1800), 2));
}

#[test]
fn a_missing_or_lost_slot_is_made_anew() {
    let missing = gap(&SourceFacts { slot: None, ..facts() });
    assert_eq!(
        (missing.slot, lines(&missing)),
        (Slot::Create, vec!["what was committed from 0/1000 to the new slot's consistent point".to_owned()])
    );
    let lost = Some(SlotFacts { lost: Some("gone".to_owned()), ..slot(0xF00).unwrap() });
    let lost = gap(&SourceFacts { slot: lost, ..facts() });
    assert_eq!((lost.slot, lost.after(Lsn(0x1900)).next_lsn), (Slot::Replace, Lsn(0x1900)));
}

#[test]
fn a_fork_that_is_known_goes_on_where_it_forked() {
    let history = vec![TimelineSwitch { timeline: 2, switch_lsn: Lsn(0xF80) }];
    let forked = gap(&SourceFacts { timeline: 3, history: history.clone(), ..facts() });
    assert_eq!(forked.after(Lsn(0xF00)).next_lsn, Lsn(0xF80), "what lies before was published");
    assert_eq!(
        lines(&forked),
        ["nothing is lost", "events of what was committed from 0/F80 to 0/1000 stay; this server does not have it"]
    );
    let behind = gap(&SourceFacts { timeline: 3, history, slot: slot(0xFC0), ..facts() });
    assert_eq!(lines(&behind)[0], "what was committed from 0/F80 to 0/FC0");
}

#[test]
fn a_fork_that_is_not_known_repeats_rather_than_loses() {
    let restored = gap(&SourceFacts { flush_lsn: Lsn(0xF10), ..facts() });
    assert_eq!(restored.halt().kind(), Kind::ServerBehind);
    assert_eq!(restored.after(Lsn(0xF00)).next_lsn, Lsn(0xF00));
    assert!(lines(&restored)[1].contains("comes again, with other ids"), "{restored}");
    let other = gap(&SourceFacts { system_identifier: "two".to_owned(), timeline: 1, ..facts() });
    let after = other.after(Lsn(0xF00));
    assert_eq!((after.system_identifier.as_str(), after.timeline, after.next_lsn), ("two", 1, Lsn(0xF00)));
}

#[test]
fn a_slot_of_somebody_elses_is_no_way_out() {
    let mismatch = Some(SlotFacts { mismatch: Some("it is a physical slot".to_owned()), ..slot(0xF00).unwrap() });
    let refused = |system: &str| {
        let facts = SourceFacts { slot: mismatch.clone(), system_identifier: system.to_owned(), ..facts() };
        Gap::of(&facts, &state()).unwrap_err().kind()
    };
    assert_eq!((refused("one"), refused("two")), (Kind::SlotMismatch, Kind::SlotMismatch));
}

#[test]
fn only_what_was_shown_is_accepted() {
    let shown = gap(&SourceFacts { slot: slot(0x1800), ..facts() });
    assert!(shown.is_still(&gap(&SourceFacts { slot: slot(0x1800), flush_lsn: Lsn(0x9000), ..facts() })));
    assert!(!shown.is_still(&gap(&SourceFacts { slot: slot(0x1801), ..facts() })));
    assert!(!shown.is_still(&gap(&SourceFacts { slot: None, ..facts() })));
}
