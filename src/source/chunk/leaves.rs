//! The leaves of a partitioned table, each read by itself.
//!
//! A leaf stands for the keys that fulfil its condition (`Leaf`). While it is a leaf of the table, and this is its
//! partition constraint, these keys lie in it and nowhere else; else they are looked for in all of the table.

use postgres_protocol::escape::escape_identifier;

use super::{ChunkReader, ChunkTable, at};
use crate::error::Result;
use crate::model::{Leaf, TableName};
use crate::source::catalog::TableKind;
use crate::source::preflight::quoted;
use crate::source::sql::{Sql, column};

/// The leaves' conditions together: they are one record, and one query.
const CONDITIONS_BYTES_MAX: usize = 512 << 10;

/// The leaves as of the transaction's snapshot (a default one without siblings has no constraint); whether the role may read each as it is; whether the key has all columns by
/// which the table and its partitions are partitioned, compared as the columns are.
const LEAVES: &str = "
WITH RECURSIVE tree AS (
  SELECT $1::oid AS oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
SELECT c.oid, COALESCE(pg_get_partition_constraintdef(c.oid), 'true'), COALESCE(pg_relation_filenode(c.oid), 0)::int8,
       c.relkind = 'r' AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
         AND NOT row_security_active(c.oid),
       NOT EXISTS (SELECT FROM (SELECT oid FROM tree UNION SELECT relid::oid FROM pg_partition_ancestors($1)) t
                     JOIN pg_partitioned_table p ON p.partrelid = t.oid
                    CROSS JOIN LATERAL unnest(p.partattrs::int2[], p.partcollation::oid[]) AS k (attnum, coll)
                     LEFT JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum AND k.attnum > 0
                    WHERE a.attname IS NULL OR a.attname::text <> ALL ($2::text[]) OR a.attcollation <> k.coll)
  FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind <> 'p' ORDER BY c.oid";

/// The leaf's name and file, while it is as it was listed.
const LEAF: &str = "
SELECT format('%I.%I', n.nspname, c.relname), pg_relation_filenode(c.oid)::int8
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = $1 AND c.relkind = 'r' AND $2::oid IN (SELECT relid::oid FROM pg_partition_ancestors(c.oid))
   AND COALESCE(pg_get_partition_constraintdef(c.oid), 'true') = $3
   AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)";

/// Which conditions are of hashes by a table that is gone: then nobody can say any more which keys they mean.
const LOST: &str = r"
SELECT c.place FROM unnest($1::text[]) WITH ORDINALITY AS c (condition, place)
 WHERE EXISTS (SELECT FROM regexp_matches(c.condition, 'satisfies_hash_partition\(''(\d+)''::oid', 'g') AS m (found)
                WHERE NOT EXISTS (SELECT FROM pg_class t WHERE t.oid = found[1]::oid))";

/// Some keys of a partitioned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    leaf: Leaf,
    /// The leaf in which they lie, quoted; None: they may lie anywhere.
    name: Option<String>,
}

impl Part {
    /// What must be said beside FROM.
    pub(super) fn condition(&self) -> Option<String> {
        self.name.is_none().then(|| format!("({})", self.leaf.condition))
    }
}

/// Rows of `from`, under the table's name: conditions may be written with it.
pub(super) fn called(from: &str, table: &TableName) -> String {
    format!("{from} AS {}", escape_identifier(&table.table))
}

impl ChunkTable {
    /// Whether the table may have leaves.
    pub fn is_partitioned(&self) -> bool {
        self.kind == TableKind::Partitioned
    }

    /// The keys of this leaf, to be read where they lie now. None: nobody knows any more which keys those are.
    pub async fn part(&self, sql: &Sql, leaf: &Leaf) -> Result<Option<ChunkTable>> {
        let found = as_listed(sql, self.oid, leaf).await.map_err(|error| at(error, self))?;
        if found.is_none() && is_lost(sql, leaf).await? {
            return Ok(None);
        }
        let name = found.map(|(name, _)| name);
        let (from, lock) = match &name {
            Some(name) => {
                (called(&format!("ONLY {name}"), &self.name), format!("ONLY {}, ONLY {name}", quoted(&self.name)))
            }
            None => (self.from.clone(), self.lock.clone()),
        };
        Ok(Some(ChunkTable { from, lock, part: Some(Part { leaf: leaf.clone(), name }), ..self.clone() }))
    }
}

