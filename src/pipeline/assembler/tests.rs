//! What a row costs of the allocator: nothing, from received bytes to encoded records.

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
    Assembler::new(&plan, 0, Ledger::new(Lsn(1), None), relations, emitter, usize::MAX)
}

/// Orders are placed and paid, in transactions, which leave as one unit; how many records that are.
fn publish(assembler: &mut Assembler, messages: &[Vec<u8>], first_lsn: u64) -> usize {
    let mut records = 0;
    for transaction in 0..TRANSACTIONS {
        let lsn = first_lsn + 2 * transaction;
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
    assembler
        .flush(&mut |unit| {
            records += unit.batch.records.len();
            Ok(())
        })
        .unwrap();
    records
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
