//! The only place that sees two stages: builds, runs, recovers and stops a connector.
//!
//! ```text
//! reader thread --Frames--> assembler --Unit--> publisher thread --confirm(next_lsn)--> reader thread
//!  (source)                 (decode, map,        (Kafka transaction: events + checkpoint)
//!                            encode)
//! ```
//!
//! Progress is one number, `next_lsn`. The assembler stamps it on each unit, the publisher writes it into the Kafka
//! transaction of that unit's events, and only what Kafka has committed is confirmed to the slot.

mod assembler;
pub mod check;
mod committer;
mod connector;
mod contracts;
mod daemon;
mod emit;
mod gap;
mod grants;
mod health;
mod inflight;
mod lane;
pub mod live;
mod metrics;
mod monitor;
mod operator;
mod ownership;
mod programs;
mod recovery;
mod relations;
mod removal;
mod replay;
mod session;
mod settings;
#[cfg(test)]
mod simulation;
mod snapshot;
mod source;
mod spares;
mod start;
mod supervisor;
mod task;
mod topics;
mod unit;

pub use crate::snapshot::State as SnapshotState;
pub use daemon::{Daemon, Member, Roster};
pub use gap::Gap;
pub use grants::grants;
pub use health::{Health, Phase, Report};
pub use metrics::{ConnectorMetrics, METRICS, Metric, MetricKind, Metrics};
pub use operator::{Accepted, Operator};
pub use removal::Removal;
pub use snapshot::{Answer, Command, TableProgress};
