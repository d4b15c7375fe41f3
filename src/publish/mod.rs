//! Stage 5: Kafka. Producers and their transactions, the fence, topics, and which partition a key goes to.
//!
//! Everything blocks, on plain threads. What may last takes an instant until which it waits and then says
//! `Progress::Pending`, so that the caller can look at shutdown and outage limits and call again.

mod delivery;
mod fence;
mod partition;
mod producer;
pub mod topics;

pub use fence::{DATA_IDS, Fenced, fence};
pub use partition::partition;
pub use producer::{Names, Producer, Progress};
