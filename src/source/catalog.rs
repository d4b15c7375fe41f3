//! Tables and types as the catalog has them (Postgres docs, "System Catalogs").

use std::collections::HashMap;

use tokio_postgres::Row;

use super::sql::{Sql, column};
use crate::error::{Error, Kind, Result};
use crate::model::{Column, ColumnType, Relation, ReplicaIdentity, TableName};

/// `pg_class.relkind`, as far as it matters.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Table,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
    Other,
}

/// A table or what bears a table's name.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTable {
    pub oid: u32,
    pub name: TableName,
    pub kind: TableKind,
    /// A leaf or inner node of a partitioned table.
    pub is_partition: bool,
    /// Neither temporary nor unlogged: its changes are in the WAL.
    pub is_logged: bool,
    pub identity: ReplicaIdentity,
    /// What this session's role may see of its rows.
    pub rows: Rows,
    /// In the table's order, without dropped ones.
    pub columns: Vec<CatalogColumn>,
}

/// Whether a role can read the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// It lacks USAGE on the schema, or SELECT.
    Forbidden,
    /// Row-level security applies to it (Postgres docs, `row_security_active`).
    Some,
}

/// A column.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogColumn {
    pub name: String,
    pub kind: ColumnType,
    pub type_oid: u32,
    /// `atttypmod`, -1 where there is none.
    pub modifier: i32,
    /// As the column says; a domain's own NOT NULL counts too.
    pub not_null: bool,
    /// Computed by the server; not in the stream (before Postgres 18 never, since then where the publication says so).
    pub generated: bool,
    /// Long values are stored out of line, so an update that leaves them alone may not resend them.
    pub toastable: bool,
    /// Part of the replica identity (under FULL: every column).
    pub in_identity: bool,
    pub in_primary_key: bool,
}

impl CatalogTable {
    /// The table as the stream would describe it, without column list.
    pub fn as_relation(&self) -> Relation {
        let is_full = self.identity == ReplicaIdentity::Full;
        let column = |column: &CatalogColumn| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            modifier: column.modifier,
            kind: column.kind.clone(),
            in_identity: column.in_identity,
            in_key: if is_full { column.in_primary_key } else { column.in_identity },
        };
        let columns = self.columns.iter().filter(|column| !column.generated).map(column).collect();
        Relation { oid: self.oid, name: self.name.clone(), identity: self.identity, columns }
    }
}

const TABLES: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition, c.relpersistence = 'p', c.relreplident::text,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND c.relkind IN ('r','p','v','m','f')
 ORDER BY n.nspname, c.relname";

/// An index counts as a key as it does for the server (relcache.c, `RelationGetIndexList`): valid and not deferrable.
/// A value is stored out of line only where there is a TOAST table (a partitioned table's leaves have them), and only if
/// it is longer than the pointer that would replace it (24 bytes), which a short varchar never is. What of a partitioned
/// table's old rows is sent is decided by each partition's own replica identity.
const COLUMNS: &str = "
SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod,
       a.attnotnull OR t.typnotnull,
       a.attgenerated <> '',
       a.attlen = -1 AND a.attstorage IN ('x', 'e') AND (c.reltoastrelid <> 0 OR c.relkind = 'p')
         AND NOT (a.atttypid IN (1042, 1043) AND a.atttypmod BETWEEN 5 AND 9),
       NOT EXISTS (SELECT FROM (SELECT c.oid UNION
                                SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf AND c.relkind = 'p') p
         JOIN pg_class t ON t.oid = p.oid
         WHERE t.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i
           JOIN pg_attribute k ON k.attrelid = t.oid AND k.attnum = ANY (i.indkey::int2[]) AND k.attname = a.attname
           WHERE i.indrelid = t.oid AND i.indisvalid AND i.indimmediate
             AND (t.relreplident = 'd' AND i.indisprimary OR t.relreplident = 'i' AND i.indisreplident))),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[]))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

/// The tables of these names; one that does not exist is not in the answer.
pub async fn tables(sql: &Sql, names: &[TableName]) -> Result<Vec<CatalogTable>> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let relations: Vec<&str> = names.iter().map(|name| name.table.as_str()).collect();
    let rows = sql.rows(TABLES, &[&schemas, &relations]).await?;
    let mut tables = rows.iter().map(table).collect::<Result<Vec<_>>>()?;

    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let rows = sql.rows(COLUMNS, &[&oids]).await?;
    let mut types: Vec<u32> = rows.iter().map(|row| column(row, 2)).collect::<Result<_>>()?;
    types.sort_unstable();
    types.dedup();
    let types = resolve_types(sql, &types).await?;
    for row in &rows {
        let oid: u32 = column(row, 0)?;
        let owner = tables.iter_mut().find(|table| table.oid == oid);
        owner.into_iter().try_for_each(|table| table_column(row, &types).map(|column| table.columns.push(column)))?;
    }
    for table in &mut tables {
        if table.identity == ReplicaIdentity::Full && !table.columns.iter().all(|column| column.in_identity) {
            table.identity = ReplicaIdentity::Partial;
        }
    }
    Ok(tables)
}

