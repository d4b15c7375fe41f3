//! The decoder: message by message, with the tables described so far and memory that is reused from row to row.

use std::sync::Arc;

use super::message::Message;
use super::reader::Reader;
use super::relations::{self, Relations};
use super::tuple;
use crate::error::{Error, Result};
use crate::model::{Change, Operation, Relation, ReplicaIdentity, Row, Slot};

/// Decodes one replication stream. A new connection may keep it: the server describes each table again.
#[derive(Debug, Default)]
pub struct Decoder {
    relations: Relations,
    old: Vec<Slot>,
    pub(super) new: Vec<Slot>,
    pub(super) truncated: Vec<usize>,
}

impl Decoder {
    /// A decoder that knows no table yet.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// The current version of the table with this index.
    pub fn relation(&self, index: usize) -> Option<&Arc<Relation>> {
        self.relations.get(index)
    }

    /// Replaces the current version of a table by one that the catalog has enriched (`kind`, `in_key`).
    /// Columns keep their number and order; a relation with another OID is ignored.
    pub fn set_relation(&mut self, index: usize, relation: Relation) {
        self.relations.set(index, relation);
    }

    /// To be asked before each message is decoded. Some: a row of a partition comes under the name of the table with
    /// this index, and the partition's replica identity is narrower: the table has a new version, to be compiled again.
    #[inline]
    pub fn narrowed(&mut self, body: &[u8]) -> Option<usize> {
        self.relations.narrowed(body)
    }

    /// Decodes the body of one message (of an XLogData, after its header). An error is of kind `Protocol`: the bytes
    /// are not a message of protocol version 1, or speak of a table that was not described.
    pub fn decode<'a>(&'a mut self, body: &'a [u8]) -> Result<Message<'a>> {
        let mut reader = Reader::new(body);
        match reader.u8()? {
            b'I' => self.insert(reader),
            b'U' => self.update(reader),
            b'D' => self.delete(reader),
            b'R' => self.describe(reader),
            b'T' => self.truncate(reader),
            b'B' => begin(reader),
            b'C' => commit(reader),
            b'M' => logical(reader),
            b'O' => origin(reader),
            b'Y' => type_name(reader),
            other => Err(reader.fault(format_args!("a type {:?} that version 1 does not have", char::from(other)))),
        }
    }

    fn insert<'a>(&'a mut self, mut reader: Reader<'a>) -> Result<Message<'a>> {
        reader.name("Insert");
        let (relation, table) = find(&mut self.relations, &mut reader)?;
        expect_new(&mut reader)?;
        tuple::read_row(&mut reader, table, &mut self.new)?;
        reader.end()?;
        let new = Row::new(reader.body(), &self.new);
        let change = Change { operation: Operation::Insert, old: None, new: Some(new) };
        Ok(Message::Row { relation, change })
    }

    fn update<'a>(&'a mut self, mut reader: Reader<'a>) -> Result<Message<'a>> {
        reader.name("Update");
        let (relation, table) = find(&mut self.relations, &mut reader)?;
        let has_old = match reader.u8()? {
            b'N' if table.identity == ReplicaIdentity::Full => {
                return Err(reader.fault("no old row of a table with REPLICA IDENTITY FULL"));
            }
            b'N' => false,
            mark => {
                read_old(&mut reader, mark, table, &mut self.old)?;
                expect_new(&mut reader)?;
                true
            }
        };
        tuple::read_row(&mut reader, table, &mut self.new)?;
        reader.end()?;
        let old = has_old.then(|| Row::new(reader.body(), &self.old));
        let new = Row::new(reader.body(), &self.new);
        Ok(Message::Row { relation, change: Change { operation: Operation::Update, old, new: Some(new) } })
    }

    fn delete<'a>(&'a mut self, mut reader: Reader<'a>) -> Result<Message<'a>> {
        reader.name("Delete");
        let (relation, table) = find(&mut self.relations, &mut reader)?;
        let mark = reader.u8()?;
        read_old(&mut reader, mark, table, &mut self.old)?;
        reader.end()?;
        let old = Row::new(reader.body(), &self.old);
        let change = Change { operation: Operation::Delete, old: Some(old), new: None };
        Ok(Message::Row { relation, change })
    }

