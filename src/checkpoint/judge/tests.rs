//! One test for each row of the start table, and for the order in which the rows are judged.

use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::record::{Delivery, Partial};

const SYSTEM: &str = "7438201650283190321";
const NEXT: Lsn = Lsn(0x16B_3748);

fn checkpoint() -> Checkpoint {
    Checkpoint {
        version: 1,
        epoch: 0,
        next_lsn: NEXT,
        timeline: 2,
        system_identifier: SYSTEM.to_owned(),
        delivery: Delivery::ExactlyOnce,
        partitions: BTreeMap::new(),
        mapping: String::new(),
        partial: None,
        unseen: None,
        acknowledged: None,
    }
}

fn slot(confirmed_flush: Lsn) -> SlotFacts {
    SlotFacts { confirmed_flush, lost: None, mismatch: None }
}

fn facts<'a>(slot: Option<&'a SlotFacts>, checkpoint: Option<&'a Checkpoint>) -> Facts<'a> {
    Facts {
        slot_name: "walwright_oms",
        slot,
        checkpoint,
        intent: None,
        system_identifier: SYSTEM,
        timeline: 2,
        flush_lsn: Lsn(0x200_0000),
        history: &[],
        adopt_slot: false,
        read_lsn: None,
    }
}

#[track_caller]
fn assert_halt(facts: &Facts<'_>, kind: Kind, detail: &str) {
    let error = judge(facts).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.detail().contains(detail), "{error}");
}

#[test]
fn neither_slot_nor_checkpoint_is_a_first_start() {
    assert_eq!(judge(&facts(None, None)).unwrap(), Verdict::FirstStart);
    // An intent whose slot was never created changes nothing; nor does adopt_slot where there is nothing to adopt.
    let intent = Intent::new("walwright_oms", SYSTEM);
    assert_eq!(
        judge(&Facts { intent: Some(&intent), adopt_slot: true, ..facts(None, None) }).unwrap(),
        Verdict::FirstStart
    );
}

#[test]
fn our_own_slot_without_a_checkpoint_is_used_or_if_it_is_lost_dropped() {
    let (slot, intent) = (slot(NEXT), Intent::new("walwright_oms", SYSTEM));
    let crashed = Facts { intent: Some(&intent), ..facts(Some(&slot), None) };
    assert_eq!(judge(&crashed).unwrap(), Verdict::Adopt);
    let lost = SlotFacts { lost: Some("rows_removed".to_owned()), ..slot.clone() };
    assert_eq!(judge(&Facts { slot: Some(&lost), ..crashed.clone() }).unwrap(), Verdict::StartOver);
    // Whose slot it is cannot be told when adoption was asked for: it is not dropped.
    assert_halt(&Facts { slot: Some(&lost), adopt_slot: true, ..crashed.clone() }, Kind::SlotLost, "rows_removed");
    let foreign = SlotFacts { mismatch: Some("its plugin is test_decoding".to_owned()), ..slot.clone() };
    assert_halt(&Facts { slot: Some(&foreign), ..crashed }, Kind::SlotMismatch, "its plugin is test_decoding");
}

#[test]
fn a_slot_of_someone_else_needs_adopt_slot() {
    let slot = slot(NEXT);
    assert_halt(&facts(Some(&slot), None), Kind::SlotForeign, "walwright_oms");
    for intent in [Intent::new("other", SYSTEM), Intent::new("walwright_oms", "1")] {
        assert_halt(&Facts { intent: Some(&intent), ..facts(Some(&slot), None) }, Kind::SlotForeign, "did not create");
    }
    assert_eq!(judge(&Facts { adopt_slot: true, ..facts(Some(&slot), None) }).unwrap(), Verdict::Adopt);
    let lost = SlotFacts { lost: Some("wal_removed".to_owned()), ..slot };
    assert_halt(&Facts { adopt_slot: true, ..facts(Some(&lost), None) }, Kind::SlotLost, "wal_removed");
}

#[test]
fn a_missing_or_lost_slot_with_a_checkpoint_halts() {
    let checkpoint = checkpoint();
    assert_halt(&facts(None, Some(&checkpoint)), Kind::SlotMissing, "0/16B3748");
    let lost = SlotFacts { lost: Some("wal_removed".to_owned()), ..slot(NEXT) };
    assert_halt(&facts(Some(&lost), Some(&checkpoint)), Kind::SlotLost, "(wal_removed): changes from 0/16B3748 on");
    let other = SlotFacts { mismatch: Some("its plugin is test_decoding".to_owned()), ..slot(NEXT) };
    assert_halt(&facts(Some(&other), Some(&checkpoint)), Kind::SlotMismatch, "test_decoding");
    // adopt_slot heals no lost position, nor does an intent.
    let intent = Intent::new("walwright_oms", SYSTEM);
    let eager = Facts { adopt_slot: true, intent: Some(&intent), ..facts(None, Some(&checkpoint)) };
    assert_halt(&eager, Kind::SlotMissing, "walwright_oms");
}

#[test]
fn a_slot_at_or_behind_the_checkpoint_streams() {
    let checkpoint = checkpoint();
    for confirmed in [Lsn(1), Lsn(NEXT.0 - 1), NEXT] {
        assert_eq!(judge(&facts(Some(&slot(confirmed)), Some(&checkpoint))).unwrap(), Verdict::Stream);
    }
}

