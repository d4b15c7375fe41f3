//! The real assembler, with all that it needs, built quickly: once a thread what can be shared.

use std::sync::Arc;

use super::wire;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::repeats::Repeats;
use crate::connector::Plan;
use crate::encode::headers::HeaderMode;
use crate::model::{ColumnType, Relation};
use crate::pipeline::assembler::Assembler;
use crate::pipeline::emit::Emitter;
use crate::pipeline::metrics::{ConnectorMetrics, Metrics};
use crate::pipeline::programs::ContractIds;
use crate::pipeline::relations::Relations;

/// A transaction of three rows is a large one.
const LARGE_BYTES: usize = 110;

struct Shared {
    plans: [Arc<Plan>; 2],
    metrics: Arc<ConnectorMetrics>,
}

thread_local! {
    static SHARED: Shared = {
        let plans = [false, true].map(|split| Arc::new(wire::plan(split)));
        let metrics = Arc::new(Metrics::new().unwrap().connector(&plans[0]));
        Shared { plans, metrics }
    };
}

pub(super) fn assembler(split: bool, epoch: u32, ledger: Ledger, repeats: Repeats) -> Assembler {
    SHARED.with(|Shared { plans, metrics }| {
        let plan = &plans[usize::from(split)];
        let enrich = |relation: &mut Relation| {
            for column in &mut relation.columns {
                column.kind = ColumnType::builtin(column.type_oid, column.modifier).unwrap();
                column.in_key = column.in_identity;
            }
            Ok(())
        };
        let ids = ContractIds { values: vec![1], keys: vec![None] };
        let relations = Relations::new(plan.clone(), ids, epoch, Box::new(enrich), metrics.clone());
        let mut emitter = Emitter::new(plan.clone(), HeaderMode::Core, &["u".to_owned()], vec![2]);
        emitter.leave_out(repeats);
        Assembler::new(epoch, ledger, relations, emitter, LARGE_BYTES)
    })
}