    fn describe<'a>(&'a mut self, mut reader: Reader<'a>) -> Result<Message<'a>> {
        reader.name("Relation");
        let relation = relations::read(&mut reader)?;
        reader.end()?;
        Ok(Message::Relation { index: self.relations.put(relation) })
    }

    fn truncate<'a>(&'a mut self, mut reader: Reader<'a>) -> Result<Message<'a>> {
        reader.name("Truncate");
        let count = reader.u32()?;
        let flags = reader.u8()?;
        self.truncated.clear();
        for _ in 0..count {
            let (relation, _) = find(&mut self.relations, &mut reader)?;
            self.truncated.push(relation);
        }
        reader.end()?;
        Ok(Message::Truncate { relations: &self.truncated, cascade: flags & 1 != 0, restart_identity: flags & 2 != 0 })
    }
}

/// Reads a table's OID and finds the table.
#[inline]
fn find<'r>(relations: &'r mut Relations, reader: &mut Reader<'_>) -> Result<(usize, &'r Relation)> {
    let oid = reader.u32()?;
    let Some(index) = relations.index(oid) else { return Err(undescribed(reader, oid)) };
    let Some(relation) = relations.get(index) else { return Err(undescribed(reader, oid)) };
    Ok((index, relation))
}

#[cold]
fn undescribed(reader: &Reader<'_>, oid: u32) -> Error {
    reader.fault(format_args!("a table with OID {oid} that no Relation message described"))
}

fn read_old(reader: &mut Reader<'_>, mark: u8, table: &Relation, slots: &mut Vec<Slot>) -> Result<()> {
    match mark {
        b'K' => tuple::read_key(reader, table, slots),
        // The mark is the table's, the row its partition's.
        b'O' if table.identity == ReplicaIdentity::Partial => tuple::read_key(reader, table, slots),
        b'O' => tuple::read_row(reader, table, slots),
        _ => Err(reader.fault("a row of unknown kind")),
    }
}

fn expect_new(reader: &mut Reader<'_>) -> Result<()> {
    match reader.u8()? {
        b'N' => Ok(()),
        _ => Err(reader.fault("no new row")),
    }
}

fn begin<'a>(mut reader: Reader<'a>) -> Result<Message<'a>> {
    reader.name("Begin");
    let (final_lsn, commit_time_us, xid) = (reader.lsn()?, reader.time()?, reader.u32()?);
    reader.end()?;
    Ok(Message::Begin { final_lsn, commit_time_us, xid })
}

fn commit<'a>(mut reader: Reader<'a>) -> Result<Message<'a>> {
    reader.name("Commit");
    reader.u8()?;
    let (commit_lsn, end_lsn, commit_time_us) = (reader.lsn()?, reader.lsn()?, reader.time()?);
    reader.end()?;
    Ok(Message::Commit { commit_lsn, end_lsn, commit_time_us })
}

fn logical<'a>(mut reader: Reader<'a>) -> Result<Message<'a>> {
    reader.name("Message");
    let transactional = reader.u8()? & 1 != 0;
    let (lsn, prefix, content) = (reader.lsn()?, reader.terminated()?, reader.counted()?);
    reader.end()?;
    Ok(Message::Logical { transactional, lsn, prefix, content })
}

fn origin<'a>(mut reader: Reader<'a>) -> Result<Message<'a>> {
    reader.name("Origin");
    reader.lsn()?;
    reader.terminated()?;
    reader.end()?;
    Ok(Message::Origin)
}

fn type_name<'a>(mut reader: Reader<'a>) -> Result<Message<'a>> {
    reader.name("Type");
    reader.u32()?;
    reader.terminated()?;
    reader.terminated()?;
    reader.end()?;
    Ok(Message::Type)
}
