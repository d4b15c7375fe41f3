mod speed;

use std::sync::Arc;

use super::super::tests::fixture::*;
use super::super::{Capture, Meta};
use super::*;
use crate::connector::{KeyKind, Literal};
use crate::contract::{Contract, FieldType, MetaField, Nullability};
use crate::model::{ColumnType, Datum};

const IDS: SchemaIds = SchemaIds { value: 1, key: None };

fn meta() -> Meta<'static> {
    Meta {
        id: b"id-1",
        occurred_at: Some(5),
        source: "/oms/test",
        sequence: b"seq",
        operation: Operation::Rekey,
        capture: Capture::Replay,
    }
}

fn compile(event: &EventPlan, relation: &Relation) -> Result<EventProgram> {
    EventProgram::compile(event, &topic(), relation, IDS)
}

fn of_string(name: &str) -> ContractField {
    field(name, FieldType::String, Nullability::Never)
}

/// One field `f` of type string on a table `id bigint, c text`, from `source`.
fn one_field(source: FieldPlan, on: &[Operation]) -> EventPlan {
    let mut event =
        event(contract(vec![of_string("f")]), plan("key", FieldSource::Literal(Literal::Int(1))), vec![source]);
    event.on = on.iter().copied().collect();
    event
}

fn id_and_text() -> Vec<(&'static str, ColumnType)> {
    vec![("id", ColumnType::Int8), ("c", ColumnType::Text)]
}

fn text(value: &str) -> Datum<'_> {
    Datum::Binary(value.as_bytes())
}

const ID: Datum<'_> = Datum::Binary(&[0, 0, 0, 0, 0, 0, 0, 7]);

fn value(program: &EventProgram, change: &Change<'_>) -> std::result::Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let written = program.value(change, &meta(), &mut out);
    if written.is_err() {
        assert!(out.is_empty(), "bytes left behind by an error");
    }
    written.map(|()| out.split_off(5))
}

#[test]
fn all_faults_of_a_rule_are_named_at_once() {
    let columns = [
        ("id", ColumnType::Int8),
        ("total", ColumnType::Float8),
        ("at", ColumnType::Timestamp),
        ("ip", ColumnType::Other("inet".to_owned())),
    ];
    let fields = vec![
        of_string("currency"),
        field("total", FieldType::Decimal { precision: 12, scale: 2 }, Nullability::Never),
        field("placed_at", FieldType::TimestampMicros, Nullability::Never),
        of_string("ip"),
        of_string("note"),
        of_string("default"),
        field("count", FieldType::Int, Nullability::Never),
    ];
    let sources = vec![
        column("currency", "EUR"),
        column("total", "total"),
        column("placed_at", "at"),
        column("ip", "ip"),
        plan("default", FieldSource::Default),
        plan("count", FieldSource::Literal(Literal::String("3".to_owned()))),
    ];
    let error = compile(&event(contract(fields), column("key", "total"), sources), &relation(&columns)).unwrap_err();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    let expected = "\
8 faults
connectors/oms.toml:7:9: currency: no column EUR; for the constant write 'EUR'
connectors/oms.toml:7:9: total: column total of public.orders is double precision, field total of oms/OrderPlaced/v1 is bytes (decimal 12,2); double precision fits double
connectors/oms.toml:7:9: placed_at: column at of public.orders is timestamp, field placed_at of oms/OrderPlaced/v1 is long (timestamp-micros); a timestamp without time zone is no instant: which one it means depends on a zone that the column does not tell; timestamp fits long (local-timestamp-micros)
connectors/oms.toml:7:9: ip: column ip of public.orders is inet, field ip of oms/OrderPlaced/v1 is string; columns of type inet are not supported yet
connectors/oms.toml:5:9: note: field note of oms/OrderPlaced/v1 has no source: a column, a constant or { default = true }
connectors/oms.toml:7:9: default: field default of oms/OrderPlaced/v1 has no default
connectors/oms.toml:7:9: count: the constant '3' does not fit int
connectors/oms.toml:7:9: key: column total of public.orders is double precision, which is not supported as text (in keys, headers and maps)";
    assert_eq!(error.detail(), expected);
    assert_eq!(error.place().to_string(), "table public.orders, contract oms/OrderPlaced/v1, topic oms.orders");
}