impl ChunkReader {
    /// The leaves of a partitioned table as of the snapshot that `begin` took; else why they cannot be read each by itself.
    pub async fn leaves(&self, table: &ChunkTable) -> Result<std::result::Result<Vec<Leaf>, &'static str>> {
        let key: Vec<&str> = table.key_names().collect();
        let rows = self.sql.rows(LEAVES, &[&table.oid, &key]).await.map_err(|error| at(error, table))?;
        let mut leaves = Vec::new();
        for row in &rows {
            let (condition, filenode): (String, i64) = (column(row, 1)?, column(row, 2)?);
            if !column::<bool>(row, 4)? {
                return Ok(Err("its key does not have all columns by which it is partitioned"));
            }
            if !column::<bool>(row, 3)? {
                return Ok(Err("not all partitions are tables that the role may read"));
            }
            let filenode = u32::try_from(filenode).unwrap_or(0);
            leaves.push(Leaf { oid: column(row, 0)?, condition, filenode });
        }
        let bytes: usize = leaves.iter().map(|leaf| leaf.condition.len()).sum();
        Ok(match leaves.is_empty() {
            true => Err("it has no partitions"),
            false if bytes > CONDITIONS_BYTES_MAX => Err("it has too many partitions"),
            false => Ok(leaves),
        })
    }

    /// Begins a transaction in which the partitioned table is locked before any of its leaves. Who reads a leaf alone, or asks
    /// for its constraint, has Postgres lock it first and then its parents: against the order of whoever detaches it.
    pub async fn hold(&self, table: &ChunkTable) -> Result<()> {
        let lock = format!("BEGIN; LOCK TABLE ONLY {} IN ACCESS SHARE MODE", quoted(&table.name));
        let held = self.sql.run(&lock).await;
        if held.is_err() {
            self.end().await?;
        }
        held.map_err(|error| at(error, table))
    }

    /// Whether the keys still lie where they did.
    pub async fn is_in_place(&self, table: &ChunkTable) -> Result<bool> {
        let Some(part) = &table.part else { return Ok(true) };
        self.hold(table).await?;
        let filenode = self.filenode(table, part).await;
        self.end().await?;
        filenode.map(|filenode| filenode.is_some())
    }

    /// The file of the leaf, or 0 for keys that may lie anywhere; None: they are to be looked for anew.
    pub(super) async fn filenode(&self, table: &ChunkTable, part: &Part) -> Result<Option<u32>> {
        let Some(name) = &part.name else {
            return Ok(if is_lost(&self.sql, &part.leaf).await? { None } else { Some(0) });
        };
        let found = as_listed(&self.sql, table.oid, &part.leaf).await.map_err(|error| at(error, table))?;
        Ok(found.filter(|(now, _)| now == name).map(|(_, filenode)| filenode))
    }
}

/// The leaf's quoted name and its file, while it holds what it did when it was listed.
async fn as_listed(sql: &Sql, table: u32, leaf: &Leaf) -> Result<Option<(String, u32)>> {
    let rows = sql.prepared(LEAF, &[&leaf.oid, &table, &leaf.condition]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let filenode: Option<i64> = column(row, 1)?;
    Ok(Some((column(row, 0)?, filenode.and_then(|filenode| u32::try_from(filenode).ok()).unwrap_or(0))))
}

async fn is_lost(sql: &Sql, leaf: &Leaf) -> Result<bool> {
    lost(sql, &[&leaf.condition]).await.map(|lost| !lost.is_empty())
}

/// The indexes of the conditions of which nobody can say any more which keys they mean. Postgres refuses to evaluate them.
pub async fn lost(sql: &Sql, conditions: &[&str]) -> Result<Vec<usize>> {
    let rows = sql.prepared(LOST, &[&conditions]).await?;
    let index = |row| column::<i64>(row, 0).map(|place| usize::try_from(place - 1).unwrap_or_default());
    rows.iter().map(index).collect()
}
