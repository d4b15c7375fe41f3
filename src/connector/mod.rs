//! Connectors: `connectors/<name>.toml`, parsed with positions, checked against the contracts into a plan of plain data.

pub(crate) mod document;
mod expression;
mod plan;

pub use expression::{ColumnRef, Comparison, Expression, Literal, Node, NodeKind, Place, Side};
pub use plan::{
    EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, LargeTransactions, NewColumns, OnNull, Plan, TablePlan,
    TombstonePlan, TopicCreate, TopicPlan, Unhandled,
};