#[test]
fn rows_that_do_not_exist_are_refused_when_compiling() {
    use Operation::{Delete, Insert, Truncate, Update};
    for (source, on, full_identity, expected) in [
        ("old.c", vec![Insert], true, Err((Kind::SchemaMismatch, "on insert there is no old row"))),
        ("new.c", vec![Update, Delete], true, Err((Kind::SchemaMismatch, "on delete there is no new row"))),
        ("c", vec![Truncate], true, Err((Kind::SchemaMismatch, "on truncate there is no row"))),
        ("c", vec![Delete], false, Err((Kind::ReplicaIdentity, "ALTER TABLE public.orders REPLICA IDENTITY FULL"))),
        ("old.c", vec![Update], false, Err((Kind::ReplicaIdentity, "ALTER TABLE public.orders REPLICA IDENTITY FULL"))),
        ("old.c", vec![Update, Delete], true, Ok(())),
        ("c", vec![Insert, Update], false, Ok(())),
    ] {
        let relation = if full_identity { full(&id_and_text()) } else { relation(&id_and_text()) };
        let compiled = compile(&one_field(column("f", source), &on), &relation);
        match expected {
            Ok(()) => assert!(compiled.is_ok(), "{source} {on:?}"),
            Err((kind, part)) => {
                let error = compiled.unwrap_err();
                assert_eq!(error.kind(), kind, "{source} {on:?}");
                assert!(error.detail().contains(part), "{error}");
            }
        }
    }
}

#[test]
fn each_side_is_taken_from_its_row() {
    let (old, new) = (OwnedRow::new(&[ID, text("before")]), OwnedRow::new(&[ID, text("after")]));
    let change = Change { operation: Operation::Update, old: Some(old.row()), new: Some(new.row()) };
    let delete = Change { operation: Operation::Delete, old: Some(old.row()), new: None };
    for (source, change, expected) in
        [("old.c", change, "before"), ("new.c", change, "after"), ("c", change, "after"), ("c", delete, "before")]
    {
        let program = compile(&one_field(column("f", source), &[change.operation]), &full(&id_and_text())).unwrap();
        assert_eq!(value(&program, &change).unwrap()[1..], *expected.as_bytes(), "{source}");
    }
    // Without an old row the update left the identity as it was.
    let program =
        compile(&one_field(column("f", "old.id"), &[Operation::Update]), &relation(&[("id", ColumnType::Text)]))
            .unwrap();
    let new = OwnedRow::new(&[text("key")]);
    let change = Change { operation: Operation::Update, old: None, new: Some(new.row()) };
    assert_eq!(value(&program, &change).unwrap()[1..], *b"key");
}

#[test]
fn what_was_not_sent_is_an_error_of_its_own() {
    let program = compile(&one_field(column("f", "c"), &[Operation::Update]), &full(&id_and_text())).unwrap();
    let old = OwnedRow::new(&[ID, text("before")]);
    let unchanged = OwnedRow::new(&[ID, Datum::Unchanged]);
    let known = Change { operation: Operation::Update, old: Some(old.row()), new: Some(unchanged.row()) };
    assert_eq!(value(&program, &known).unwrap()[1..], *b"before");
    for (old, new, kind, detail) in [
        (
            Datum::Absent,
            Datum::Unchanged,
            Kind::UnchangedToast,
            "was left unchanged by the update and was not sent again",
        ),
        (Datum::Null, Datum::Absent, Kind::Protocol, "was not sent with the change"),
        (Datum::Null, Datum::Null, Kind::NullValue, "is NULL, and it takes no null"),
    ] {
        let (old, new) = (OwnedRow::new(&[ID, old]), OwnedRow::new(&[ID, new]));
        let change = Change { operation: Operation::Update, old: Some(old.row()), new: Some(new.row()) };
        let error = value(&program, &change).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.detail(), format!("column c for field f {detail}, by the rule at connectors/oms.toml:7:9"));
        assert_eq!(error.place().column.as_deref(), Some("c"));
    }
}

