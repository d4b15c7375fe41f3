//! The vocabulary that all stages share: positions, relations, rows, changes and records. No I/O, no async.

mod change;
mod column;
mod hex;
mod leaf;
mod lsn;
mod record;
mod relation;
mod row;
mod secret;
mod security;

pub use change::{Change, Operation, OperationSet};
pub use column::{ColumnType, PG_EPOCH_UNIX_MICROS};
pub use hex::{hex_lower, hex_upper};
pub use leaf::Leaf;
pub use lsn::{Lsn, Position};
pub use record::{Batch, Header, Record};
pub use relation::{Column, Relation, ReplicaIdentity, TableName};
pub use row::{Datum, Row, Slot, SlotKind};
pub use secret::Secret;
pub use security::{ChannelBinding, ClientCertificate, PasswordMethod, Security, TargetSessionAttrs, TlsMode};
