//! From committed rows to records: values, rules, transactions, and what a source does that changes nothing.

pub(crate) mod partitions;
mod publish;
mod quiet;
mod readiness;
pub(crate) mod rules;
mod stalls;
pub(crate) mod transactions;
pub(crate) mod values;
