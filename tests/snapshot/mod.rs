//! Snapshots of tables that have rows already.

mod backfill;
mod change;
mod chunks;
#[cfg(feature = "faults")]
mod hazards;
mod initial;
mod leaves;
mod refused;
