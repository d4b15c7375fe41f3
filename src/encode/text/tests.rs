use super::*;

fn text(kind: &ColumnType, binary: &[u8]) -> Result<String, Reason> {
    let mut out = Vec::new();
    TextForm::of(kind).unwrap().write(binary, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// `SELECT v, <type>send(v)` on Postgres 15 with TimeZone UTC, DateStyle ISO.
const GOLDEN: &str = include_str!("golden.txt");

fn kind_of(name: &str) -> ColumnType {
    match name {
        "bool" => ColumnType::Bool,
        "int2" => ColumnType::Int2,
        "int4" => ColumnType::Int4,
        "int8" => ColumnType::Int8,
        "text" => ColumnType::Text,
        "bytea" => ColumnType::Bytea,
        "uuid" => ColumnType::Uuid,
        "numeric" => ColumnType::Numeric { precision: None, scale: None },
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "timestamp" => ColumnType::Timestamp,
        "timestamptz" => ColumnType::TimestampTz,
        "json" => ColumnType::Json,
        "jsonb" => ColumnType::Jsonb,
        other => panic!("{other}"),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn text_is_that_of_postgres() {
    let mut kinds = std::collections::BTreeSet::new();
    for line in GOLDEN.lines() {
        let [kind, hex, expected] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(text(&kind_of(kind), &unhex(hex)).as_deref(), Ok(expected), "{line}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 14);
}

#[test]
fn wrong_lengths_and_versions_are_refused() {
    for kind in ["bool", "int2", "int4", "int8", "uuid", "numeric", "date", "time", "timestamp", "timestamptz", "jsonb"]
    {
        assert_eq!(text(&kind_of(kind), &[7; 3]), Err(Reason::Malformed), "{kind}");
    }
    assert_eq!(text(&ColumnType::Text, &[0xFF]), Err(Reason::OutOfRange("is not valid UTF-8")));
    assert!(TextForm::of(&ColumnType::Float8).is_none());
}
