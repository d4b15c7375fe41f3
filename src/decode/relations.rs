//! The tables that the stream has described so far, by OID and by dense index.

use std::sync::Arc;

use super::reader::Reader;
use crate::error::Result;
use crate::model::{Column, ColumnType, Relation, ReplicaIdentity, TableName};

/// The current version of each table. A lookup by OID costs a comparison when the table is the last row's, else a
/// binary search; no hash per row.
#[derive(Debug, Default)]
pub(super) struct Relations {
    versions: Vec<Arc<Relation>>,
    /// OID and index, sorted by OID.
    by_oid: Vec<(u32, usize)>,
    last: Option<(u32, usize)>,
    /// The table that was described last, until a row says under which table's name it comes.
    described: Option<usize>,
    /// Tables that are published for their partitions, each with one of those.
    partitions: Vec<(usize, usize)>,
}

impl Relations {
    pub(super) fn get(&self, index: usize) -> Option<&Arc<Relation>> {
        self.versions.get(index)
    }

    /// The index of the table with this OID.
    #[inline]
    pub(super) fn index(&mut self, oid: u32) -> Option<usize> {
        if let Some((_, index)) = self.last.filter(|(last, _)| *last == oid) {
            return Some(index);
        }
        let place = self.by_oid.binary_search_by_key(&oid, |(known, _)| *known).ok()?;
        self.last = self.by_oid.get(place).copied();
        self.last.map(|(_, index)| index)
    }

    /// Makes this the current version of its table and returns the table's index.
    pub(super) fn put(&mut self, relation: Relation) -> usize {
        let index = self.place(relation);
        self.described = Some(index);
        self.narrow(index);
        index
    }

    /// Before each message: with `publish_via_partition_root` the server describes the root, then the partition, and a
    /// row comes as the root's (pgoutput.c, `maybe_send_schema`). What the row holds of the old one follows the
    /// partition's replica identity. Some: this table's identity has become narrower by that.
    #[inline]
    pub(super) fn narrowed(&mut self, body: &[u8]) -> Option<usize> {
        let partition = self.described?;
        self.attach(partition, body)
    }

    #[cold]
    fn attach(&mut self, partition: usize, body: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(body);
        let tag = reader.u8().ok()?;
        if matches!(tag, b'R' | b'Y') {
            return None;
        }
        self.described = None;
        if !matches!(tag, b'I' | b'U' | b'D') {
            return None;
        }
        let table = self.index(reader.u32().ok()?)?;
        if table == partition || self.partitions.contains(&(table, partition)) {
            return None;
        }
        self.partitions.push((table, partition));
        self.narrow(table).then_some(table)
    }

    /// Leaves a table the identity that its partitions have too; true where that is less than its own.
    fn narrow(&mut self, index: usize) -> bool {
        let Some(mut table) = self.get(index).map(|table| Relation::clone(table)) else { return false };
        let partitions = self.partitions.iter().filter(|(of, _)| *of == index);
        let partitions: Vec<&Arc<Relation>> = partitions.filter_map(|(_, partition)| self.get(*partition)).collect();
        let sent = |name: &str| {
            let has = |partition: &Relation| partition.columns.iter().any(|of| of.in_identity && of.name == name);
            partitions.iter().all(|partition| has(partition))
        };
        let mut narrower = false;
        for column in table.columns.iter_mut().filter(|column| column.in_identity && !sent(&column.name)) {
            (column.in_identity, column.in_key, narrower) = (false, false, true);
        }
        if narrower {
            table.identity = ReplicaIdentity::Partial;
            self.set(index, table);
        }
        narrower
    }

    fn place(&mut self, relation: Relation) -> usize {
        let oid = relation.oid;
        match self.by_oid.binary_search_by_key(&oid, |(known, _)| *known) {
            Ok(_) => {
                let index = self.index(oid).unwrap_or_default();
                self.set(index, relation);
                index
            }
            Err(place) => {
                let index = self.versions.len();
                self.versions.push(Arc::new(relation));
                self.by_oid.insert(place, (oid, index));
                index
            }
        }
    }

    /// Replaces the version at `index`, if that is this table's.
    pub(super) fn set(&mut self, index: usize, relation: Relation) {
        if let Some(version) = self.versions.get_mut(index).filter(|version| version.oid == relation.oid) {
            *version = Arc::new(relation);
        }
    }
}

/// Reads a Relation message after its type byte. `in_key` follows the replica identity; under FULL no column has it
/// until the catalog has named the primary key.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Relation> {
    let oid = reader.u32()?;
    // The server writes pg_catalog as an empty string.
    let schema = Some(reader.text()?).filter(|schema| !schema.is_empty()).unwrap_or("pg_catalog");
    let name = TableName::new(schema, reader.text()?);
    let identity = match reader.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        _ => return Err(reader.fault("an unknown replica identity")),
    };
    let count = reader.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(read_column(reader, identity)?);
    }
    Ok(Relation { oid, name, identity, columns })
}

fn read_column(reader: &mut Reader<'_>, identity: ReplicaIdentity) -> Result<Column> {
    let in_identity = reader.u8()? & 1 != 0;
    let name = reader.text()?.to_owned();
    let (type_oid, modifier) = (reader.u32()?, reader.i32()?);
    let kind = ColumnType::builtin(type_oid, modifier).unwrap_or_else(|| ColumnType::Other(format!("type {type_oid}")));
    let in_key = in_identity && identity != ReplicaIdentity::Full;
    Ok(Column { name, type_oid, modifier, kind, in_identity, in_key })
}