#[test]
fn a_slot_ahead_of_the_checkpoint_names_the_gap() {
    let checkpoint = checkpoint();
    let gap = "changes from 0/16B3748 to 0/16B4000 were not published";
    assert_halt(&facts(Some(&slot(Lsn(0x16B_4000))), Some(&checkpoint)), Kind::SlotAhead, gap);
    assert_halt(&facts(Some(&slot(Lsn(NEXT.0 + 1))), Some(&checkpoint)), Kind::SlotAhead, "0/16B3749");
}

/// Faults: ACK-14.
#[test]
fn a_server_whose_wal_ends_before_the_checkpoint_halts() {
    let (checkpoint, slot) = (checkpoint(), slot(Lsn(1)));
    let behind = Facts { flush_lsn: Lsn(NEXT.0 - 1), ..facts(Some(&slot), Some(&checkpoint)) };
    assert_halt(&behind, Kind::ServerBehind, "the checkpoint is at 0/16B3748, the server's WAL ends at 0/16B3747");
    let level = Facts { flush_lsn: NEXT, ..facts(Some(&slot), Some(&checkpoint)) };
    assert_eq!(judge(&level).unwrap(), Verdict::Stream);
    assert_halt(&Facts { slot: None, ..behind }, Kind::ServerBehind, "restored");
}

#[test]
fn another_cluster_halts_whatever_else_is_wrong() {
    let checkpoint = checkpoint();
    let other = Facts { system_identifier: "1", timeline: 1, flush_lsn: Lsn(1), ..facts(None, Some(&checkpoint)) };
    assert_halt(&other, Kind::SystemMismatch, "system identifier 7438201650283190321, this server has 1");
}

#[test]
fn a_promoted_server_goes_on_up_to_the_switch_point() {
    let (checkpoint, slot) = (checkpoint(), slot(NEXT));
    let on = |timeline, history| Facts { timeline, history, ..facts(Some(&slot), Some(&checkpoint)) };
    let switch = |timeline, lsn| TimelineSwitch { timeline, switch_lsn: Lsn(lsn) };
    let at = [switch(1, 0x10), switch(2, NEXT.0), switch(3, 0x180_0000)];
    assert_eq!(judge(&on(4, &at)).unwrap(), Verdict::Stream);
    let before = [switch(1, 0x10), switch(2, NEXT.0 - 1)];
    assert_halt(&on(3, &before), Kind::TimelineMismatch, "left at 0/16B3747, but the checkpoint is at 0/16B3748");
    let branched = [switch(1, 0x10)];
    assert_halt(&on(3, &branched), Kind::TimelineMismatch, "not in the history");
}

#[test]
fn a_part_of_a_transaction_that_a_promoted_server_lacks_halts() {
    let part = |commit_lsn| Checkpoint { partial: Some(Partial { commit_lsn, changes: 6 }), ..checkpoint() };
    let history = [TimelineSwitch { timeline: 2, switch_lsn: NEXT }];
    let (slot, lost, kept) = (slot(NEXT), part(NEXT), part(Lsn(NEXT.0 - 1)));
    let promoted = |checkpoint| Facts { timeline: 3, history: &history, ..facts(Some(&slot), Some(checkpoint)) };
    let detail = "left at 0/16B3748, but a part of the transaction committed at 0/16B3748 is on Kafka";
    assert_halt(&promoted(&lost), Kind::TimelineMismatch, detail);
    assert_eq!(judge(&promoted(&kept)).unwrap(), Verdict::Stream);
    let restored = Facts { flush_lsn: NEXT, ..facts(Some(&slot), Some(&lost)) };
    assert_halt(&restored, Kind::ServerBehind, "a part of the transaction committed at 0/16B3748 is on Kafka, the");
}

#[test]
fn a_server_left_behind_by_a_promotion_halts() {
    let checkpoint = checkpoint();
    let old = Facts { timeline: 1, flush_lsn: Lsn(1), ..facts(None, Some(&checkpoint)) };
    assert_halt(&old, Kind::TimelineMismatch, "on timeline 2, this server on 1");
}

#[test]
fn rows_that_were_read_behind_the_servers_end_halt() {
    let (checkpoint, slot) = (checkpoint(), slot(NEXT));
    let read = |lsn| Facts { read_lsn: Some(Lsn(lsn)), ..facts(Some(&slot), Some(&checkpoint)) };
    assert_eq!(judge(&read(0x200_0000)).unwrap(), Verdict::Stream);
    assert_halt(
        &read(0x200_0001),
        Kind::ServerBehind,
        "rows were read at 0/2000001, the server's WAL ends at 0/2000000",
    );
    let history = [TimelineSwitch { timeline: 2, switch_lsn: Lsn(0x180_0000) }];
    let promoted = |lsn| Facts { timeline: 3, history: &history, ..read(lsn) };
    assert_eq!(judge(&promoted(0x180_0000)).unwrap(), Verdict::Stream);
    let detail =
        "timeline 2 was left at 0/1800000, but rows were read at 0/1800001: what they show may not be on this server";
    assert_halt(&promoted(0x180_0001), Kind::TimelineMismatch, detail);
}