#[test]
fn maps_look_the_text_up() {
    let columns = [("id", ColumnType::Int8), ("c", ColumnType::Int4)];
    let program = compile(
        &one_field(map("f", "c", &[("1", "PLACED"), ("-2", "PAID")]), &[Operation::Insert]),
        &relation(&columns),
    )
    .unwrap();
    let of = |code: i32| {
        let row = OwnedRow::new(&[ID, Datum::Binary(&code.to_be_bytes())]);
        value(&program, &row.insert())
    };
    assert_eq!(of(1).unwrap(), b"\x0cPLACED");
    assert_eq!(of(-2).unwrap(), b"\x08PAID");
    let error = of(3).unwrap_err();
    assert_eq!(error.kind(), Kind::UnlistedCode);
    assert_eq!(
        error.detail(),
        "column c for field f has a code that is not listed, by the rule at connectors/oms.toml:7:9"
    );
    let symbols = FieldType::Enum(vec!["A".to_owned(), "B".to_owned()]);
    let bad = event(
        contract(vec![field("f", symbols, Nullability::Never)]),
        column("key", "id"),
        vec![map("f", "c", &[("1", "C")])],
    );
    let error = compile(&bad, &relation(&columns)).unwrap_err();
    assert!(error.detail().contains("map 1: 'C' is no symbol of the enum; it has A, B"), "{error}");
}

#[test]
fn constants_are_encoded_with_their_branch() {
    let nullable = |kind| field("f", kind, Nullability::NullLast);
    let uuid = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
    for (literal, field, expected) in [
        (Literal::Null, nullable(FieldType::String), Ok(vec![2])),
        (Literal::Bool(true), nullable(FieldType::Boolean), Ok(vec![0, 1])),
        (Literal::Int(-3), field("f", FieldType::Long, Nullability::NullFirst), Ok(vec![2, 5])),
        (Literal::Int(3), nullable(FieldType::Decimal { precision: 5, scale: 2 }), Ok(vec![0, 4, 1, 44])),
        (Literal::Int(1 << 40), nullable(FieldType::Int), Err("the constant 1099511627776 does not fit int")),
        (Literal::Int((1 << 53) + 1), nullable(FieldType::Double), Err("does not fit double")),
        (Literal::Null, of_string("f"), Err("field f takes no null")),
        (Literal::String(uuid.to_owned()), nullable(FieldType::Bytes), Err("does not fit bytes")),
    ] {
        let mut plans = one_field(plan("f", FieldSource::Literal(literal)), &[Operation::Insert]);
        plans.contract = contract(vec![field]);
        let row = OwnedRow::new(&[ID, Datum::Null]);
        let written = compile(&plans, &relation(&id_and_text())).and_then(|program| value(&program, &row.insert()));
        match expected {
            Ok(bytes) => assert_eq!(written.unwrap(), bytes),
            Err(part) => assert!(written.unwrap_err().detail().contains(part)),
        }
    }
}

#[test]
fn keys_are_text_and_never_null() {
    let columns = [("id", ColumnType::Int8), ("c", ColumnType::Numeric { precision: None, scale: None })];
    let mut plans = event(contract(Vec::new()), column("key", "c"), Vec::new());
    let program = compile(&plans, &relation(&columns)).unwrap();
    let mut out = b"before".to_vec();
    let row = OwnedRow::new(&[ID, Datum::Binary(&numeric("12.50"))]);
    program.key(&row.insert(), &mut out).unwrap();
    assert_eq!(out, b"before12.50");
    let row = OwnedRow::new(&[ID, Datum::Null]);
    let error = program.key(&row.insert(), &mut out).unwrap_err();
    assert_eq!(error.kind(), Kind::NullValue);
    assert_eq!(
        error.detail(),
        "column c for the key is NULL, and it takes no null, by the rule at connectors/oms.toml:7:9"
    );
    assert_eq!(out, b"before12.50");
    plans.key = KeyPlan::Avro(Vec::new());
    assert_eq!(compile(&plans, &relation(&columns)).unwrap_err().kind(), Kind::Bug);
}

fn avro_key_topic() -> TopicPlan {
    let key = Contract {
        path: "oms/OrderKey/v1".to_owned(),
        ..Contract::clone(&contract(vec![of_string("c"), field("id", FieldType::Long, Nullability::Never)]))
    };
    TopicPlan { key: KeyKind::Avro(Arc::new(key)), ..topic() }
}

