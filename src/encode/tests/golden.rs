//! The golden bytes of docs/wire.md, read from the page itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::Schema;
use apache_avro::types::Value;

use super::super::headers::{HeaderMode, HeaderNames, HeaderPlan};
use super::super::{Capture, EventProgram, Meta, SchemaIds, TombstoneProgram};
use super::fixture::*;
use crate::connector::{EventPlan, FieldSource, KeyKind, KeyPlan, Literal, TombstonePlan, TopicPlan};
use crate::contract::{Contract, FieldType, MetaField, Nullability};
use crate::model::{Batch, ColumnType, Datum, Operation, Relation};

const PAGE: &str = include_str!("../../../docs/wire.md");

/// The fenced blocks whose info string is `kind name`, by name.
fn blocks(kind: &str) -> BTreeMap<&'static str, &'static str> {
    let mut blocks = BTreeMap::new();
    let mut rest = PAGE;
    while let Some((_, after)) = rest.split_once("```") {
        let (info, after) = after.split_once('\n').unwrap();
        let (body, after) = after.split_once("```").unwrap();
        rest = after;
        if let Some((found, name)) = info.split_once(' ')
            && found == kind
        {
            assert!(blocks.insert(name, body).is_none(), "{name} twice");
        }
    }
    blocks
}

fn text(name: &str) -> &'static str {
    blocks("golden-text")[name].trim()
}

fn golden_bytes(name: &str) -> Vec<u8> {
    let lines = blocks("golden")[name].lines().map(|line| line.split('#').next().unwrap());
    lines.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn golden_headers(name: &str) -> Vec<(String, String)> {
    let split =
        |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.trim().to_owned())).unwrap();
    blocks("golden-headers")[name].lines().map(split).collect()
}

fn relation_of_the_page() -> Relation {
    relation(&[
        ("id", ColumnType::Int8),
        ("customer_id", ColumnType::Uuid),
        ("status", ColumnType::Text),
        ("total", ColumnType::Numeric { precision: Some(12), scale: Some(2) }),
        ("note", ColumnType::Text),
        ("request_id", ColumnType::Text),
    ])
}

fn row() -> OwnedRow {
    let uuid = [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
    OwnedRow::new(&[
        Datum::Binary(&4711_i64.to_be_bytes()),
        Datum::Binary(&uuid),
        Datum::Binary(b"P"),
        Datum::Binary(&numeric("129.50")),
        Datum::Null,
        Datum::Binary(b"w3-1842"),
    ])
}

fn meta() -> Meta<'static> {
    Meta {
        id: text("id").as_bytes(),
        // 2026-11-21T14:05:00.123456Z
        occurred_at: Some(1_795_269_900_123_456),
        source: "/oms/demo",
        sequence: text("sequence").as_bytes(),
        operation: Operation::Insert,
        capture: Capture::Stream,
    }
}

fn event_of_the_page() -> EventPlan {
    use MetaField::{Capture, CorrelationId, Id, OccurredAt, Operation, Sequence, Source, Traceparent};
    use Nullability::{Never, NullFirst};
    let meta = vec![
        (Id, Never),
        (OccurredAt, NullFirst),
        (Source, Never),
        (Sequence, Never),
        (Operation, Never),
        (Capture, Never),
        (CorrelationId, NullFirst),
        (Traceparent, NullFirst),
    ];
    let contract = contract(vec![
        field("meta", FieldType::Meta(meta), Never),
        field("order_id", FieldType::Long, Never),
        field("customer_id", FieldType::Uuid, Never),
        field("status", FieldType::Enum(vec!["PLACED".to_owned(), "SHIPPED".to_owned()]), Never),
        field("currency", FieldType::String, Never),
        field("total", FieldType::Decimal { precision: 12, scale: 2 }, Never),
        field("note", FieldType::String, NullFirst),
    ]);
    let fields = vec![
        plan("meta", FieldSource::Meta),
        column("order_id", "id"),
        column("customer_id", "customer_id"),
        map("status", "status", &[("P", "PLACED"), ("S", "SHIPPED")]),
        plan("currency", FieldSource::Literal(Literal::String("EUR".to_owned()))),
        column("total", "total"),
        column("note", "note"),
    ];
    let headers = vec![("correlation_id".to_owned(), column("correlation_id", "request_id"))];
    EventPlan { headers, ..event(contract, column("key", "id"), fields) }
}

