//! From committed rows to records: values, rules, transactions, and what a source does that changes nothing.

mod publish;
mod quiet;
mod rules;
mod stalls;
mod transactions;
mod values;
