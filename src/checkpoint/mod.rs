//! Stage 6: what may be confirmed (pure) and where it is kept (a compacted topic).
pub mod ledger;
