//! Reading a table in chunks, each a range of its key: exact as of one snapshot, with no lock above ACCESS SHARE.
//!
//! Keys are never compared here. Bounds are what the server wrote as text, and go back to it as such; so any type of key
//! and any collation will do.

mod leaves;
mod locate;

use std::pin::pin;

use futures_util::TryStreamExt;
use postgres_protocol::escape::{escape_identifier, escape_literal};

use self::leaves::Part;
pub use self::leaves::lost;
pub use self::locate::{KeyPart, Keys};
use super::catalog::{CatalogTable, TableKind};
use super::preflight::quoted;
use super::settings::SourceSettings;
use super::sql::{Sql, column};
use crate::error::{At, Error, Kind, Result};
use crate::faults::{Mutation, mutated};
use crate::model::{ColumnType, Lsn, ReplicaIdentity, SlotKind, TableName};

/// A key as the server writes it: the text of each of its columns, in their order.
pub type KeyText = Vec<String>;

/// What to read of a table, as parts of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTable {
    name: TableName,
    oid: u32,
    kind: TableKind,
    /// What stands behind FROM. Whatever it reads is called by the table's name.
    from: String,
    /// What is locked: quoted, with ONLY where others inherit from it.
    lock: String,
    /// Only these keys of it.
    part: Option<Part>,
    key: Vec<KeyColumn>,
    columns: Vec<Column>,
    /// The publication's row filter.
    filter: Option<String>,
}

/// A column that the publication lists.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    slot: SlotKind,
    /// Else it comes as NULL.
    is_read: bool,
}

impl Column {
    fn expression(&self) -> String {
        match (self.is_read, self.slot) {
            (false, _) => "NULL".to_owned(),
            (true, SlotKind::Binary) => escape_identifier(&self.name),
            (true, _) => format!("{}::text", escape_identifier(&self.name)),
        }
    }
}

/// A column of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyColumn {
    name: String,
    /// As `format_type` spells it.
    kind: String,
    type_oid: u32,
    /// How the stream writes it.
    slot: SlotKind,
    /// A type of which chunks ask for the binary form: its text is made here, at less cost.
    plain: Option<ColumnType>,
    /// Among the published columns, where it comes in that form too.
    published: Option<usize>,
    /// `COLLATE ..` where it has one, since a value that is no column has not.
    collate: String,
}

/// The snapshot that a chunk is read as of.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSnapshot {
    /// `xmin:xmax:xip,..` (Postgres docs, "pg_snapshot Components").
    pub snapshot: String,
    /// The table's or the leaf's file, which a truncate or a rewrite changes; of a partitioned table, a digest of its leaves'
    /// files. 0: it is not known what it was when the leaf was listed.
    pub filenode: u32,
    /// Changes with the table's definition.
    pub definition: String,
    /// When it was taken, microseconds since 2000-01-01.
    pub taken_us: i64,
}

/// Column types with what only the catalog knows of them.
const SHAPE: &str = "
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), t.typsend <> 0,
       COALESCE((SELECT k.place FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                  WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indimmediate AND k.attnum = a.attnum AND k.place <= i.indnkeyatts
                    AND CASE WHEN $2 THEN i.indisreplident ELSE i.indisprimary END LIMIT 1), 0)::int8,
       a.atttypid, (SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                      FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation)
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attnum";

const SIZE: &str = "
SELECT COALESCE(sum(pg_table_size(c.oid)), 0)::int8
  FROM pg_class c WHERE c.oid = $1::text::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::text::regclass))";