fn table(row: &Row) -> Result<CatalogTable> {
    Ok(CatalogTable {
        oid: column(row, 0)?,
        name: TableName { schema: column(row, 1)?, table: column(row, 2)? },
        kind: match column(row, 3)? {
            "r" => TableKind::Table,
            "p" => TableKind::Partitioned,
            "v" => TableKind::View,
            "m" => TableKind::MaterializedView,
            "f" => TableKind::Foreign,
            _ => TableKind::Other,
        },
        is_partition: column(row, 4)?,
        is_logged: column(row, 5)?,
        identity: match column(row, 6)? {
            "n" => ReplicaIdentity::Nothing,
            "f" => ReplicaIdentity::Full,
            "i" => ReplicaIdentity::Index,
            _ => ReplicaIdentity::Default,
        },
        rows: match (column(row, 7)?, column(row, 8)?) {
            (false, _) => Rows::Forbidden,
            (true, true) => Rows::Some,
            (true, false) => Rows::All,
        },
        columns: Vec::new(),
    })
}

fn table_column(row: &Row, types: &HashMap<u32, ColumnType>) -> Result<CatalogColumn> {
    let (type_oid, modifier) = (column(row, 2)?, column(row, 3)?);
    let resolved = ColumnType::builtin(type_oid, modifier).or_else(|| types.get(&type_oid).cloned());
    Ok(CatalogColumn {
        name: column(row, 1)?,
        kind: resolved.unwrap_or_else(|| ColumnType::Other(format!("type {type_oid}"))),
        type_oid,
        modifier,
        not_null: column(row, 4)?,
        generated: column(row, 5)?,
        toastable: column(row, 6)?,
        in_identity: column(row, 7)?,
        in_primary_key: column(row, 8)?,
    })
}

/// Follows domains down to their base type; the modifier is that of the last domain (lsyscache.c, `getBaseTypeAndTypmod`).
const TYPES: &str = "
WITH RECURSIVE chain AS (
  SELECT oid AS root, oid, -1 AS modifier, typtype, typbasetype, typtypmod FROM pg_type WHERE oid = ANY ($1)
  UNION ALL
  SELECT c.root, t.oid, c.typtypmod, t.typtype, t.typbasetype, t.typtypmod
    FROM chain c JOIN pg_type t ON t.oid = c.typbasetype WHERE c.typtype = 'd'
)
SELECT c.root, c.oid, c.modifier, format_type(c.oid, NULL),
       CASE WHEN c.typtype = 'e'
            THEN ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = c.oid ORDER BY e.enumsortorder) END,
       t.typname = 'citext' AND t.typcategory = 'S'
  FROM chain c JOIN pg_type t ON t.oid = c.oid WHERE c.typtype <> 'd'";

/// The types with these OIDs: domains as their base type, enums with their labels. A type that does not exist is not
/// in the answer.
pub async fn resolve_types(sql: &Sql, oids: &[u32]) -> Result<HashMap<u32, ColumnType>> {
    if oids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sql.rows(TYPES, &[&oids]).await?;
    rows.iter().map(|row| Ok((column(row, 0)?, resolved(row)?))).collect()
}

fn resolved(row: &Row) -> Result<ColumnType> {
    if let Some(builtin) = ColumnType::builtin(column(row, 1)?, column(row, 2)?) {
        return Ok(builtin);
    }
    let labels: Option<Vec<String>> = column(row, 4)?;
    Ok(match labels {
        Some(labels) => ColumnType::Enum(labels),
        None if column(row, 5)? => ColumnType::Text,
        None => ColumnType::Other(column(row, 3)?),
    })
}

const PRIMARY_KEY: &str = "
SELECT a.attname::text
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = $1 AND i.indisprimary AND k.place <= i.indnkeyatts
 ORDER BY k.place";

/// The columns of the primary key, in its order; empty where there is none.
pub async fn primary_key(sql: &Sql, table_oid: u32) -> Result<Vec<String>> {
    let rows = sql.rows(PRIMARY_KEY, &[&table_oid]).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

/// The one table of this name.
pub async fn table_named(sql: &Sql, name: &TableName) -> Result<CatalogTable> {
    let found = tables(sql, std::slice::from_ref(name)).await?.into_iter().next();
    found.ok_or_else(|| Error::new(Kind::SchemaMismatch, format!("the table {name} does not exist")))
}
