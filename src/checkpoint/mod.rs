//! Stage 6: what may be confirmed and what is there already (pure), where it is kept (a compacted topic), and what to do
//! with it at a start (pure).

pub mod audit;
pub mod judge;
pub mod ledger;
pub mod record;
pub mod repeats;
pub mod store;
