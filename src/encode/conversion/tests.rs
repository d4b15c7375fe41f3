use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::Schema;
use apache_avro::types::Value;
use proptest::prelude::*;

use super::super::tests::fixture::{OwnedRow, column, contract, event, field, numeric, relation, topic};
use super::super::{Capture, EventProgram, Meta, SchemaIds};
use super::*;
use crate::contract::Nullability;
use crate::model::{Datum, Operation};

const META: Meta<'_> = Meta {
    id: b"id",
    occurred_at: None,
    source: "/oms/test",
    sequence: b"s",
    operation: Operation::Insert,
    capture: Capture::Stream,
};

/// A column's value and what a reader of the contract must see.
#[derive(Clone, Debug)]
struct Case {
    column: ColumnType,
    field: FieldType,
    /// The field's type as Avro JSON.
    avro: &'static str,
    binary: Vec<u8>,
    expected: Value,
}

fn case(column: ColumnType, field: FieldType, avro: &'static str, binary: impl Into<Vec<u8>>, expected: Value) -> Case {
    Case { column, field, avro, binary: binary.into(), expected }
}

const NUMERIC: ColumnType = ColumnType::Numeric { precision: None, scale: None };
const DECIMAL: FieldType = FieldType::Decimal { precision: 12, scale: 2 };
const DECIMAL_AVRO: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;

fn long_of(logical: &str) -> &'static str {
    match logical {
        "time" => r#"{"type":"long","logicalType":"time-micros"}"#,
        "timestamp" => r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        _ => r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
    }
}

