//! Rules against changes; expressions are written as users write them.

mod compiling;
mod conditions;
mod decimals;
mod identities;
mod routing;
mod temporals;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::connector::*;
use crate::contract::Contract;
use crate::error::Error;
use crate::model::*;

/// A table `public.orders` of these columns, the first `keys` of which are the replica identity and the key.
fn table(columns: &[(&str, ColumnType)], keys: usize) -> Relation {
    let column = |(index, (name, kind)): (usize, &(&str, ColumnType))| Column {
        name: (*name).to_owned(),
        type_oid: 0,
        modifier: -1,
        kind: kind.clone(),
        in_identity: index < keys,
        in_key: index < keys,
    };
    Relation {
        oid: 1,
        name: TableName::new("public", "orders"),
        identity: ReplicaIdentity::Default,
        columns: columns.iter().enumerate().map(column).collect(),
    }
}

/// The same under REPLICA IDENTITY FULL.
fn full(mut relation: Relation) -> Relation {
    relation.identity = ReplicaIdentity::Full;
    relation.columns.iter_mut().for_each(|column| column.in_identity = true);
    relation
}

fn orders() -> Relation {
    table(&[("id", ColumnType::Int4), ("status", ColumnType::Text), ("note", ColumnType::Text)], 1)
}

/// A plan that publishes events of `public.orders` to one topic.
fn plan(events: Vec<EventPlan>) -> Plan {
    let topic = TopicPlan {
        name: "oms.orders".to_owned(),
        key: KeyKind::String,
        create: None,
        config: BTreeMap::new(),
        place: place(1),
    };
    Plan {
        name: "oms".to_owned(),
        source_id: "/oms/test".to_owned(),
        topics: vec![topic],
        events,
        tombstones: Vec::new(),
        tables: vec![section("orders")],
        unnamed: Unhandled::Filter,
        large_transactions: LargeTransactions::Whole,
        snapshot: SnapshotPlan { mode: SnapshotMode::None, workers: 1, rows_per_second: None, bytes_per_second: None },
        mapping_hash: String::new(),
        by_table: ByTable::default(),
    }
}

fn section(name: &str) -> TablePlan {
    TablePlan {
        name: TableName::new("public", name),
        unpublished: BTreeSet::new(),
        new_columns: NewColumns::Warn,
        unmatched: Unhandled::Filter,
        truncate: Unhandled::Halt,
        place: place(2),
    }
}

/// An event on these operations, with an optional condition, whose key and only field is `id`.
fn event(name: &str, on: &[Operation], when: &str) -> EventPlan {
    let contract = Contract {
        path: format!("oms/{name}/v1"),
        full_name: format!("oms.{name}"),
        version: 1,
        file: PathBuf::new(),
        fields: Vec::new(),
        schema: String::new(),
    };
    EventPlan {
        contract: Arc::new(contract),
        table: TableName::new("public", "orders"),
        on: on.iter().copied().collect(),
        when: (!when.is_empty()).then(|| Expression::parse(when, place(7)).unwrap()),
        topic: 0,
        key: KeyPlan::String(field("key", "id")),
        fields: vec![field("order_id", "id")],
        headers: Vec::new(),
        place: place(5),
    }
}

fn tombstone(key: &str) -> TombstonePlan {
    let table = TableName::new("public", "orders");
    TombstonePlan { table, topic: 0, key: KeyPlan::String(field("key", key)), place: place(20) }
}

fn field(name: &str, column: &str) -> FieldPlan {
    let expression = Expression::parse(column, place(9)).unwrap();
    let NodeKind::Column(column) = expression.root.kind else { panic!("not a column") };
    let source = FieldSource::Column { column, on_null: OnNull::Refuse };
    FieldPlan { name: name.to_owned(), source, place: place(9) }
}

fn place(line: usize) -> Place {
    Place { file: PathBuf::from("oms.toml"), line, column: 9 }
}

/// A row as slots over its bytes.
#[derive(Default)]
struct Owned {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Owned {
    fn of(data: &[Datum<'_>]) -> Owned {
        let mut row = Owned::default();
        for datum in data {
            let (kind, value): (_, &[u8]) = match *datum {
                Datum::Null => (SlotKind::Null, b""),
                Datum::Unchanged => (SlotKind::Unchanged, b""),
                Datum::Absent => (SlotKind::Absent, b""),
                Datum::Text(value) => (SlotKind::Text, value),
                Datum::Binary(value) => (SlotKind::Binary, value),
            };
            row.slots.push(Slot { kind, start: row.bytes.len() as u32, len: value.len() as u32 });
            row.bytes.extend_from_slice(value);
        }
        row
    }

    fn row(&self) -> Row<'_> {
        Row::new(&self.bytes, &self.slots)
    }
}

/// A datum in text form.
fn t(value: &str) -> Datum<'_> {
    Datum::Text(value.as_bytes())
}

/// Routes one change; the events' and tombstones' indexes with what became of it.
fn route(
    rules: &TableRules,
    operation: Operation,
    old: Option<&[Datum<'_>]>,
    new: Option<&[Datum<'_>]>,
) -> Result<(Routed, Yields), Error> {
    let (old, new) = (old.map(Owned::of), new.map(Owned::of));
    let change = Change { operation, old: old.as_ref().map(Owned::row), new: new.as_ref().map(Owned::row) };
    let mut yields = Yields { tombstones: vec![99], events: vec![99] };
    rules.route(&change, &mut yields).map(|routed| (routed, yields))
}
