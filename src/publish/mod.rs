//! Stage 5: Kafka. Producers and their transactions, the fence, how producers take turns, topics, and which partition a key
//! goes to.
//!
//! Everything blocks, on plain threads. What may last takes an instant until which it waits and then says
//! `Progress::Pending`, so that the caller can look at shutdown and outage limits and call again.

mod delivery;
mod fence;
mod others;
mod partition;
mod polling;
mod producer;
pub mod topics;
mod turns;

pub use fence::{DATA_IDS, Fenced, control_id, fence};
pub use others::Others;
pub use partition::partition;
pub use producer::{Names, Producer, Progress};
pub use turns::Turns;