/// The snapshot, and what the table is behind its lock: each row of the catalog that says so has the xid that wrote it.
const SNAPSHOT: &str = "
SELECT pg_current_snapshot()::text,
       CASE WHEN $2 THEN 0
            WHEN c.relkind = 'p'
            THEN (SELECT hashtext(string_agg(pg_relation_filenode(t.relid)::text, ',' ORDER BY t.relid))::int8 + 2147483648
                    FROM pg_partition_tree(c.oid) t WHERE t.isleaf)
            ELSE pg_relation_filenode(c.oid)::int8 END,
       ((EXTRACT(EPOCH FROM now()) - 946684800) * 1000000)::int8,
       concat_ws('/', c.oid, c.xmin,
                 (SELECT string_agg(a.xmin::text, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
                 (SELECT string_agg(i.indexrelid || ':' || i.xmin, ',' ORDER BY i.indexrelid) FROM pg_index i WHERE i.indrelid = c.oid))
  FROM pg_class c WHERE c.oid = $1::text::regclass";

impl ChunkTable {
    /// The table with the columns that the publication lists (None: all) and its row filter.
    ///
    /// # Errors
    /// `SchemaMismatch` for what has no rows of its own: a view, a foreign table.
    pub async fn of(
        sql: &Sql,
        table: &CatalogTable,
        listed: Option<&[String]>,
        filter: Option<&str>,
    ) -> Result<ChunkTable> {
        let quoted_name = quoted(&table.name);
        let (from, lock) = match table.kind {
            TableKind::Table => (format!("ONLY {quoted_name}"), format!("ONLY {quoted_name}")),
            TableKind::Partitioned => (leaves::called(&quoted_name, &table.name), quoted_name),
            TableKind::View | TableKind::MaterializedView | TableKind::Foreign | TableKind::Other => {
                let detail = format!("{} is no table, and cannot be snapshotted", table.name);
                return Err(Error::new(Kind::SchemaMismatch, detail).at(At::table(table.name.clone())));
            }
        };
        let by_index = table.identity == ReplicaIdentity::Index;
        let (mut key, mut columns) = (Vec::new(), Vec::new());
        for row in &sql.rows(SHAPE, &[&table.oid, &by_index]).await? {
            let name: String = column(row, 0)?;
            let slot = if column(row, 2)? { SlotKind::Binary } else { SlotKind::Text };
            if listed.is_none_or(|listed| listed.contains(&name)) {
                columns.push(Column { name: name.clone(), slot, is_read: true });
            }
            let place: i64 = column(row, 3)?;
            if place > 0 {
                let collate = column::<Option<String>>(row, 5)?.unwrap_or_default();
                let (kind, type_oid) = (column(row, 1)?, column(row, 4)?);
                let (plain, published) = (plain(type_oid), None);
                key.push((place, KeyColumn { name, kind, type_oid, slot, plain, published, collate }));
            }
        }
        key.sort_by_key(|(place, _)| *place);
        for (_, key) in key.iter_mut().filter(|(_, key)| key.plain.is_some()) {
            key.published = columns.iter().position(|column| column.name == key.name);
        }
        Ok(ChunkTable {
            name: table.name.clone(),
            oid: table.oid,
            kind: table.kind,
            from,
            lock,
            part: None,
            key: key.into_iter().map(|(_, column)| column).collect(),
            columns,
            filter: filter.map(str::to_owned),
        })
    }

    /// Of the published columns only those that `is_read` holds for, and the key's, are asked for: the others come as NULL.
    #[must_use]
    pub fn only(mut self, is_read: impl Fn(&str) -> bool) -> ChunkTable {
        for column in &mut self.columns {
            column.is_read = is_read(&column.name) || self.key.iter().any(|key| key.name == column.name);
        }
        self
    }

    /// Whether rows can be told apart, so that the table can be read in more than one chunk.
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// How each column of a chunk is written: the published ones, then those of the key that do not stand among them as
    /// `key_types` says, then xmin.
    pub fn slots(&self) -> Vec<SlotKind> {
        let published = self.columns.iter().map(|column| column.slot);
        let key = self.key_apart().map(|key| if key.plain.is_some() { SlotKind::Binary } else { SlotKind::Text });
        published.chain(key).chain([SlotKind::Binary]).collect()
    }

    /// The key's columns that do not stand among the published ones in that form.
    fn key_apart(&self) -> impl Iterator<Item = &KeyColumn> {
        self.key.iter().filter(|key| key.published.is_none())
    }

    /// The types of those of the key's columns that come in binary form; None: as text.
    pub fn key_types(&self) -> Vec<Option<ColumnType>> {
        self.key.iter().map(|key| key.plain.clone()).collect()
    }

    /// Where each of the key's columns stands in a row of a chunk.
    pub fn key_places(&self) -> Vec<usize> {
        let mut apart = self.columns.len()..;
        self.key.iter().filter_map(|key| key.published.or_else(|| apart.next())).collect()
    }

    /// The names of the key's columns, in its order.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|column| column.name.as_str())
    }

    /// What ranges of keys depend on: the key's columns with their types and collations, in its order.
    pub fn identity(&self) -> Vec<String> {
        self.key.iter().map(|column| format!("{} {}{}", column.name, column.kind, column.collate)).collect()
    }

    /// The number of rows that the planner expects, of those for which `filter` holds.
    pub async fn estimate(&self, sql: &Sql, filter: Option<&str>) -> Result<Option<u64>> {
        let conditions: Vec<String> = filter.into_iter().map(|filter| format!("({filter}\n)")).collect();
        let query = format!("EXPLAIN (FORMAT JSON) SELECT FROM {}{}", self.from, where_all(&conditions));
        let rows = sql.rows(&query, &[]).await.map_err(|error| at(error, self))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let plan: serde_json::Value = column(row, 0)?;
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_u64))
    }

    /// Whether `filter` is a condition, and nothing more than that: it is understood by itself and in parentheses.
    pub async fn check_filter(&self, sql: &Sql, filter: &str) -> Result<()> {
        for condition in [format!("{filter}\n"), format!("({filter}\n)")] {
            let query = format!("SELECT FROM {} WHERE {condition}", self.from);
            sql.parse(&query).await.map_err(|error| at(error, self))?;
        }
        Ok(())
    }

    fn key_list(&self) -> String {
        self.key_names().map(escape_identifier).collect::<Vec<_>>().join(", ")
    }

    fn key_texts(&self) -> impl Iterator<Item = String> {
        self.key_names().map(|name| format!("{}::text", escape_identifier(name)))
    }

    fn row(&self, bound: &KeyText) -> String {
        let value = |(text, column): (&String, &KeyColumn)| format!("{}::{}", escape_literal(text), column.kind);
        bound.iter().zip(&self.key).map(value).collect::<Vec<_>>().join(", ")
    }

    fn range(&self, lower: Option<&KeyText>, upper: Option<&KeyText>) -> Vec<String> {
        let side = |bound: Option<&KeyText>, is: &str| {
            bound.map(|bound| format!("({}) {is} ({})", self.key_list(), self.row(bound)))
        };
        let part = self.part.as_ref().and_then(Part::condition);
        side(lower, ">=").into_iter().chain(side(upper, "<")).chain(part).collect()
    }

    /// The text is made of the key that is found: beside OFFSET it would be made of each that is passed over.
    fn boundary(&self, lower: Option<&KeyText>, upper: Option<&KeyText>, rows: u64) -> String {
        let (texts, key): (Vec<String>, String) = (self.key_texts().collect(), self.key_list());
        format!(
            "SELECT ARRAY[{}] FROM (SELECT {key} FROM {}{} ORDER BY {key} OFFSET {rows} LIMIT 1) AS found",
            texts.join(", "),
            self.from,
            where_all(&self.range(lower, upper)),
        )
    }

    fn copy(&self, lower: Option<&KeyText>, upper: Option<&KeyText>, filter: Option<&str>) -> String {
        let columns = self.columns.iter().map(Column::expression);
        let key = self.key_apart().map(|key| match key.plain {
            Some(_) => escape_identifier(&key.name),
            None => format!("{}::text", escape_identifier(&key.name)),
        });
        let list: Vec<String> = columns.chain(key).chain(["xmin".to_owned()]).collect();
        let mut conditions = self.range(lower, upper);
        let filters = [self.filter.as_deref(), filter];
        conditions.extend(filters.into_iter().flatten().map(|filter| format!("({filter}\n)")));
        format!(
            "COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT binary)",
            list.join(", "),
            self.from,
            where_all(&conditions)
        )
    }
}

