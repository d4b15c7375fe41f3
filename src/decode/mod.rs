//! Stage 2: pgoutput messages over received bytes. Pure, never panics.
//!
//! ```text
//! body of an XLogData -> Reader -> Message; a row's slots point into the body, nothing is copied
//!                                     |
//!            Relations: OID -> dense index -> the table's current version
//! ```
//!
//! Protocol version 1 (Postgres docs, "Logical Replication Message Formats"). Whatever the bytes are, the answer is a
//! message or an error of kind `Protocol` that names the message and the offset, never a byte of a value; and memory
//! grows only by what the bytes themselves hold, whatever count or length they claim.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::arithmetic_side_effects)]

mod copy;
mod decoder;
mod message;
mod reader;
mod relations;
mod tuple;

pub use copy::CopyRows;
pub use decoder::Decoder;
pub use message::Message;

#[cfg(test)]
mod tests;
