//! What a row costs of the allocator: nothing, from received bytes to encoded records; and what leaves as one unit.

#[path = "../../../tests/support/order/messages.rs"]
mod messages;

use std::path::Path;
use std::sync::Arc;

use self::messages::{STATES, insert, is_status, paid, relation};
use super::Assembler;
use crate::checkpoint::ledger::Ledger;
use crate::connector::{self, Plan};
use crate::contract::Repository;
use crate::encode::headers::HeaderMode;
use crate::model::{ColumnType, Lsn, Relation};
use crate::pipeline::emit::Emitter;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::programs::ContractIds;
use crate::pipeline::relations::Relations;
use crate::pipeline::unit::{Unit, UnitKind};

const TRANSACTIONS: u64 = 300;
const ROWS: u64 = 10;

fn plan() -> Arc<Plan> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (repository, faults) = Repository::load(&root.join("schemas"));
    assert!(faults.is_empty());
    Arc::new(connector::load(&root.join("connectors/oms.toml"), &repository, "").unwrap().plan)
}

fn assembler(mode: HeaderMode) -> Assembler {
    let plan = plan();
    let enrich = |relation: &mut Relation| {
        for column in &mut relation.columns {
            column.in_key = column.name == "id";
            if is_status(column.type_oid) {
                column.kind = ColumnType::Enum(STATES.map(str::to_owned).to_vec());
            }
        }
        Ok(())
    };
    let ids = ContractIds { values: vec![1; plan.events.len()], keys: vec![None; plan.topics.len()] };
    let metrics = Arc::new(Metrics::new().unwrap().connector(&plan));
    let relations = Relations::new(plan.clone(), ids, 0, Box::new(enrich), metrics);
    let uris = vec!["http://registry/schemas/ids/1".to_owned(); plan.events.len()];
    let emitter = Emitter::new(plan.clone(), mode, &uris, vec![6; plan.topics.len()]);
    Assembler::new(0, Ledger::new(Lsn(1), None), relations, emitter, usize::MAX)
}

/// One transaction of orders that are placed and paid, committed at `lsn`, which ends at the next one.
fn transaction(assembler: &mut Assembler, messages: &[Vec<u8>], lsn: u64) {
    let mut begin = [b'B'; 21];
    begin[1..9].copy_from_slice(&lsn.to_be_bytes());
    assembler.message(&begin, &mut |_| Ok(())).unwrap();
    for number in 0..ROWS {
        assembler.message(&messages[number as usize % messages.len()], &mut |_| Ok(())).unwrap();
    }
    let mut commit = [0; 26];
    commit[0] = b'C';
    commit[2..10].copy_from_slice(&lsn.to_be_bytes());
    commit[10..18].copy_from_slice(&(lsn + 1).to_be_bytes());
    assembler.message(&commit, &mut |_| Ok(())).unwrap();
}

/// The units that leave: what each is, and how many records it has.
fn flushed(assembler: &mut Assembler) -> Vec<(UnitKind, usize)> {
    let mut units = Vec::new();
    let mut sink = |unit: Unit| {
        units.push((unit.kind, unit.batch.records.len()));
        Ok(())
    };
    assembler.flush(&mut sink).unwrap();
    units
}

/// Transactions leave as one unit; how many records that are.
fn publish(assembler: &mut Assembler, messages: &[Vec<u8>], first_lsn: u64) -> usize {
    (0..TRANSACTIONS).for_each(|number| transaction(assembler, messages, first_lsn + 2 * number));
    flushed(assembler).iter().map(|(_, records)| records).sum()
}

/// A server that has sent everything sends a keepalive behind each transaction until they are confirmed: a unit for each
/// would fill the committer's channel while Kafka is slower than the source.
#[test]
fn keepalives_between_transactions_cut_no_unit() {
    let messages = [insert(), paid()];
    let mut assembler = assembler(HeaderMode::Core);
    assembler.message(&relation(), &mut |_| Ok(())).unwrap();
    for lsn in [10, 20, 30] {
        transaction(&mut assembler, &messages, lsn);
        assembler.keepalive(Lsn(lsn + 5), false).unwrap();
    }
    let whole = |next_lsn| UnitKind::Whole { next_lsn: Lsn(next_lsn) };
    let progress = |next_lsn, reply_requested| UnitKind::Progress { next_lsn: Lsn(next_lsn), reply_requested };
    let rows = ROWS as usize;
    assert_eq!(flushed(&mut assembler), [(whole(35), 3 * rows)]);
    assert_eq!(flushed(&mut assembler), []);
    assembler.keepalive(Lsn(40), false).unwrap();
    assembler.keepalive(Lsn(41), false).unwrap();
    assert_eq!(flushed(&mut assembler), [(progress(41, false), 0)]);
    assembler.keepalive(Lsn(41), false).unwrap();
    assert_eq!(flushed(&mut assembler), [], "nothing has moved");
    assembler.keepalive(Lsn(41), true).unwrap();
    assert_eq!(flushed(&mut assembler), [(progress(41, true), 0)]);
    transaction(&mut assembler, &messages, 50);
    assembler.keepalive(Lsn(55), true).unwrap();
    transaction(&mut assembler, &messages, 60);
    assert_eq!(flushed(&mut assembler), [(whole(61), 2 * rows), (progress(61, true), 0)]);
}

/// Of a backlog, transactions may wait for others; of what was just committed none may.
#[test]
fn what_was_sent_long_after_its_commit_is_a_backlog() {
    let messages = [insert(), paid()];
    let mut assembler = assembler(HeaderMode::Core);
    assembler.message(&relation(), &mut |_| Ok(())).unwrap();
    transaction(&mut assembler, &messages, 10);
    let committed_us = i64::from_be_bytes([b'B'; 8]);
    for (after_us, behind) in [(Some(199_999), false), (Some(200_000), true), (None, false), (Some(i64::MAX), true)] {
        assembler.sent(after_us.map(|after_us| committed_us.saturating_add(after_us)));
        assert_eq!(assembler.is_behind(), behind, "{after_us:?}");
    }
    assembler
        .flush(&mut |unit: Unit| {
            assert!(unit.behind);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_row_allocates_nothing() {
    let messages = [insert(), paid()];
    for mode in [HeaderMode::Core, HeaderMode::CloudEvents] {
        let mut assembler = assembler(mode);
        assembler.message(&relation(), &mut |_| Ok(())).unwrap();
        let all = (TRANSACTIONS * ROWS) as usize;
        // Each row is published once, so none of them is cheap for being left out.
        assert_eq!(publish(&mut assembler, &messages, 10), all);
        let counted = allocation_counter::measure(|| assert_eq!(publish(&mut assembler, &messages, 10_000), all));
        // The next batch, and the list of its transactions, which grows by doubling.
        assert!(counted.count_total <= 20, "{mode:?}: {} allocations for {all} rows", counted.count_total);
    }
}
