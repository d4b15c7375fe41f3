//! A value of every supported type, from SQL to what an independent Avro reader decodes.

use serde_json::{Value as Json, json};

use crate::support::Result;
use crate::support::scene::Scene;

const TABLE: &str = "
CREATE TYPE mood AS ENUM ('ok', 'so-so');
CREATE TABLE kinds (
  id bigint PRIMARY KEY, flag boolean, small smallint, whole int, big bigint, real4 real, real8 double precision,
  words text, short varchar(9), fixed char(4), raw bytea, uid uuid, money numeric(12,2), huge numeric, day date,
  clock time, local timestamp, instant timestamptz, doc json, docb jsonb, mood mood, symbol mood);
INSERT INTO kinds (id) VALUES (0);";

/// Column, Avro type, in the order of the contract.
const FIELDS: [(&str, &str); 21] = [
    ("flag", r#""boolean""#),
    ("small", r#""int""#),
    ("whole", r#""int""#),
    ("big", r#""long""#),
    ("real4", r#""float""#),
    ("real8", r#""double""#),
    ("words", r#""string""#),
    ("short", r#""string""#),
    ("fixed", r#""string""#),
    ("raw", r#""bytes""#),
    ("uid", r#"{ "type": "string", "logicalType": "uuid" }"#),
    ("money", r#"{ "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 }"#),
    ("huge", r#"{ "type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 5 }"#),
    ("day", r#"{ "type": "int", "logicalType": "date" }"#),
    ("clock", r#"{ "type": "long", "logicalType": "time-micros" }"#),
    ("local", r#"{ "type": "long", "logicalType": "local-timestamp-micros" }"#),
    ("instant", r#"{ "type": "long", "logicalType": "timestamp-micros" }"#),
    ("doc", r#""string""#),
    ("docb", r#""string""#),
    ("mood", r#""string""#),
    ("symbol", r#"{ "type": "enum", "name": "Mood", "symbols": ["OK", "SO_SO"] }"#),
];

fn contract() -> String {
    let field = |(name, kind): &(&str, &str)| {
        format!(r#"{{ "name": "{name}", "type": ["null", {kind}], "default": null, "doc": "Of the column." }}"#)
    };
    let fields: Vec<String> = FIELDS.iter().map(field).collect();
    format!(
        r#"{{ "type": "record", "name": "KindSeen", "namespace": "shop", "doc": "All types.", "fields": [
           {{ "name": "meta", "type": "common.EventMeta", "doc": "About the event." }},
           {{ "name": "id", "type": "long", "doc": "The key." }}, {} ] }}"#,
        fields.join(",\n")
    )
}

fn rule() -> String {
    let field = |(name, _): &(&str, &str)| match *name {
        "symbol" => "symbol = { value = \"symbol\", map = { ok = \"OK\", so-so = \"SO_SO\" } }\n".to_owned(),
        name => format!("{name} = \"{name}\"\n"),
    };
    let fields: String = FIELDS.iter().map(field).collect();
    format!(
        "\n[[topic]]\nname = \"kinds\"\ncreate = {{ partitions = 1, replication = 1 }}\n\n[[event]]\ncontract = \"shop/KindSeen/v1\"\n\
         table = \"public.kinds\"\non = [\"insert\", \"update\"]\ntopic = \"kinds\"\nkey = \"id\"\n[event.fields]\nmeta = \"meta\"\nid = \"id\"\n{fields}"
    )
}

/// Rows as SQL, and as they must arrive.
fn rows() -> Vec<(&'static str, Json)> {
    vec![
        (
            "INSERT INTO kinds VALUES (1, true, -32768, -2147483648, -9223372036854775808, '-1.5', '0.1', 'Grüße, 世界 🎉', '',
             'ab', '\\x00ff10', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', -9999999999.99, -123456789012345678901234567890123.12345,
             '1969-12-31', '23:59:59.999999', '1999-12-31 23:59:59.000001', '2026-11-21 14:05:00.123456+02',
             '{\"a\":  [1, null]}', '{\"b\": 1,   \"a\": 2}', 'so-so', 'so-so')",
            json!({ "id": 1, "flag": true, "small": -32768, "whole": -2147483648, "big": i64::MIN, "real4": "-1.5",
                "real8": "0.1", "words": "Grüße, 世界 🎉", "short": "", "fixed": "ab  ", "raw": "00ff10",
                "uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "money": "-999999999999",
                "huge": "-12345678901234567890123456789012312345", "day": -1, "clock": 86_399_999_999_i64,
                "local": 946_684_799_000_001_i64, "instant": 1_795_262_700_123_456_i64, "doc": "{\"a\":  [1, null]}",
                "docb": "{\"a\": 2, \"b\": 1}", "mood": "so-so", "symbol": "SO_SO" }),
        ),
        (
            "INSERT INTO kinds VALUES (2, false, 32767, 2147483647, 9223372036854775807, 'NaN', '-Infinity', '', 'x', '', '', \
             '00000000-0000-0000-0000-000000000000', 0, 0.5, '2026-11-21', '00:00', '2000-01-01', '1969-12-31 23:59:59.999999+00',
             '1', 'null', 'ok', 'ok')",
            json!({ "id": 2, "flag": false, "small": 32767, "whole": 2147483647, "big": i64::MAX, "real4": "NaN",
                "real8": "-inf", "words": "", "short": "x", "fixed": "    ", "raw": "",
                "uid": "00000000-0000-0000-0000-000000000000", "money": "0", "huge": "50000", "day": 20778, "clock": 0,
                "local": 946_684_800_000_000_i64, "instant": -1, "doc": "1", "docb": "null", "mood": "ok",
                "symbol": "OK" }),
        ),
        ("INSERT INTO kinds (id) VALUES (3)", {
            let mut null: Json = json!({ "id": 3 });
            FIELDS.iter().for_each(|(name, _)| null[*name] = Json::Null);
            null
        }),
    ]
}

/// Faults: REG-10.
#[test]
fn a_value_of_every_type_arrives_as_it_was_written() -> Result<()> {
    every_type_arrives(&Scene::new("values")?)
}

pub(crate) fn every_type_arrives(scene: &Scene) -> Result<()> {
    let sql = scene.sql()?;
    sql.batch(TABLE)?;
    sql.batch(&format!("ALTER PUBLICATION walwright_{} ADD TABLE kinds", scene.name))?;
    scene.write("schemas/shop/KindSeen/v1.avsc", &contract())?;
    scene.connector_more(&rule())?;
    let daemon = scene.open()?;
    let rows = rows();
    rows.iter().try_for_each(|(insert, _)| sql.batch(insert))?;
    let seen = scene.read("kinds", rows.len())?;
    for (seen, (insert, expected)) in seen.iter().zip(&rows) {
        let mut value = seen.value.clone().unwrap_or_default();
        let meta = value.as_object_mut().and_then(|fields| fields.remove("meta")).unwrap_or_default();
        assert_eq!(&value, expected, "{insert}");
        assert_eq!((meta["operation"].as_str(), meta["capture"].as_str()), (Some("INSERT"), Some("STREAM")));
        assert_eq!((meta["id"].as_str(), meta["source"].as_str()), (Some(seen.id()), Some("/shop/test")));
        assert_eq!(seen.key, expected["id"].to_string());
        assert_eq!(seen.headers.get("ce_type").map(String::as_str), Some("shop.KindSeen.v1"));
    }
    assert_eq!(scene.read_all("kinds")?.len(), rows.len());
    scene.finish(daemon)
}

#[test]
fn a_value_that_its_field_cannot_hold_halts_and_nothing_of_its_transaction_is_seen() -> Result<()> {
    let scene = Scene::new("misfit")?;
    scene.sql()?.batch("ALTER TABLE orders ALTER amount TYPE numeric")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    daemon.wait_ready(crate::support::scene::WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene
        .sql()?
        .batch("BEGIN; INSERT INTO orders VALUES (2, 'a', 1); INSERT INTO orders VALUES (3, 'a', 1.005); COMMIT")?;
    let cause = scene.cause(&mut daemon, "value-out-of-range", "halted")?;
    assert_eq!(
        cause,
        "value-out-of-range: column amount for field amount has more digits after the decimal point than the field's scale holds, by the rule at ~/connectors/NAME.toml:30:10 (connector NAME, table public.orders, column amount, contract shop/OrderPlaced/v1, topic NAME.orders, position LSN change 1)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    Ok(())
}

#[test]
fn a_value_that_does_not_fit_halts_also_at_the_end_of_a_long_transaction() -> Result<()> {
    let scene = Scene::new("longmisfit")?;
    scene.sql()?.batch("ALTER TABLE orders ALTER amount TYPE numeric")?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch(
        "BEGIN; INSERT INTO orders SELECT i, 'NEW', 1, repeat('x', 200) FROM generate_series(1, 20000) i;
         INSERT INTO orders VALUES (20001, 'NEW', 1.005); COMMIT",
    )?;
    let cause = scene.cause(&mut daemon, "value-out-of-range", "halted")?;
    assert_eq!(
        cause,
        "value-out-of-range: column amount for field amount has more digits after the decimal point than the field's scale holds, by the rule at ~/connectors/NAME.toml:30:10 (connector NAME, table public.orders, column amount, contract shop/OrderPlaced/v1, topic NAME.orders, position LSN change 20000)"
    );
    assert_eq!(scene.read_all("orders")?, []);
    scene.watched()
}
