//! Stage 3: which events a change yields. Pure.
//!
//! ```text
//! plan + relation version --compile--> TableRules          (start, and each Relation message)
//! change --route--> operation (insert, update, rekey ..), the tombstones and events that it yields, or its filter
//! ```
//!
//! Conditions are bound to columns and type-checked when they are compiled; per change they run over tuple bytes without
//! allocation. A value that the stream did not carry is an error, never a guess.

mod bind;
mod columns;
mod condition;
mod decimal;
mod fault;
mod guard;
mod identity;
mod operand;
mod rows;
mod rules;
mod scalar;
mod supply;
mod temporal;

pub use columns::{read_columns, rule_columns, unknown_columns};
pub use identity::{Identity, write_sequence, write_version};
pub use rules::{Filter, Outcome, Routed, TableRules, Yields};

#[cfg(test)]
mod tests;
