//! Rows, relations, contracts and plans for the unit tests of this stage.

use std::path::PathBuf;
use std::sync::Arc;

use crate::connector::{
    ColumnRef, EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, OnNull, Place, Side, TopicPlan,
};
use crate::contract::{Contract, ContractField, FieldType, Nullability};
use crate::model::{
    Change, Column, ColumnType, Datum, Operation, Relation, ReplicaIdentity, Row, Slot, SlotKind, TableName,
};

/// A row that owns its bytes.
pub(in crate::encode) struct OwnedRow {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl OwnedRow {
    pub(in crate::encode) fn new(values: &[Datum<'_>]) -> OwnedRow {
        let mut row = OwnedRow { bytes: Vec::new(), slots: Vec::new() };
        for value in values {
            let (kind, bytes): (_, &[u8]) = match value {
                Datum::Null => (SlotKind::Null, &[]),
                Datum::Unchanged => (SlotKind::Unchanged, &[]),
                Datum::Absent => (SlotKind::Absent, &[]),
                Datum::Text(bytes) => (SlotKind::Text, bytes),
                Datum::Binary(bytes) => (SlotKind::Binary, bytes),
            };
            let (start, len) = (row.bytes.len() as u32, bytes.len() as u32);
            row.slots.push(Slot { kind, start, len });
            row.bytes.extend_from_slice(bytes);
        }
        row
    }

    pub(in crate::encode) fn row(&self) -> Row<'_> {
        Row::new(&self.bytes, &self.slots)
    }

    pub(in crate::encode) fn insert(&self) -> Change<'_> {
        Change { operation: Operation::Insert, old: None, new: Some(self.row()) }
    }
}

pub(in crate::encode) fn relation(columns: &[(&str, ColumnType)]) -> Relation {
    let column = |(i, (name, kind)): (usize, &(&str, ColumnType))| Column {
        name: (*name).to_owned(),
        type_oid: 0,
        modifier: -1,
        kind: kind.clone(),
        in_identity: i == 0,
        in_key: i == 0,
    };
    Relation {
        oid: 16_384,
        name: TableName::new("public", "orders"),
        identity: ReplicaIdentity::Default,
        columns: columns.iter().enumerate().map(column).collect(),
    }
}

/// A relation whose updates and deletes carry the whole old row.
pub(in crate::encode) fn full(columns: &[(&str, ColumnType)]) -> Relation {
    let mut relation = relation(columns);
    relation.identity = ReplicaIdentity::Full;
    relation.columns.iter_mut().for_each(|column| column.in_identity = true);
    relation
}

pub(in crate::encode) fn contract(fields: Vec<ContractField>) -> Arc<Contract> {
    Arc::new(Contract {
        path: "oms/OrderPlaced/v1".to_owned(),
        full_name: "oms.OrderPlaced".to_owned(),
        version: 1,
        file: PathBuf::from("schemas/oms/OrderPlaced/v1.avsc"),
        fields,
        schema: String::new(),
    })
}

pub(in crate::encode) fn field(name: &str, kind: FieldType, nullable: Nullability) -> ContractField {
    ContractField { name: name.to_owned(), kind, nullable, default: None }
}

pub(in crate::encode) fn place(line: usize) -> Place {
    Place { file: PathBuf::from("connectors/oms.toml"), line, column: 9 }
}

pub(in crate::encode) fn column(name: &str, text: &str) -> FieldPlan {
    let (side, column) = match text.split_once('.') {
        Some(("old", column)) => (Side::Old, column),
        Some(("new", column)) => (Side::New, column),
        _ => (Side::Row, text),
    };
    let column = ColumnRef { side, name: column.to_owned() };
    plan(name, FieldSource::Column { column, on_null: OnNull::Refuse })
}

pub(in crate::encode) fn plan(name: &str, source: FieldSource) -> FieldPlan {
    FieldPlan { name: name.to_owned(), source, place: place(7) }
}

pub(in crate::encode) fn map(name: &str, column: &str, pairs: &[(&str, &str)]) -> FieldPlan {
    let map = pairs.iter().map(|(code, value)| ((*code).to_owned(), (*value).to_owned())).collect();
    let column = ColumnRef { side: Side::Row, name: column.to_owned() };
    plan(name, FieldSource::Map { column, map, on_null: OnNull::Refuse })
}

pub(in crate::encode) fn topic() -> TopicPlan {
    let (create, config) = (None, std::collections::BTreeMap::new());
    TopicPlan { name: "oms.orders".to_owned(), key: KeyKind::String, create, config, place: place(1) }
}

/// An event on insert with the first column's text as key.
pub(in crate::encode) fn event(contract: Arc<Contract>, key: FieldPlan, fields: Vec<FieldPlan>) -> EventPlan {
    EventPlan {
        contract,
        table: TableName::new("public", "orders"),
        on: [Operation::Insert].into_iter().collect(),
        when: None,
        topic: 0,
        key: KeyPlan::String(key),
        fields,
        headers: Vec::new(),
        place: place(5),
    }
}

/// `numeric_send` of a decimal text, written here anew so that the code under test has a second opinion.
pub(in crate::encode) fn numeric(text: &str) -> Vec<u8> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!(
        "{}{whole}{fraction}{}",
        "0".repeat((4 - whole.len() % 4) % 4),
        "0".repeat((4 - fraction.len() % 4) % 4)
    );
    let mut groups: Vec<u16> =
        digits.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap().parse().unwrap()).collect();
    let mut weight = whole.len().div_ceil(4) as i16 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if negative && !groups.is_empty() { 0x4000 } else { 0 };
    let head = [groups.len() as u16, weight.cast_unsigned(), sign, fraction.len() as u16];
    head.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect()
}
