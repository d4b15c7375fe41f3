use std::fs;
use std::path::Path;

use apache_avro::reader::datum::GenericDatumReader;
use proptest::prelude::*;
use tempfile::TempDir;

use super::json::Json;
use super::*;

const META: &str = r#"{ "type": "record", "name": "EventMeta", "namespace": "common", "doc": "About the event.", "fields": [
  { "name": "id", "type": "string" },
  { "name": "occurred_at", "type": ["null", { "type": "long", "logicalType": "timestamp-micros" }], "default": null },
  { "name": "operation", "type": { "type": "enum", "name": "Operation", "symbols": ["INSERT", "UPDATE", "REKEY", "DELETE", "TRUNCATE", "READ"] } }
] }"#;

fn schemas(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

fn record(name: &str, fields: &str) -> String {
    format!(r#"{{ "type": "record", "name": "{name}", "namespace": "oms", "fields": [{fields}] }}"#)
}

/// The faults' texts, with the folder left out.
fn faults(files: &[(&str, &str)]) -> String {
    let dir = schemas(files);
    let (_, faults) = Repository::load(dir.path());
    faults.to_string().replace(&format!("{}/", dir.path().display()), "")
}

fn fault_of_field(field: &str) -> String {
    faults(&[("oms/A/v1.avsc", &record("A", field)), ("common/EventMeta/v1.avsc", META)])
}

fn load(files: &[(&str, &str)]) -> (TempDir, Repository) {
    let dir = schemas(files);
    let (repository, faults) = Repository::load(dir.path());
    assert_eq!(faults.to_string(), "");
    (dir, repository)
}

#[test]
fn a_contract_is_found_by_its_path_with_its_fields_in_order() {
    let schema = record(
        "OrderPlaced",
        r#"{ "name": "meta", "type": "common.EventMeta" },
           { "name": "id", "type": "long", "doc": "The number." },
           { "name": "total", "type": { "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 } },
           { "name": "was", "type": ["null", { "type": "enum", "name": "Status", "symbols": ["P", "S"] }], "default": null },
           { "name": "now", "type": ["Status", "null"], "default": "S" }"#,
    );
    let (dir, repository) = load(&[("oms/OrderPlaced/v1.avsc", &schema), ("common/EventMeta/v1.avsc", META)]);
    let contract = repository.get("oms/OrderPlaced/v1").unwrap();
    assert_eq!((contract.full_name.as_str(), contract.version), ("oms.OrderPlaced", 1));
    assert_eq!(contract.file, dir.path().join("oms/OrderPlaced/v1.avsc"));
    let field = |name: &str, kind, nullable, default| ContractField { name: name.to_owned(), kind, nullable, default };
    let status = || FieldType::Enum(vec!["P".to_owned(), "S".to_owned()]);
    let operations = contract.fields[0].kind.clone();
    let FieldType::Meta(meta) = operations else { panic!("{operations:?}") };
    assert_eq!(
        meta,
        [
            (MetaField::Id, Nullability::Never),
            (MetaField::OccurredAt, Nullability::NullFirst),
            (MetaField::Operation, Nullability::Never)
        ]
    );
    assert_eq!(
        contract.fields[1..],
        [
            field("id", FieldType::Long, Nullability::Never, None),
            field("total", FieldType::Decimal { precision: 12, scale: 2 }, Nullability::Never, None),
            field("was", status(), Nullability::NullFirst, Some(vec![0])),
            field("now", status(), Nullability::NullLast, Some(vec![0, 2])),
        ]
    );
    assert_eq!(repository.iter().count(), 1, "shared types are no contracts");
}

#[test]
fn the_registered_schema_has_shared_types_written_out_once_and_keeps_order_and_docs() {
    let schema = record(
        "Twice",
        r#"{ "name": "meta", "type": "common.EventMeta", "doc": "First." }, { "name": "last", "type": "common.Operation" }"#,
    );
    let (_dir, repository) = load(&[("oms/Twice/v1.avsc", &schema), ("common/EventMeta/v1.avsc", META)]);
    let text = &repository.get("oms/Twice/v1").unwrap().schema;
    let expected = concat!(
        r#"{"type":"record","name":"Twice","namespace":"oms","fields":[{"name":"meta","type":"#,
        r#"{"type":"record","name":"EventMeta","namespace":"common","doc":"About the event.","fields":["#,
        r#"{"name":"id","type":"string"},"#,
        r#"{"name":"occurred_at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},"#,
        r#"{"name":"operation","type":{"type":"enum","name":"Operation","symbols":["#,
        r#""INSERT","UPDATE","REKEY","DELETE","TRUNCATE","READ"]}}]},"doc":"First."},"#,
        r#"{"name":"last","type":"common.Operation"}]}"#
    );
    assert_eq!(text, expected);
    apache_avro::Schema::parse_str(text).unwrap();
}

#[test]
fn malformed_json_is_named_with_line_and_column() {
    let text = "{\n  \"type\": \"record\",\n  \"name\" \"A\"\n}";
    assert_eq!(faults(&[("oms/A/v1.avsc", text)]), "oms/A/v1.avsc:3:10: malformed JSON: expected `:`");
    let text = "{\n  \"type\": \"record\",\n  \"type\": \"enum\"\n}";
    assert_eq!(
        faults(&[("oms/A/v1.avsc", text)]),
        "oms/A/v1.avsc:3:8: malformed JSON: the key `type` is written twice"
    );
}

#[test]
fn names_and_places_must_agree() {
    assert_eq!(
        faults(&[("oms/A/v1.avsc", &record("B", ""))]),
        "oms/A/v1.avsc: the schema's full name is `oms.B`, its place says `oms.A`: write \"namespace\": \"oms\", \"name\": \"A\""
    );
    for path in ["oms/A.avsc", "oms/A/1.avsc", "oms/A/v0.avsc", "oms/A/v01.avsc", "oms/x/A/v1.avsc"] {
        let expected = format!("{path}: a contract's place is <domain>/<Event>/v<N>.avsc, N from 1 on");
        assert_eq!(faults(&[(path, &record("A", ""))]), expected);
    }
    assert_eq!(
        faults(&[("common/EventMeta/v2.avsc", META)]),
        "common/EventMeta/v2.avsc: a shared type has no versions but v1: contracts name common.EventMeta without one, \
         and released contracts must not change; give the new shape another name"
    );
}

#[test]
fn what_readers_would_pass_over_in_silence_is_a_fault() {
    let cases = [
        (
            r#"{ "name": "f", "type": "bytes", "logicalType": "decimal", "precision": 4 }"#,
            "`logicalType` stands beside the type, where readers ignore it; write \"type\": { \"type\": .., \"logicalType\": .. }",
        ),
        (
            r#"{ "name": "f", "type": { "type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3 } }"#,
            "a decimal's scale is between 0 and its precision: { \"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 12, \"scale\": 2 }",
        ),
        (
            r#"{ "name": "f", "type": { "type": "bytes", "logicalType": "decimal", "precision": 9223372036854775807, "scale": 9223372036854775807 } }"#,
            "a decimal needs a precision of 1 to 147455: { \"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 12, \"scale\": 2 }",
        ),
        (
            r#"{ "name": "f", "type": ["null", "int"], "default": 3 }"#,
            "the default 3 is not of the union's first branch, null; write [T, \"null\"]",
        ),
        (
            r#"{ "name": "f", "type": { "type": "long", "logicalType": "timestamp-milis" } }"#,
            "logicalType timestamp-milis of long is not supported; supported are decimal of bytes, uuid of string, date of int, \
             and time-micros, timestamp-micros, local-timestamp-micros of long",
        ),
        (r#"{ "name": "f", "type": "int", "default": 3000000000 }"#, "the default 3000000000 is no int"),
    ];
    for (field, expected) in cases {
        assert_eq!(fault_of_field(field), format!("oms/A/v1.avsc: fields.f: {expected}"));
    }
}

#[test]
fn types_that_cannot_be_encoded_yet_name_the_field() {
    let cases = [
        (r#"{ "type": "array", "items": "int" }"#, "the type array is not supported yet"),
        (
            r#"["null", "int", "string"]"#,
            "the union [\"null\",\"int\",\"string\"] is not supported yet; [\"null\", T] and [T, \"null\"] are",
        ),
        (
            r#"{ "type": "record", "name": "Line", "fields": [] }"#,
            "the record Line is not supported yet as a field's type; common.EventMeta alone is",
        ),
        (r#""null""#, "the type null is not supported; a nullable field is [\"null\", T]"),
    ];
    for (kind, expected) in cases {
        let found = fault_of_field(&format!(r#"{{ "name": "f", "type": {kind} }}"#));
        assert_eq!(found, format!("oms/A/v1.avsc: fields.f: {expected}"));
    }
}

#[test]
fn unknown_types_are_reported_once_with_their_place() {
    let text = record("A", r#"{ "name": "f", "type": "common.EventMta" }"#);
    assert_eq!(
        faults(&[("oms/A/v1.avsc", &text)]),
        "oms/A/v1.avsc: fields.f: no type common.EventMta: there is no common/EventMta/v1.avsc"
    );
    let text = record("A", r#"{ "name": "meta", "type": "common.EventMeta" }"#);
    assert_eq!(
        faults(&[("oms/A/v1.avsc", &text), ("common/EventMeta/v1.avsc", "{")]),
        "common/EventMeta/v1.avsc:1:1: malformed JSON: EOF while parsing an object"
    );
}

/// It would be written out in itself, for ever.
#[test]
fn a_shared_type_has_a_name_of_its_own() {
    let event = record("A", r#"{ "name": "f", "type": "common.Loop" }"#);
    for kind in [r#""common.Loop""#, r#""array", "items": "common.Loop""#, r#"["common.Loop", "common.Loop"]"#] {
        let shared = format!(r#"{{ "name": "Loop", "namespace": "common", "type": {kind} }}"#);
        assert_eq!(
            faults(&[("oms/A/v1.avsc", &event), ("common/Loop/v1.avsc", &shared)]),
            "common/Loop/v1.avsc: a shared type is a record, an enum or a fixed: \"type\": \"record\""
        );
    }
}

#[test]
fn event_meta_must_be_what_is_written_into_it() {
    let meta = META.replace(r#""REKEY", "#, "");
    let text = record("A", r#"{ "name": "meta", "type": "common.EventMeta" }"#);
    assert_eq!(
        faults(&[("oms/A/v1.avsc", &text), ("common/EventMeta/v1.avsc", &meta)]),
        "oms/A/v1.avsc: fields.meta: common.EventMeta: `operation` must be an enum of INSERT, UPDATE, REKEY, DELETE, \
         TRUNCATE, READ in this order, never null"
    );
}

#[test]
fn the_reference_implementation_has_the_last_word() {
    let text = record("A", r#"{ "name": "f-g", "type": "int" }"#);
    let found = faults(&[("oms/A/v1.avsc", &text)]);
    assert!(found.starts_with("oms/A/v1.avsc: no valid Avro schema: "), "{found}");
}

#[test]
fn a_missing_folder_is_a_fault() {
    let (_, faults) = Repository::load(Path::new("/nowhere/schemas"));
    assert!(faults.to_string().starts_with("/nowhere/schemas: this folder of contracts cannot be read: "), "{faults}");
}

proptest! {
    /// What is written as a default, the reference implementation reads as that default.
    #[test]
    fn defaults_are_encoded_as_avro_encodes_them(long: i64, int: i32, flag: bool, double in -1e300..1e300f64, text: String) {
        let cases = [
            (r#""long""#, FieldType::Long, Json::Number(long.into())),
            (r#""int""#, FieldType::Int, Json::Number(int.into())),
            (r#""boolean""#, FieldType::Boolean, Json::Bool(flag)),
            (r#""double""#, FieldType::Double, Json::Number(serde_json::Number::from_f64(double).unwrap())),
            (r#""string""#, FieldType::String, Json::Text(text)),
        ];
        for (schema, kind, value) in cases {
            let bytes = default::encode(&value, &kind, Nullability::Never).unwrap();
            let schema = apache_avro::Schema::parse_str(schema).unwrap();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let read = reader.read_value(&mut bytes.as_slice()).unwrap();
            let expected = apache_avro::types::Value::try_from(serde_json::to_value(&value).unwrap()).unwrap();
            prop_assert_eq!(read, expected.resolve(&schema).unwrap());
        }
    }
}
