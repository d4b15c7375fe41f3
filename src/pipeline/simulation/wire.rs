//! pgoutput messages of one table `public.r` with one column, the key, and the connector that publishes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::connector::{
    ByTable, ColumnRef, EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, LargeTransactions, NewColumns, OnNull,
    Place, Plan, Side, TablePlan, TopicPlan, Unhandled,
};
use crate::contract::{Contract, ContractField, FieldType, Nullability};
use crate::model::{Operation, TableName};

pub(super) const TOPIC: &str = "r";
const TABLE_OID: u32 = 7;
const TEXT_OID: u32 = 25;

fn message_of(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![kind];
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Of the transaction with this number; no two were committed in the same millisecond.
pub(super) fn begin(transaction: usize, commit_lsn: u64) -> Vec<u8> {
    let time_us = (transaction as u64 + 1) * 1000;
    message_of(b'B', &[&commit_lsn.to_be_bytes(), &time_us.to_be_bytes(), &1u32.to_be_bytes()])
}

pub(super) fn relation() -> Vec<u8> {
    let column: &[&[u8]] = &[&[1], b"k\0", &TEXT_OID.to_be_bytes(), &u32::MAX.to_be_bytes()];
    message_of(b'R', &[&TABLE_OID.to_be_bytes(), b"public\0r\0d", &1u16.to_be_bytes(), &column.concat()])
}

/// The row's key is its name: transaction and row.
pub(super) fn insert(transaction: usize, row: usize) -> Vec<u8> {
    let key = format!("{transaction}-{row}");
    let length = u32::try_from(key.len()).unwrap().to_be_bytes();
    message_of(b'I', &[&TABLE_OID.to_be_bytes(), b"N", &1u16.to_be_bytes(), b"t", &length, key.as_bytes()])
}

/// Transaction and row of a key.
pub(super) fn row_of(key: &[u8]) -> (usize, usize) {
    let (transaction, row) = std::str::from_utf8(key).unwrap().split_once('-').unwrap();
    (transaction.parse().unwrap(), row.parse().unwrap())
}

pub(super) fn commit(commit_lsn: u64, end_lsn: u64) -> Vec<u8> {
    message_of(b'C', &[&[0], &commit_lsn.to_be_bytes(), &end_lsn.to_be_bytes(), &0u64.to_be_bytes()])
}

pub(super) fn message(lsn: u64) -> Vec<u8> {
    message_of(b'M', &[&[0], &lsn.to_be_bytes(), b"p\0", &1u32.to_be_bytes(), b"x"])
}

fn place() -> Place {
    Place { file: PathBuf::from("simulation.toml"), line: 1, column: 1 }
}

pub(super) fn plan(split: bool) -> Plan {
    let table = TableName::new("public", "r");
    let column = ColumnRef { side: Side::Row, name: "k".to_owned() };
    let source = FieldSource::Column { column, on_null: OnNull::Refuse };
    let key = FieldPlan { name: "k".to_owned(), source, place: place() };
    let contract = Contract {
        path: "s/R/v1".to_owned(),
        full_name: "s.R".to_owned(),
        version: 1,
        file: PathBuf::new(),
        fields: vec![ContractField {
            name: "k".to_owned(),
            kind: FieldType::String,
            nullable: Nullability::Never,
            default: None,
        }],
        schema: String::new(),
    };
    let event = EventPlan {
        contract: Arc::new(contract),
        table: table.clone(),
        on: [Operation::Insert].into_iter().collect(),
        when: None,
        topic: 0,
        key: KeyPlan::String(key.clone()),
        fields: vec![key],
        headers: Vec::new(),
        place: place(),
    };
    let topic = TopicPlan {
        name: TOPIC.to_owned(),
        key: KeyKind::String,
        create: None,
        config: BTreeMap::new(),
        place: place(),
    };
    let section = TablePlan {
        name: table,
        unpublished: BTreeSet::new(),
        new_columns: NewColumns::Warn,
        unmatched: Unhandled::Filter,
        truncate: Unhandled::Halt,
        place: place(),
    };
    Plan {
        name: "s".to_owned(),
        source_id: "/s".to_owned(),
        topics: vec![topic],
        events: vec![event],
        tombstones: Vec::new(),
        tables: vec![section],
        unnamed: Unhandled::Filter,
        large_transactions: if split { LargeTransactions::Split } else { LargeTransactions::Whole },
        snapshot: crate::connector::SnapshotPlan {
            mode: crate::connector::SnapshotMode::None,
            workers: 1,
            rows_per_second: None,
            bytes_per_second: None,
        },
        mapping_hash: String::new(),
        by_table: ByTable::default(),
    }
}
