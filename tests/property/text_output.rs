//! Text and decimals from binary values against what Postgres itself says.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use walwright::encode::write_text;
use walwright::model::ColumnType;

use crate::support::Result;
use crate::support::sql::Sql;
use crate::support::stack::Stack;

const VALUES: usize = 2000;

/// SQL type, its send and output functions, our type, and its values as literals.
type Values = (&'static str, &'static str, &'static str, ColumnType, BoxedStrategy<String>);

fn types() -> Vec<Values> {
    let numeric = ColumnType::Numeric { precision: None, scale: None };
    let number = "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,30})?|NaN|-?Infinity|-?[0-9]e-?[1-9][0-9]?";
    let year = prop_oneof![Just(0_i64), -4700..0_i64, 1..9999_i64, 10_000..294_000_i64];
    let date = (year, 1..=12_u8, 1..=28_u8).prop_map(|(year, month, day)| match year {
        0 => "infinity".to_owned(),
        year if year < 0 => format!("{:04}-{month:02}-{day:02} BC", -year),
        year => format!("{year:04}-{month:02}-{day:02}"),
    });
    let clock = (
        0..24_u8,
        0..60_u8,
        0..60_u8,
        prop_oneof![Just(0_u32), 0..1_000_000_u32, (0..1000_u32).prop_map(|ms| ms * 1000)],
    )
        .prop_map(|(hour, minute, second, micros)| format!("{hour:02}:{minute:02}:{second:02}.{micros:06}"));
    let moment = (date.clone(), clock.clone()).prop_map(|(date, clock)| match date.split_once(" BC") {
        _ if date == "infinity" => "-infinity".to_owned(),
        Some((day, _)) => format!("{day} {clock} BC"),
        None => format!("{date} {clock}"),
    });
    vec![
        ("bool", "boolsend", "boolout", ColumnType::Bool, any::<bool>().prop_map(|v| v.to_string()).boxed()),
        ("int2", "int2send", "int2out", ColumnType::Int2, any::<i16>().prop_map(|v| v.to_string()).boxed()),
        ("int4", "int4send", "int4out", ColumnType::Int4, any::<i32>().prop_map(|v| v.to_string()).boxed()),
        ("int8", "int8send", "int8out", ColumnType::Int8, any::<i64>().prop_map(|v| v.to_string()).boxed()),
        ("text", "textsend", "textout", ColumnType::Text, "[^\\x00]{0,60}".boxed()),
        ("bytea", "byteasend", "byteaout", ColumnType::Bytea, "\\\\x([0-9a-f]{2}){0,30}".boxed()),
        ("uuid", "uuid_send", "uuid_out", ColumnType::Uuid, "[0-9A-Fa-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}".boxed()),
        ("numeric", "numeric_send", "numeric_out", numeric, number.boxed()),
        ("date", "date_send", "date_out", ColumnType::Date, date.boxed()),
        ("time", "time_send", "time_out", ColumnType::Time, prop_oneof![clock, Just("24:00:00".to_owned())].boxed()),
        ("timestamp", "timestamp_send", "timestamp_out", ColumnType::Timestamp, moment.clone().boxed()),
        ("timestamptz", "timestamptz_send", "timestamptz_out", ColumnType::TimestampTz, moment.boxed()),
        (
            "json",
            "json_send",
            "json_out",
            ColumnType::Json,
            "\\{\"a\": *[1-9][0-9]{0,4}, *\"b\" *: *\"[a-zü]{0,9}\"\\}".boxed(),
        ),
        (
            "jsonb",
            "jsonb_send",
            "jsonb_out",
            ColumnType::Jsonb,
            "\\{\"a\": *[1-9][0-9]{0,4}, *\"b\" *: *\"[a-zü]{0,9}\"\\}".boxed(),
        ),
    ]
}

fn drawn(strategy: &BoxedStrategy<String>) -> Result<Vec<String>> {
    let mut runner = TestRunner::deterministic();
    let one = |_| Ok(strategy.new_tree(&mut runner).map_err(|reason| reason.to_string())?.current());
    (0..VALUES).map(one).collect()
}

/// For each type, `VALUES` values: our text of the send function's bytes is the output function's text.
fn text_agrees_with_postgres(sql: &Sql) -> Result<()> {
    sql.batch("SET DateStyle = 'ISO'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'")?;
    for (name, send, output, kind, strategy) in types() {
        // textin and the output function: a cast of boolean to text says 'true'.
        let query = format!("SELECT textin({output}(v::{name})), {send}(v::{name}) FROM unnest($1::text[]) AS t(v)");
        for row in sql.query(&query, &[&drawn(&strategy)?])? {
            let (expected, binary): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            let mut text = Vec::new();
            write_text(&kind, &binary, &mut text)?;
            assert_eq!(String::from_utf8(text)?, expected, "{name}");
        }
    }
    Ok(())
}

#[test]
fn text_is_that_of_the_server() -> Result<()> {
    let scenario = Stack::shared()?.scenario("text")?;
    text_agrees_with_postgres(&scenario.sql()?)
}
