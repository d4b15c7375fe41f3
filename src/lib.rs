//! Walwright: committed Postgres rows become versioned Avro domain events on Kafka, exactly once.
//!
//! ```text
//! Postgres -> source -> decode -> map -> encode -> publish -> Kafka
//!                ^                                    |
//!                +------------- checkpoint <----------+      (pipeline wires the stages)
//! ```
//!
//! One module a stage, in the order in which a row travels. A stage imports `model` and `error` (map and encode also
//! the checked connector plan); only `pipeline` sees two stages. `ARCHITECTURE.md` has the map and the invariants.

pub mod error;
pub mod faults;
pub mod model;

pub mod config;
pub mod connector;
pub mod contract;

pub mod kafka;

pub mod source;

pub mod decode;

pub mod map;

pub mod encode;

pub mod registry;

pub mod publish;

pub mod checkpoint;

pub mod snapshot;

pub mod pipeline;

pub mod admin;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod hostile;
