//! Tables as the replication stream describes them, enriched from the catalog.

use std::fmt;

use super::ColumnType;

/// A table's schema and name, unfolded and unquoted.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: String,
    pub table: String,
}

impl TableName {
    /// The table `schema.table`.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> TableName {
        TableName { schema: schema.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// `pg_class.relreplident`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    Default,
    Nothing,
    Full,
    Index,
    /// Not in the catalog: of a table that is published for its partitions, of which one has a narrower identity than the
    /// table. What all of them have is left.
    Partial,
}

/// One version of a table, valid from its Relation message to the next one for the same OID.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub name: TableName,
    pub identity: ReplicaIdentity,
    /// In the order of the tuples of the stream.
    pub columns: Vec<Column>,
}

/// A column as the stream sends it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    /// `atttypmod`, -1 where there is none.
    pub modifier: i32,
    /// Resolved by `ColumnType::builtin`, else from the catalog; `Other` until then.
    pub kind: ColumnType,
    /// Part of the replica identity as the Relation message flags it (under FULL: every column).
    pub in_identity: bool,
    /// Part of the key that identifies a row: the replica identity's columns, under FULL those of the primary key.
    pub in_key: bool,
}

impl Relation {
    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// For who wrote a name that no column has: the column whose name differs in case alone, as a sentence's end.
    pub fn folded_hint(&self, name: &str) -> Option<String> {
        let meant = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))?;
        Some(format!("; nothing is folded here, there is {}", meant.name))
    }
}