fn plain(type_oid: u32) -> Option<ColumnType> {
    let kind = ColumnType::builtin(type_oid, -1);
    kind.filter(|kind| matches!(kind, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Uuid))
}

fn where_all(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// A session that reads chunks, one at a time.
pub struct ChunkReader {
    sql: Sql,
}

/// An xid that the server has not given yet.
pub async fn next_xid(sql: &Sql) -> Result<u64> {
    let rows = sql.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text", &[]).await?;
    xid(&rows)
}

fn xid(rows: &[tokio_postgres::Row]) -> Result<u64> {
    let text: &str = rows.first().map_or_else(|| Ok(""), |row| column(row, 0))?;
    text.parse().map_err(|_| Error::new(Kind::Protocol, "an xid that is none"))
}

impl ChunkReader {
    /// Connects.
    pub async fn connect(settings: &SourceSettings) -> Result<ChunkReader> {
        let sql = Sql::connect(settings).await?;
        // A row's own conversions must not depend on who reads, and no statement may be cut off half-way by a limit that
        // is meant for catalog queries.
        sql.run("SET statement_timeout = 0; SET row_security = off; SET extra_float_digits = 1").await?;
        Ok(ChunkReader { sql })
    }

    /// For questions beside the chunks.
    pub fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Bytes that the table's rows take on disk, of all its leaves where it is partitioned, and how many they are by the
    /// planner.
    pub async fn extent(&self, table: &ChunkTable) -> Result<(u64, u64)> {
        let rows = self.sql.rows(SIZE, &[&quoted(&table.name)]).await.map_err(|error| at(error, table))?;
        let bytes: i64 = rows.first().map_or_else(|| Ok(0), |row| column(row, 0))?;
        let rows = table.estimate(&self.sql, None).await?;
        Ok((u64::try_from(bytes).unwrap_or_default(), rows.unwrap_or_default()))
    }

    /// The key of the row that stands `rows` rows behind `lower` (None: the table's beginning): where the next chunk
    /// begins. None: there are no more rows than that below `upper`.
    pub async fn boundary(
        &self,
        table: &ChunkTable,
        lower: Option<&KeyText>,
        upper: Option<&KeyText>,
        rows: u64,
    ) -> Result<Option<KeyText>> {
        let found = self.sql.rows(&table.boundary(lower, upper, rows), &[]).await.map_err(|error| at(error, table))?;
        found.first().map(|row| column(row, 0)).transpose()
    }

    /// Begins a transaction and takes its snapshot, behind the lock: a truncate or a rewriting ALTER is not MVCC-safe, so
    /// a snapshot from before one would find an empty table (Postgres docs, "Caveats" of chapter 13). None: the leaf is not
    /// what it was, its keys are to be looked for anew (`ChunkTable::part`), and nothing has begun.
    pub async fn begin(&self, table: &ChunkTable) -> Result<Option<ChunkSnapshot>> {
        let taken = self.take(table).await;
        if table.part.is_none() || matches!(taken, Ok(Some(_))) {
            return taken;
        }
        self.end().await?;
        if self.is_in_place(table).await? { taken } else { Ok(None) }
    }

    async fn take(&self, table: &ChunkTable) -> Result<Option<ChunkSnapshot>> {
        let name = quoted(&table.name);
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}", lock(table));
        self.sql.run(&begin).await.map_err(|error| at(error, table))?;
        let rows =
            self.sql.prepared(SNAPSHOT, &[&name, &table.part.is_some()]).await.map_err(|error| at(error, table))?;
        let row = rows.first().ok_or_else(|| Error::new(Kind::Protocol, "a snapshot has no row"))?;
        let filenode: Option<i64> = column(row, 1)?;
        let filenode = match &table.part {
            Some(part) => self.filenode(table, part).await?,
            None => Some(filenode.and_then(|filenode| u32::try_from(filenode).ok()).unwrap_or(0)),
        };
        let Some(filenode) = filenode else { return Ok(None) };
        let (snapshot, taken_us, definition) = (column(row, 0)?, column(row, 2)?, column(row, 3)?);
        Ok(Some(ChunkSnapshot { snapshot, filenode, definition, taken_us }))
    }

    /// A snapshot, to read nothing with: `xmin:xmax:xip,..`.
    pub async fn current_snapshot(&self) -> Result<String> {
        let rows = self.sql.prepared("SELECT pg_current_snapshot()::text", &[]).await?;
        rows.first().map_or_else(|| Ok(String::new()), |row| column(row, 0))
    }

    /// The end of the WAL, asked before the rows are read: what they show was written before it.
    pub async fn insert_lsn(&self) -> Result<Lsn> {
        self.lsn("SELECT pg_current_wal_insert_lsn()::text").await
    }

    /// What the server has made durable.
    pub async fn flush_lsn(&self) -> Result<Lsn> {
        self.lsn("SELECT pg_current_wal_flush_lsn()::text").await
    }

    /// The xid of a transaction of its own, which has ended. Its commit has the server flush what
    /// came before, soon: a transaction that wrote nothing is committed without waiting, but wakes the WAL writer.
    pub async fn current_xid(&self) -> Result<u64> {
        xid(&self.sql.rows("SELECT pg_current_xact_id()::text", &[]).await?)
    }

    async fn lsn(&self, query: &str) -> Result<Lsn> {
        let rows = self.sql.prepared(query, &[]).await?;
        let text: &str = rows.first().map_or_else(|| Ok(""), |row| column(row, 0))?;
        text.parse().map_err(|_| Error::new(Kind::Protocol, "an LSN that is none"))
    }

    /// The rows of the range as of the snapshot that `begin` took, as COPY writes them, into the memory of `room`.
    /// `filter` is a condition as SQL.
    pub async fn rows(
        &self,
        table: &ChunkTable,
        lower: Option<&KeyText>,
        upper: Option<&KeyText>,
        filter: Option<&str>,
        room: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let query = table.copy(lower, upper, filter);
        let read = async {
            let mut parts = pin!(self.sql.copy_out(&query).await?);
            let mut bytes = room;
            bytes.clear();
            while let Some(part) = parts.try_next().await? {
                bytes.extend_from_slice(&part);
            }
            Ok(bytes)
        };
        read.await.map_err(|error: Error| at(error, table))
    }

    /// Ends the transaction, whatever became of it.
    pub async fn end(&self) -> Result<()> {
        self.sql.run("ROLLBACK").await
    }
}

fn lock(table: &ChunkTable) -> String {
    let before = if mutated(Mutation::LockBehindSnapshot) { "SELECT pg_current_snapshot(); " } else { "" };
    format!("{before}LOCK TABLE {} IN ACCESS SHARE MODE", table.lock)
}

fn at(error: Error, table: &ChunkTable) -> Error {
    error.at(At::table(table.name.clone()))
}
