//! Partitions.

use serde::{Deserialize, Serialize};

/// A leaf of a partitioned table as it was when the leaves were listed: the keys for which `condition` holds. Those stay
/// the same keys, whatever becomes of the leaf.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Of the table that holds them, for as long as its partition constraint is the condition.
    pub oid: u32,
    /// SQL over the table's columns, as `pg_get_partition_constraintdef` writes it.
    pub condition: String,
    /// Its file, which a truncate or a rewrite changes.
    pub filenode: u32,
}
