//! Connectors: `connectors/<name>.toml`, parsed with positions, checked against the contracts into a plan of plain data.

pub(crate) mod document;
mod expression;
mod file;
mod plan;
pub(crate) mod reference;
mod security;
mod source;

pub use expression::{ColumnRef, Comparison, Expression, Literal, Node, NodeKind, Place, Side};
pub use file::{Connector, load};
pub use plan::{
    ByTable, EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, LargeTransactions, NewColumns, OnNull, Plan,
    SnapshotMode, SnapshotPlan, TablePlan, TombstonePlan, TopicCreate, TopicPlan, Unhandled,
};
pub use reference::Reference;
pub use source::{ResolvedSource, SourceSection};