fn integers() -> BoxedStrategy<Case> {
    use {ColumnType as C, FieldType as F};
    prop_oneof![
        any::<i16>().prop_map(|v| case(C::Int2, F::Int, r#""int""#, v.to_be_bytes(), Value::Int(v.into()))),
        any::<i16>().prop_map(|v| case(C::Int2, F::Long, r#""long""#, v.to_be_bytes(), Value::Long(v.into()))),
        any::<i16>().prop_map(|v| case(C::Int2, F::Float, r#""float""#, v.to_be_bytes(), Value::Float(v.into()))),
        any::<i16>().prop_map(|v| case(C::Int2, F::Double, r#""double""#, v.to_be_bytes(), Value::Double(v.into()))),
        any::<i32>().prop_map(|v| case(C::Int4, F::Int, r#""int""#, v.to_be_bytes(), Value::Int(v))),
        any::<i32>().prop_map(|v| case(C::Int4, F::Long, r#""long""#, v.to_be_bytes(), Value::Long(v.into()))),
        any::<i32>().prop_map(|v| case(C::Int4, F::Double, r#""double""#, v.to_be_bytes(), Value::Double(v.into()))),
        any::<i64>().prop_map(|v| case(C::Int8, F::Long, r#""long""#, v.to_be_bytes(), Value::Long(v))),
        (-9_999_999_999_i64..=9_999_999_999).prop_map(|v| {
            case(C::Int8, DECIMAL, DECIMAL_AVRO, v.to_be_bytes(), Value::Decimal(minimal(i128::from(v) * 100).into()))
        }),
    ]
    .boxed()
}

/// The shortest two's complement, found by trying.
fn minimal(value: i128) -> Vec<u8> {
    let all = value.to_be_bytes();
    (0..16).rev().map(|skip| &all[skip..]).find(|bytes| widened(bytes) == value).unwrap().to_vec()
}

fn widened(bytes: &[u8]) -> i128 {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes.iter().fold(sign, |value, byte| value << 8 | i128::from(*byte))
}

fn scalars() -> BoxedStrategy<Case> {
    use {ColumnType as C, FieldType as F};
    let ordinary = prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::INFINITE | prop::num::f32::SUBNORMAL;
    prop_oneof![
        any::<bool>().prop_map(|v| case(C::Bool, F::Boolean, r#""boolean""#, [u8::from(v)], Value::Boolean(v))),
        ordinary.prop_map(|v| case(C::Float4, F::Float, r#""float""#, v.to_be_bytes(), Value::Float(v))),
        ordinary.prop_map(|v| case(C::Float4, F::Double, r#""double""#, v.to_be_bytes(), Value::Double(v.into()))),
        prop::num::f64::NORMAL.prop_map(|v| case(
            C::Float8,
            F::Double,
            r#""double""#,
            v.to_be_bytes(),
            Value::Double(v)
        )),
        ".{0,80}".prop_map(|v| case(C::Text, F::String, r#""string""#, v.clone(), Value::String(v))),
        ".{0,80}".prop_map(|v| case(C::Json, F::String, r#""string""#, v.clone(), Value::String(v))),
        ".{0,80}".prop_map(|v| case(C::Jsonb, F::String, r#""string""#, format!("\u{1}{v}"), Value::String(v))),
        prop::collection::vec(any::<u8>(), 0..90).prop_map(|v| case(
            C::Bytea,
            F::Bytes,
            r#""bytes""#,
            v.clone(),
            Value::Bytes(v)
        )),
        any::<u128>().prop_map(|v| {
            let uuid = apache_avro::Uuid::from_u128(v);
            let avro = r#"{"type":"string","logicalType":"uuid"}"#;
            case(C::Uuid, F::Uuid, avro, v.to_be_bytes(), Value::Uuid(uuid))
        }),
        any::<u128>().prop_map(|v| {
            let text = apache_avro::Uuid::from_u128(v).to_string();
            case(C::Uuid, F::String, r#""string""#, v.to_be_bytes(), Value::String(text))
        }),
        (0_usize..3, any::<bool>()).prop_map(|(i, is_enum)| {
            let symbols: Vec<String> = ["PLACED", "PAID", "SHIPPED"].map(str::to_owned).to_vec();
            let avro = r#"{"type":"enum","name":"Status","symbols":["PLACED","PAID","SHIPPED"]}"#;
            let column = if is_enum { C::Enum(symbols.clone()) } else { C::Text };
            let symbol = symbols[i].clone();
            case(column, F::Enum(symbols), avro, symbol.clone(), Value::Enum(i as u32, symbol))
        }),
    ]
    .boxed()
}

fn numbers_and_times() -> BoxedStrategy<Case> {
    use {ColumnType as C, FieldType as F};
    prop_oneof![
        (-999_999_999_999_i64..=999_999_999_999).prop_map(|v| {
            let text = format!("{}{}.{:02}", if v < 0 { "-" } else { "" }, v.abs() / 100, v.abs() % 100);
            case(NUMERIC, DECIMAL, DECIMAL_AVRO, numeric(&text), Value::Decimal(minimal(v.into()).into()))
        }),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?"
            .prop_map(|v| { case(NUMERIC, F::String, r#""string""#, numeric(&v), Value::String(v)) }),
        (-2_451_545_i32..2_000_000).prop_map(|v| {
            let avro = r#"{"type":"int","logicalType":"date"}"#;
            case(C::Date, F::Date, avro, v.to_be_bytes(), Value::Date(v + 10_957))
        }),
        (0_i64..86_400_000_000).prop_map(|v| case(
            C::Time,
            F::TimeMicros,
            long_of("time"),
            v.to_be_bytes(),
            Value::TimeMicros(v)
        )),
        (-211_000_000_000_000_000_i64..9_000_000_000_000_000_000, any::<bool>()).prop_map(|(v, zoned)| {
            let unix = v + PG_EPOCH_UNIX_MICROS;
            if zoned {
                let expected = Value::TimestampMicros(unix);
                case(C::TimestampTz, F::TimestampMicros, long_of("timestamp"), v.to_be_bytes(), expected)
            } else {
                let expected = Value::LocalTimestampMicros(unix);
                case(C::Timestamp, F::LocalTimestampMicros, long_of("local"), v.to_be_bytes(), expected)
            }
        }),
    ]
    .boxed()
}

fn encoded(case: &Case, nullable: Nullability, datum: Datum<'_>) -> crate::error::Result<Vec<u8>> {
    let relation = relation(&[("id", ColumnType::Int8), ("c", case.column.clone())]);
    let contract = contract(vec![field("f", case.field.clone(), nullable)]);
    let event = event(contract, column("key", "id"), vec![column("f", "c")]);
    let program = EventProgram::compile(&event, &topic(), &relation, SchemaIds { value: 258, key: None })?;
    let row = OwnedRow::new(&[Datum::Binary(&1_i64.to_be_bytes()), datum]);
    let mut out = vec![0xEE];
    program.value(&row.insert(), &META, &mut out)?;
    assert_eq!(out[..6], [0xEE, 0, 0, 0, 1, 2]);
    Ok(out.split_off(6))
}

fn decoded(case: &Case, nullable: Nullability, bytes: &[u8]) -> Value {
    let avro = match nullable {
        Nullability::Never => case.avro.to_owned(),
        Nullability::NullFirst => format!(r#"["null",{}]"#, case.avro),
        Nullability::NullLast => format!(r#"[{},"null"]"#, case.avro),
    };
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{avro}}}]}}"#);
    let schema = Schema::parse_str(&schema).unwrap();
    let mut rest = bytes;
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "bytes left over");
    let Value::Record(mut fields) = value else { panic!("no record") };
    fields.remove(0).1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn an_avro_reader_sees_the_columns_value(case in prop_oneof![integers(), scalars(), numbers_and_times()]) {
        for (nullable, null, value) in
            [(Nullability::Never, None, None), (Nullability::NullFirst, Some(0), Some(1)), (Nullability::NullLast, Some(1), Some(0))]
        {
            let bytes = encoded(&case, nullable, Datum::Binary(&case.binary)).unwrap();
            let expected = match value {
                Some(branch) => Value::Union(branch, Box::new(case.expected.clone())),
                None => case.expected.clone(),
            };
            prop_assert_eq!(decoded(&case, nullable, &bytes), expected);
            match (null, encoded(&case, nullable, Datum::Null)) {
                (Some(branch), written) => {
                    prop_assert_eq!(decoded(&case, nullable, &written.unwrap()), Value::Union(branch, Box::new(Value::Null)));
                }
                (None, refused) => prop_assert_eq!(refused.unwrap_err().kind(), crate::error::Kind::NullValue),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        for (column, field) in pairs() {
            let (conversion, mut out) = (Conversion::between(&column, &field).unwrap(), Vec::new());
            prop_assert!(conversion.write(&bytes, &mut out).is_err() || !out.is_empty());
        }
    }
}

fn pairs() -> Vec<(ColumnType, FieldType)> {
    let mut pairs = Vec::new();
    for column in columns() {
        for field in fields() {
            if Conversion::between(&column, &field).is_some() {
                pairs.push((column.clone(), field));
            }
        }
    }
    pairs
}

fn columns() -> Vec<ColumnType> {
    use ColumnType as C;
    let labels = vec!["A".to_owned()];
    vec![
        C::Bool,
        C::Int2,
        C::Int4,
        C::Int8,
        C::Float4,
        C::Float8,
        C::Text,
        C::Bytea,
        C::Uuid,
        NUMERIC,
        C::Date,
        C::Time,
        C::Timestamp,
        C::TimestampTz,
        C::Json,
        C::Jsonb,
        C::Enum(labels),
        C::Other("inet".to_owned()),
    ]
}

fn fields() -> Vec<FieldType> {
    use FieldType as F;
    vec![
        F::Boolean,
        F::Int,
        F::Long,
        F::Float,
        F::Double,
        F::Bytes,
        F::String,
        F::Uuid,
        DECIMAL,
        F::Date,
        F::TimeMicros,
        F::TimestampMicros,
        F::LocalTimestampMicros,
        F::Enum(vec!["A".to_owned()]),
        F::Meta(Vec::new()),
    ]
}

/// Which pairs there are is part of the interface: the table of docs/wire.md.
#[test]
fn the_page_lists_the_pairs_that_fit() {
    let mut expected = String::new();
    for column in columns() {
        let fits: Vec<_> =
            fields().iter().filter(|field| Conversion::between(&column, field).is_some()).map(fits_name).collect();
        if !fits.is_empty() {
            expected.push_str(&format!("| {} | {} |\n", column_name(&column), fits.join(", ")));
        }
    }
    let page = include_str!("../../../docs/wire.md");
    assert!(page.contains(&expected), "docs/wire.md lacks:\n{expected}");
}

fn fits_name(field: &FieldType) -> String {
    match field {
        FieldType::Decimal { .. } => "bytes (decimal)".to_owned(),
        field => field.to_string(),
    }
}

fn column_name(column: &ColumnType) -> String {
    match column {
        ColumnType::Text => "text, varchar, char, name, citext".to_owned(),
        column => column.to_string(),
    }
}

#[test]
fn what_a_field_cannot_hold_is_refused() {
    use {ColumnType as C, FieldType as F};
    for (column, field, binary, why) in [
        (C::Date, F::Date, i32::MAX.to_be_bytes().to_vec(), "infinite"),
        (C::Date, F::Date, i32::MIN.to_be_bytes().to_vec(), "infinite"),
        (C::Time, F::TimeMicros, DAY_MICROS.to_be_bytes().to_vec(), "24:00:00"),
        (C::TimestampTz, F::TimestampMicros, i64::MAX.to_be_bytes().to_vec(), "infinite"),
        (C::Timestamp, F::LocalTimestampMicros, i64::MIN.to_be_bytes().to_vec(), "infinite"),
        (C::TimestampTz, F::TimestampMicros, (i64::MAX - 1).to_be_bytes().to_vec(), "year"),
        (C::Text, F::String, vec![0xC3], "UTF-8"),
        (NUMERIC, DECIMAL, numeric("0.001"), "scale"),
        (C::Int8, DECIMAL, i64::MAX.to_be_bytes().to_vec(), "precision"),
    ] {
        let reason = Conversion::between(&column, &field).unwrap().write(&binary, &mut Vec::new()).unwrap_err();
        assert!(matches!(reason, Reason::OutOfRange(text) if text.contains(why)), "{column} {reason:?}");
    }
    let codes = Conversion::between(&C::Text, &F::Enum(vec!["A".to_owned()])).unwrap();
    assert_eq!(codes.write(b"B", &mut Vec::new()), Err(Reason::Unlisted));
}
