//! What publish and checkpoint share of Kafka: the client's settings, administration, and reading partitions to their ends.
//!
//! No stage of its own: it knows neither records nor checkpoints. Everything blocks, with a deadline.

mod admin;
mod client;
mod context;
mod read;
mod tails;

pub use admin::{Admin, BrokerLimits, Creation, Topic};
pub use client::{DECIDED, KafkaClient};
pub(crate) use context::Context;
pub use read::{Closing, Entry, Isolation, read_partition};
pub use tails::{Bounds, Found, Tail, bounds, read_tails};
