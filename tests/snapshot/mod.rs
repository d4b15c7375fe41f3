//! Snapshots of tables that have rows already.

mod chunks;
mod initial;
