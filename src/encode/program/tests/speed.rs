//! What an event costs: `cargo test --profile ci --lib speed -- --ignored --nocapture`.

use std::time::Instant;

use super::meta_field;
use crate::connector::FieldSource;
use crate::contract::{FieldType, Nullability};
use crate::encode::tests::fixture::*;
use crate::encode::{Capture, EventProgram, Meta, SchemaIds};
use crate::model::{ColumnType, Datum, Operation};

const EVENTS: u32 = 50_000;

fn columns() -> Vec<(&'static str, ColumnType, FieldType)> {
    use {ColumnType as C, FieldType as F};
    let status: Vec<String> = ["NEW", "PAID", "SHIPPED"].map(str::to_owned).to_vec();
    vec![
        ("id", C::Int8, F::Long),
        ("external_id", C::Uuid, F::Uuid),
        ("customer_id", C::Uuid, F::Uuid),
        ("status", C::Enum(status.clone()), F::Enum(status)),
        ("currency", C::Text, F::String),
        ("total", C::Numeric { precision: None, scale: None }, F::Decimal { precision: 12, scale: 2 }),
        ("lines", C::Int4, F::Int),
        ("gift", C::Bool, F::Boolean),
        ("address", C::Jsonb, F::String),
        ("day", C::Date, F::Date),
        ("note", C::Text, F::String),
        ("placed_at", C::TimestampTz, F::TimestampMicros),
    ]
}

fn row() -> OwnedRow {
    let address = format!("\u{1}{{\"city\": \"Zürich\", \"street\": \"{}\"}}", "x".repeat(60));
    OwnedRow::new(&[
        Datum::Binary(&[0, 0, 0, 0, 0, 0, 0, 7]),
        Datum::Binary(&[7; 16]),
        Datum::Binary(&[9; 16]),
        Datum::Binary(b"PAID"),
        Datum::Binary(b"EUR"),
        Datum::Binary(&numeric("12345.67")),
        Datum::Binary(&[0, 0, 0, 3]),
        Datum::Binary(&[1]),
        Datum::Binary(address.as_bytes()),
        Datum::Binary(&[0, 0, 0x22, 0x79]),
        Datum::Null,
        Datum::Binary(&[0, 3, 3, 0xC8, 0x9D, 0x74, 0x4F, 0xC0]),
    ])
}

fn program(with_meta: bool) -> EventProgram {
    let (mut fields, mut sources) = (Vec::new(), Vec::new());
    if with_meta {
        fields.push(meta_field(Nullability::Never));
        sources.push(plan("meta", FieldSource::Meta));
    }
    for (name, _, kind) in columns() {
        fields.push(field(name, kind, Nullability::NullFirst));
        sources.push(column(name, name));
    }
    let kinds: Vec<_> = columns().into_iter().map(|(name, kind, _)| (name, kind)).collect();
    let ids = SchemaIds { value: 1, key: None };
    EventProgram::compile(&event(contract(fields), column("key", "id"), sources), &topic(), &relation(&kinds), ids)
        .unwrap()
}

#[test]
#[ignore = "a measurement"]
fn speed_of_a_row_of_twelve_columns() {
    let (row, mut out) = (row(), Vec::with_capacity(1 << 20));
    let meta = Meta {
        id: b"/oms/demo:0:16/B374D848:public.orders:3:oms/OrderPlaced/v1",
        occurred_at: Some(1_795_269_900_123_456),
        source: "/oms/demo",
        sequence: b"00000000-00000016B374D848-0000000003-FFFFFFFFFF",
        operation: Operation::Insert,
        capture: Capture::Stream,
    };
    for with_meta in [false, true] {
        let program = program(with_meta);
        let mut best = f64::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for i in 0..EVENTS {
                if i % 1000 == 0 {
                    out.clear();
                }
                program.key(&row.insert(), &mut out).unwrap();
                program.value(&row.insert(), &meta, &mut out).unwrap();
            }
            best = best.min(start.elapsed().as_nanos() as f64 / f64::from(EVENTS));
        }
        println!("meta {with_meta}: {best:.0} ns an event of {} bytes", out.len() / 1000);
    }
}
