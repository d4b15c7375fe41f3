//! Snapshots of tables that have rows already.

mod backfill;
mod change;
mod chunks;
mod initial;