#[test]
fn avro_keys_are_records_in_the_wire_format() {
    let mut plans = event(contract(Vec::new()), column("key", "c"), Vec::new());
    plans.key = KeyPlan::Avro(vec![column("id", "id"), column("c", "c")]);
    let ids = SchemaIds { value: 1, key: Some(9) };
    let program = EventProgram::compile(&plans, &avro_key_topic(), &relation(&id_and_text()), ids).unwrap();
    let (row, mut out) = (OwnedRow::new(&[ID, text("x")]), Vec::new());
    program.key(&row.insert(), &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 0, 9, 2, b'x', 14]);
    assert!(!program.key_is_text());
    let error = EventProgram::compile(&plans, &avro_key_topic(), &relation(&id_and_text()), IDS).unwrap_err();
    assert_eq!(error.kind(), Kind::Bug);
}

#[test]
fn tombstones_take_the_old_key_also_by_a_bare_name() {
    let relation = relation(&[("id", ColumnType::Text), ("c", ColumnType::Text)]);
    let (old, new) = (OwnedRow::new(&[text("before"), Datum::Absent]), OwnedRow::new(&[text("after"), text("x")]));
    let rekey = Change { operation: Operation::Rekey, old: Some(old.row()), new: Some(new.row()) };
    let delete = Change { operation: Operation::Delete, old: Some(old.row()), new: None };
    let rule = |name| TombstonePlan {
        table: relation.name.clone(),
        topic: 0,
        key: KeyPlan::String(column("key", name)),
        place: place(3),
    };
    for name in ["id", "old.id"] {
        let program = TombstoneProgram::compile(&rule(name), &topic(), &relation, None).unwrap();
        for change in [&rekey, &delete] {
            let mut out = Vec::new();
            program.key(change, &mut out).unwrap();
            assert_eq!(out, b"before");
        }
    }
    let of = |name| TombstoneProgram::compile(&rule(name), &topic(), &relation, None).unwrap_err().kind();
    assert_eq!((of("c"), of("new.id")), (Kind::ReplicaIdentity, Kind::SchemaMismatch));
}

fn meta_field(nullable: Nullability) -> ContractField {
    use MetaField::{Capture, CorrelationId, Id, OccurredAt, Operation, Sequence, Source, Traceparent};
    use Nullability::{Never, NullFirst};
    let fields = vec![
        (Id, Never),
        (OccurredAt, NullFirst),
        (Source, Never),
        (Sequence, Never),
        (Operation, Never),
        (Capture, Never),
        (CorrelationId, NullFirst),
        (Traceparent, NullFirst),
    ];
    field("meta", FieldType::Meta(fields), nullable)
}

#[test]
fn meta_takes_its_correlation_id_from_the_header() {
    let mut plans = event(
        contract(vec![meta_field(Nullability::Never)]),
        column("key", "id"),
        vec![plan("meta", FieldSource::Meta)],
    );
    plans.headers = vec![("correlation_id".to_owned(), column("correlation_id", "c"))];
    let program = compile(&plans, &relation(&id_and_text())).unwrap();
    let common = b"\x08id-1\x02\x0a\x12/oms/test\x06seq\x04\x06".to_vec();
    let (row, null) = (OwnedRow::new(&[ID, text("w3-1842")]), OwnedRow::new(&[ID, Datum::Null]));
    assert_eq!(value(&program, &row.insert()).unwrap(), [&common[..], b"\x02\x0ew3-1842\x00"].concat());
    assert_eq!(value(&program, &null.insert()).unwrap(), [&common[..], b"\x00\x00"].concat());
    let mut out = Vec::new();
    assert!(program.header(0, &row.insert(), &mut out).unwrap());
    assert!(!program.header(0, &null.insert(), &mut out).unwrap());
    assert!(!program.header(1, &row.insert(), &mut out).unwrap());
    assert_eq!(out, b"w3-1842");
}

#[test]
fn meta_in_the_wrong_place_is_refused() {
    let error =
        compile(&one_field(plan("f", FieldSource::Meta), &[Operation::Insert]), &relation(&id_and_text())).unwrap_err();
    assert!(
        error.detail().contains("field f of oms/OrderPlaced/v1 is string; meta fits common.EventMeta in an event"),
        "{error}"
    );
}
