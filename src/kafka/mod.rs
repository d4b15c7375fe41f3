//! What publish and checkpoint share of Kafka: the client's settings, administration, and reading a partition to its end.
//!
//! No stage of its own: it knows neither records nor checkpoints. Everything blocks, with a deadline.

mod admin;
mod client;
mod context;
mod read;

pub use admin::{Admin, BrokerLimits, Topic};
pub use client::{DECIDED, KafkaClient};
pub(crate) use context::Context;
pub use read::{Entry, Isolation, read_partition};
