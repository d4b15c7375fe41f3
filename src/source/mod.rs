//! Stage 1: bytes in, status out. The replication client, preflight and the catalog.
//!
//! ```text
//! settings -> session (wire, tls, auth) -> replication commands -> stream: reader thread -> frames
//!                                                                            ^-- confirm     |
//!          -> sql -> catalog, preflight                                  buffers come back <-+
//! ```

mod auth;
pub mod catalog;
mod channel;
mod chunk;
mod frame;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod pace;
pub mod preflight;
mod reader;
mod refusal;
mod replication;
mod session;
mod settings;
mod sql;
mod stream;
mod tls;
mod wire;

pub use chunk::{ChunkReader, ChunkSnapshot, ChunkTable, KeyPart, KeyText, Keys, lost, next_xid};
pub use frame::{Frame, FrameIter};
pub use frames::Frames;
pub use replication::{Replication, SERVER_VERSION_MIN, SystemIdentity, TimelineSwitch};
pub use settings::{SourceSettings, StreamSettings};
pub use sql::Sql;
pub use stream::Stream;