fn program() -> EventProgram {
    let ids = SchemaIds { value: 258, key: None };
    EventProgram::compile(&event_of_the_page(), &topic(), &relation_of_the_page(), ids).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn key_and_value_are_those_of_the_page() {
    let (row, mut key, mut value) = (row(), Vec::new(), Vec::new());
    program().key(&row.insert(), &mut key).unwrap();
    program().value(&row.insert(), &meta(), &mut value).unwrap();
    assert_eq!(hex(&key), hex(&golden_bytes("key-string")));
    assert_eq!(hex(&value), hex(&golden_bytes("value")));
}

#[test]
fn the_pages_value_reads_as_the_pages_row() {
    let schema = Schema::parse_str(blocks("json")["contract"]).unwrap();
    let bytes = golden_bytes("value");
    let mut rest = &bytes[5..];
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    let Value::Record(fields) = value else { panic!("no record") };
    let fields: BTreeMap<_, _> = fields.into_iter().collect();
    assert_eq!(fields["order_id"], Value::Long(4711));
    assert_eq!(fields["status"], Value::Enum(0, "PLACED".to_owned()));
    assert_eq!(fields["currency"], Value::String("EUR".to_owned()));
    assert_eq!(fields["total"], Value::Decimal(12_950_i16.to_be_bytes().into()));
    assert_eq!(fields["note"], Value::Union(0, Box::new(Value::Null)));
    let Value::Record(meta) = &fields["meta"] else { panic!("no record") };
    assert_eq!(meta[0].1, Value::String(text("id").to_owned()));
    assert_eq!(meta[3].1, Value::String(text("sequence").to_owned()));
    assert_eq!(meta[6].1, Value::Union(1, Box::new(Value::String("w3-1842".to_owned()))));
}

#[test]
fn the_avro_key_is_that_of_the_page() {
    let fields = vec![field("order_id", FieldType::Long, Nullability::Never)];
    let topic = TopicPlan { key: KeyKind::Avro(Arc::new(Contract::clone(&contract(fields)))), ..topic() };
    let plans = EventPlan { key: KeyPlan::Avro(vec![column("order_id", "id")]), ..event_of_the_page() };
    let ids = SchemaIds { value: 258, key: Some(7) };
    let program = EventProgram::compile(&plans, &topic, &relation_of_the_page(), ids).unwrap();
    let (row, mut key) = (row(), Vec::new());
    program.key(&row.insert(), &mut key).unwrap();
    assert_eq!(hex(&key), hex(&golden_bytes("key-avro")));
}

fn written(batch: &Batch, names: &HeaderNames) -> Vec<(String, String)> {
    let text = |header: &crate::model::Header| {
        let value = String::from_utf8(batch.bytes[header.value.clone()].to_vec()).unwrap();
        (names.get(header.name).unwrap().to_owned(), value)
    };
    batch.headers.iter().map(text).collect()
}

fn headers(mode: HeaderMode) -> Vec<(String, String)> {
    let (row, mut names, mut batch) = (row(), HeaderNames::default(), Batch::default());
    let plan = HeaderPlan::event(mode, &event_of_the_page(), "http://registry:8081/schemas/ids/258", &mut names);
    let change = row.insert();
    program().key(&change, &mut batch.bytes).unwrap();
    let key = 0..batch.bytes.len();
    let range = plan.append(&program(), &change, &meta(), Some(&key), &mut batch).unwrap();
    assert_eq!(range, 0..batch.headers.len());
    written(&batch, &names)
}

#[test]
fn headers_are_those_of_the_page() {
    assert_eq!(headers(HeaderMode::Core), golden_headers("core"));
    assert_eq!(headers(HeaderMode::CloudEvents), golden_headers("cloudevents"));
    assert_eq!(headers(HeaderMode::None), [("correlation_id".to_owned(), "w3-1842".to_owned())]);
}

#[test]
fn tombstones_are_those_of_the_page() {
    let rule = TombstonePlan {
        table: relation_of_the_page().name,
        topic: 0,
        key: KeyPlan::String(column("key", "id")),
        place: place(1),
    };
    TombstoneProgram::compile(&rule, &topic(), &relation_of_the_page(), None).unwrap();
    let (names, mut batch) = (HeaderNames::default(), Batch::default());
    let meta = Meta { id: text("tombstone-id").as_bytes(), ..meta() };
    HeaderPlan::tombstone(HeaderMode::Core).append_tombstone(&meta, None, &mut batch);
    assert_eq!(written(&batch, &names), golden_headers("tombstone"));
    batch.clear();
    HeaderPlan::tombstone(HeaderMode::CloudEvents).append_tombstone(&meta, None, &mut batch);
    let names: Vec<_> = written(&batch, &names).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ce_id", "ce_type", "ce_specversion", "ce_source", "ce_sequence", "ce_time"]);
}

#[test]
fn no_golden_block_goes_unread() {
    let names = |kind| blocks(kind).into_keys().collect::<Vec<_>>();
    assert_eq!(names("golden"), ["key-avro", "key-string", "value"]);
    assert_eq!(names("golden-headers"), ["cloudevents", "core", "tombstone"]);
    assert_eq!(names("golden-text"), ["id", "sequence", "tombstone-id"]);
}
