mod page;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::connector::{ColumnRef, FieldSource, KeyKind, KeyPlan, Literal, NewColumns, OnNull, Side, TopicCreate};
use crate::model::{Operation, TableName, TlsMode};

const CONTRACTS: &[(&str, &str)] = &[
    (
        "common/EventMeta/v1.avsc",
        r#"{"type":"record","name":"EventMeta","namespace":"common","fields":[{"name":"id","type":"string"}]}"#,
    ),
    (
        "oms/OrderPlaced/v1.avsc",
        r#"{"type":"record","name":"OrderPlaced","namespace":"oms","fields":[
            {"name":"meta","type":"common.EventMeta"},
            {"name":"order_id","type":"long"},
            {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}},
            {"name":"status","type":{"type":"enum","name":"Status","symbols":["PLACED","SHIPPED"]}},
            {"name":"note","type":["null","string"],"default":null}]}"#,
    ),
    (
        "oms/OrderPlaced/v2.avsc",
        r#"{"type":"record","name":"OrderPlaced","namespace":"oms","fields":[{"name":"order_id","type":"long"}]}"#,
    ),
    (
        "oms/OrderKey/v1.avsc",
        r#"{"type":"record","name":"OrderKey","namespace":"oms","fields":[
            {"name":"shop","type":"int"},{"name":"order_id","type":"long"}]}"#,
    ),
];

/// The parts that every file needs; rules go behind it. It has 14 lines.
const HEAD: &str = r#"[source]
id = "/oms/test"
host = "localhost"
database = "oms"
user = "walwright"
password = { env = "OMS_PASSWORD" }
slot = "oms"
publication = "oms"
[snapshot]
mode = "none"
[[topic]]
name = "oms.orders"
[[topic]]
name = "oms.other"
"#;

/// A rule without fault for the first topic; with `FILLER` behind it, both topics are used.
const EVENT: &str = r#"
[[event]]
contract = "oms/OrderPlaced/v1"
table = "public.orders"
on = ["insert"]
topic = "oms.orders"
key = "id"
[event.fields]
meta = "meta"
order_id = "id"
total = "total"
status = "status"
note = "note"
"#;

const FILLER: &str = r#"
[[event]]
contract = "oms/OrderPlaced/v2"
table = "public.archive"
on = ["insert"]
topic = "oms.other"
key = "id"
fields = { order_id = "id" }
"#;

fn load_named(name: &str, text: &str) -> Result<(Connector, TempDir), String> {
    let dir = tempfile::tempdir().unwrap();
    for (path, schema) in CONTRACTS {
        let file = dir.path().join("schemas").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, schema).unwrap();
    }
    let (contracts, faults) = Repository::load(&dir.path().join("schemas"));
    assert_eq!(faults.to_string(), "");
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    match load(&file, &contracts, "eu.") {
        Ok(connector) => Ok((connector, dir)),
        Err(faults) => Err(faults.to_string().replace(&format!("{}/", dir.path().display()), "")),
    }
}

fn plan(rules: &str) -> Plan {
    load_named("oms.toml", &format!("{HEAD}{rules}{FILLER}")).map_err(|faults| panic!("{faults}")).unwrap().0.plan
}

/// The faults of a file with these rules, which come first behind the head.
fn faults(rules: &str) -> String {
    faults_of(&format!("{HEAD}{rules}{FILLER}"))
}

fn faults_of(text: &str) -> String {
    load_named("oms.toml", text).err().unwrap_or_default()
}

fn event(replace: &str, by: &str) -> String {
    assert!(EVENT.contains(replace), "{replace}");
    faults(&EVENT.replace(replace, by))
}

/// A part of `EVENT`, what takes its place, and the faults that come of it (the file's name left out).
const FAULTY_RULES: &[(&str, &str, &str)] = &[
    (
        r#"on = ["insert"]"#,
        r#"on = ["insert", "rea"]"#,
        r#"19:17: event[1].on[2]: must be "insert" or "update" or "rekey" or "delete" or "truncate" or "read", not "rea"; did you mean "read"?"#,
    ),
    (r#"on = ["insert"]"#, "on = []", "19:6: event[1].on: is empty, so the event would never happen"),
    (r#"on = ["insert"]"#, r#"on = ["insert", "insert"]"#, "19:17: event[1].on[2]: stands here twice"),
    (r#"on = ["insert"]"#, r#"on = "insert""#, "19:6: event[1].on: expected an array, found a string"),
    (
        r#"on = ["insert"]"#,
        r#"on = ["truncate"]"#,
        "21:7: event[1].key: id: `truncate` has no row; give it a rule of its own\n\
             24:12: event[1].fields.order_id: id: `truncate` has no row; give it a rule of its own\n\
             25:9: event[1].fields.total: total: `truncate` has no row; give it a rule of its own\n\
             26:10: event[1].fields.status: status: `truncate` has no row; give it a rule of its own\n\
             27:8: event[1].fields.note: note: `truncate` has no row; give it a rule of its own",
    ),
    (
        r#"table = "public.orders""#,
        r#"table = "orders""#,
        r#"18:9: event[1].table: a table is written with its schema: "public.orders""#,
    ),
    (
        r#"table = "public.orders""#,
        r#"table = ["public"]"#,
        r#"18:9: event[1].table: a table's name in two parts is ["schema", "table"]"#,
    ),
    (
        r#"topic = "oms.orders""#,
        r#"topic = "oms.order""#,
        r#"20:9: event[1].topic: no [[topic]] has the name "oms.order"; did you mean "oms.orders"?"#,
    ),
    (
        r#"topic = "oms.orders""#,
        r#"topik = "oms.orders""#,
        "16:1: event[1]: `topic` is missing: topic = \"oms.orders\"\n\
             20:1: event[1].topik: unknown key; did you mean `topic`?",
    ),
    (
        r#""oms/OrderPlaced/v1""#,
        r#""oms/OrderPlacd/v1""#,
        r#"17:12: event[1].contract: no such contract: oms/OrderPlacd/v1.avsc is not among the schemas; did you mean "oms/OrderPlaced/v1"?"#,
    ),
    (
        r#"key = "id""#,
        r#"key = { order_id = "id" }"#,
        r#"21:7: event[1].key: the keys of oms.orders are strings: one expression, such as "id""#,
    ),
    (r#"key = "id""#, r#"key = "null""#, "21:7: event[1].key: null is no value here"),
    (
        r#"key = "id""#,
        "key = 5",
        r#"21:7: event[1].key: expected an expression in quotes: "id" is a column, "'EUR'", "1" and "true" are constants"#,
    ),
    (
        r#"key = "id""#,
        r#"key = "old.id""#,
        "21:7: event[1].key: old.id: `insert` has no old row; give it a rule of its own",
    ),
    (
        r#"key = "id""#,
        "key = \"id\"\nwhen = \"old.status != 'PAID'\"",
        "22:9: event[1].when: old.status: `insert` has no old row; give it a rule of its own\n    old.status != 'PAID'\n    ^",
    ),
    (
        r#"key = "id""#,
        "key = \"id\"\nwhen = \"changed(status)\"",
        "22:16: event[1].when: old.status: `insert` has no old row; give it a rule of its own\n    changed(status)\n           ^",
    ),
    (
        r#"key = "id""#,
        "key = \"id\"\nwhen = \"status == 'PAID' &&\"",
        "22:28: event[1].when: malformed expression: unexpected end\n    status == 'PAID' &&\n                       ^",
    ),
    (
        r#"order_id = "id""#,
        "",
        r#"22:1: event[1].fields: the field `order_id` of oms/OrderPlaced/v1 has no source: order_id = "<column>""#,
    ),
    (
        r#"order_id = "id""#,
        "order_id = \"id\"\norderid = \"id\"",
        "25:11: event[1].fields.orderid: oms/OrderPlaced/v1 has no field of this name; did you mean `order_id`?",
    ),
    (
        r#"order_id = "id""#,
        r#"order_id = "id == 1""#,
        "24:16: event[1].fields.order_id: a value is a column or a constant; conditions stand in `when`, computed values \
             are not supported yet\n    id == 1\n       ^",
    ),
    (
        r#"order_id = "id""#,
        r#"order_id = { value = "id", default = true }"#,
        "24:22: event[1].fields.order_id.value: does not go with `default`\n\
             24:38: event[1].fields.order_id.default: the contract has no default for `order_id`",
    ),
    (
        r#"order_id = "id""#,
        r#"order_id = { value = "1", on_null = "halt" }"#,
        "24:12: event[1].fields.order_id: a constant is written as it is: no table around it, no map, no on_null",
    ),
    (
        r#"order_id = "id""#,
        r#"order_id = { value = "id", map = { a = "1" } }"#,
        "24:40: event[1].fields.order_id.map.a: a map gives text, and the field `order_id` is long",
    ),
    (
        r#"order_id = "id""#,
        r#"order_id = "null""#,
        "24:12: event[1].fields.order_id: the field `order_id` takes no null",
    ),
    (
        r#"total = "total""#,
        r#"total = "'12.50'""#,
        "25:9: event[1].fields.total: the constant '12.50' does not fit the field `total`, which is bytes (decimal 4,2)",
    ),
    (
        r#"total = "total""#,
        r#"total = "100""#,
        "25:9: event[1].fields.total: the constant 100 does not fit the field `total`, which is bytes (decimal 4,2)",
    ),
    (
        r#"status = "status""#,
        r#"status = "'PLACD'""#,
        "26:10: event[1].fields.status: 'PLACD' is no symbol of the enum; it has PLACED, SHIPPED",
    ),
    (
        r#"status = "status""#,
        r#"status = { value = "status", map = { P = "PLACED", S = "SHIPED" } }"#,
        "26:56: event[1].fields.status.map.S: 'SHIPED' is no symbol of the enum; it has PLACED, SHIPPED",
    ),
    (
        r#"status = "status""#,
        r#"status = { value = "status", map = {} }"#,
        "26:36: event[1].fields.status.map: is empty, so every code would halt the connector",
    ),
    (
        r#"note = "note""#,
        r#"note = { value = "note", on_null = "halt" }"#,
        "27:36: event[1].fields.note.on_null: the field `note` takes null, so nothing would halt",
    ),
    (
        r#"note = "note""#,
        "note = { default = false }",
        "27:20: event[1].fields.note.default: is either true or left out",
    ),
    (
        r#"note = "note""#,
        r#"note = { value = "note", on_nul = "halt" }"#,
        "27:26: event[1].fields.note.on_nul: unknown key; did you mean `on_null`?",
    ),
    (
        r#"meta = "meta""#,
        r#"meta = "id""#,
        r#"23:8: event[1].fields.meta: the field is a common.EventMeta, whose source is "meta""#,
    ),
];

#[test]
fn faults_of_a_rule_have_place_and_remedy() {
    for (replace, by, expected) in FAULTY_RULES {
        assert_eq!(event(replace, by).replace("oms.toml:", ""), *expected, "{by}");
    }
}

#[test]
fn faults_of_headers_are_found() {
    let headers = "[event.headers]\nce_id = \"id\"\n\"a b\" = \"id\"\nx = \"1.5\"\ny = { value = \"id\" }\n";
    assert_eq!(
        faults(&format!("{EVENT}{headers}")),
        "oms.toml:29:9: event[1].headers.ce_id: headers ce_* and content-type are written by Walwright itself; see [kafka] \
         headers\n\
         oms.toml:30:9: event[1].headers.\"a b\": a header's name has printable ASCII characters without spaces only\n\
         oms.toml:31:5: event[1].headers.x: the constant could be spelled in many ways; write it as text in quotes\n\
         oms.toml:32:5: event[1].headers.y: expected an expression in quotes, such as \"id\""
    );
}

#[test]
fn malformed_toml_is_named_with_line_and_column_and_shows_no_secret() {
    assert_eq!(
        faults_of("[source"),
        "oms.toml:1:8: malformed TOML: unclosed table, expected `]`\n    [source\n           ^"
    );
    let faults = faults_of("[source]\npassword = \"hunter2\nid = 1");
    assert_eq!(faults, "oms.toml:2:20: malformed TOML: invalid basic string, expected `\"`");
}

#[test]
fn what_only_several_rules_show_is_found() {
    let tombstone = "[[tombstone]]\ntable = \"public.orders\"\ntopic = \"oms.other\"\nkey = \"old.id\"\n";
    let table = "[[table]]\nname = \"public.orders\"\nunpublished = [\"total\"]\n";
    let created = HEAD.replace("\"oms.other\"", "\"oms.other\"\ncreate = { partitions = 1, replication = 1 }");
    let cases = [
        (
            HEAD.to_owned(),
            "oms.toml: there is no [[event]], so nothing would be published\n\
             oms.toml:11:1: topic[1]: no [[event]] and no [[tombstone]] writes to it\n\
             oms.toml:13:1: topic[2]: no [[event]] and no [[tombstone]] writes to it",
        ),
        (
            format!("{HEAD}{EVENT}{EVENT}{FILLER}"),
            "oms.toml:29:1: event[2]: event[1] makes oms/OrderPlaced/v1 of `insert` on public.orders already: one change \
             makes one event of a contract",
        ),
        (
            format!("{HEAD}{EVENT}{FILLER}{}", FILLER.replace("oms.other", "oms.orders").replace("archive", "new")),
            "oms.toml:37:1: event[3]: event[1] sends oms/OrderPlaced/v1 to oms.orders, so subscribers would get the fact \
             twice: two versions go to two topics",
        ),
        (
            format!("{HEAD}{EVENT}{FILLER}{}", tombstone.replace("old.", "")),
            "oms.toml:39:7: tombstone[1].key: a tombstone is for the key that goes away: write old.id",
        ),
        (
            format!("{created}{EVENT}{FILLER}{tombstone}"),
            "oms.toml:13:1: topic[2]: it gets tombstones, so it holds state and is compacted: config = { \
             \"cleanup.policy\" = \"compact\" }",
        ),
        (
            format!("{HEAD}{EVENT}{FILLER}{tombstone}{tombstone}"),
            "oms.toml:40:1: tombstone[2]: tombstone[1] buries keys of this table on this topic already",
        ),
        (
            format!("{HEAD}{EVENT}{FILLER}{table}{table}"),
            "oms.toml:25:9: event[1].fields.total: publishes `total`, which [[table]] public.orders lists as unpublished\n\
             oms.toml:39:1: table[2]: table[1] has the name public.orders already",
        ),
        (
            format!(
                "{HEAD}{EVENT}{FILLER}[[table]]\nname = \"public.x\"\ntruncate = \"ignore\"\n[tables]\nunnamed = \"drop\""
            ),
            "oms.toml:38:12: table[1].truncate: must be \"filter\" or \"halt\", not \"ignore\"\n\
             oms.toml:40:11: tables.unnamed: must be \"filter\" or \"halt\", not \"drop\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults_of(&text), expected);
    }
}

#[test]
fn faults_of_the_source_have_place_and_remedy() {
    check_head(&[
        (
            "id = \"/oms/test\"",
            "id = { env = \"ID\" }",
            "2:6: source.id: the ids of all events begin with it: it is written here, not looked up elsewhere",
        ),
        ("id = \"/oms/test\"", "id = \"a b\"", "2:6: source.id: must have no spaces, such as \"/oms/prod\""),
        (
            "host = \"localhost\"",
            "host = [\"a\", { env = \"B\" }, { env = \"C\", file = \"d\" }]",
            "3:29: source.host[3]: a reference is { env = \"NAME\" } or { file = \"/run/secrets/name\" }",
        ),
        ("host = \"localhost\"", "host = []", "1:1: source: `host` is an empty list"),
        ("host = \"localhost\"", "host = \"a,,b\"", "3:8: source.host: has an empty host"),
        (
            "{ env = \"OMS_PASSWORD\" }",
            "\"hunter2\"",
            "6:12: source.password: a secret does not stand in this file; write { env = \"NAME\" } or { file = \
             \"/run/secrets/name\" }",
        ),
        (
            "slot = \"oms\"",
            "slot = \"Oms-1\"",
            "7:8: source.slot: must be a slot's name: lower-case letters, digits and _, at most 63",
        ),
        (
            "slot = \"oms\"",
            "slot = \"oms\"\ntls = \"require\"\ntls_ca = \"ca.pem\"\ntls_key = \"client.key\"\nchannel_binding = \"disable\"\n\
             password_method = \"password\"\ntarget_session_attrs = \"any\"",
            "1:1: source: `tls_cert` and `tls_key` go together\n\
             1:1: source: `tls_ca` has no meaning with tls = \"require\", which verifies nothing: \"verify-full\" does\n\
             10:11: source.tls_key: a secret does not stand in this file; write { env = \"NAME\" } or \
             { file = \"/run/secrets/name\" }\n\
             11:19: source.channel_binding: must be \"prefer\" or \"require\"\n\
             12:19: source.password_method: must be \"scram-sha-256\" or \"md5\"\n\
             13:24: source.target_session_attrs: must be \"primary\" or \"read-write\"",
        ),
        (
            "slot = \"oms\"",
            "slot = \"oms\"\nport = 70000\ntls = \"prefer\"\nadopt_slot = \"yes\"\nlarge_transactions = \"part\"\nsslmode = \"x\"",
            "8:8: source.port: must be a port, 1 to 65535\n\
             9:7: source.tls: must be \"verify-full\", \"require\" or \"disable\"\n\
             10:14: source.adopt_slot: must be true or false\n\
             11:22: source.large_transactions: must be \"whole\" or \"split\", not \"part\"\n\
             12:1: source.sslmode: unknown key; known here: id, host, port, database, user, password, slot, publication, \
             tls, tls_ca, tls_cert, tls_key, channel_binding, password_method, target_session_attrs, adopt_slot, large_transactions",
        ),
        (
            "mode = \"none\"",
            "mode = \"sometimes\"",
            "10:8: snapshot.mode: must be \"none\" or \"initial\", not \"sometimes\"",
        ),
        ("mode = \"none\"", "workers = 0", "10:11: snapshot.workers: must be a whole number from 1 to 16"),
    ]);
}

#[test]
fn faults_of_topics_have_place_and_remedy() {
    let other = "name = \"oms.other\"";
    check_head(&[
        (
            other,
            "name = \"oms.orders\"",
            "13:1: topic[2]: topic[1] has the name oms.orders already\n\
             33:9: event[2].topic: no [[topic]] has the name \"oms.other\"",
        ),
        (
            other,
            "name = \"oms other\"",
            "14:8: topic[2].name: must be a topic's name: up to 249 letters, digits, dots, underscores and dashes\n\
             33:9: event[2].topic: no [[topic]] has the name \"oms.other\"",
        ),
        (
            other,
            "name = \"oms.other\"\nkey = \"avro\"",
            "13:1: topic[2]: `key_contract` is missing: key_contract = \"oms/OrderKey/v1\"",
        ),
        (
            other,
            "name = \"oms.other\"\nkey = \"avro\"\nkey_contract = \"oms/OrderPlaced/v1\"",
            "16:16: topic[2].key_contract: oms/OrderPlaced/v1 is no key: its field `meta` is common.EventMeta, which \
             differs from event to event\n\
             16:16: topic[2].key_contract: oms/OrderPlaced/v1 is no key: its field `note` is nullable, and a key is never null",
        ),
        (
            other,
            "name = \"oms.other\"\nkey_contract = \"oms/OrderKey/v1\"",
            "15:16: topic[2].key_contract: belongs to key = \"avro\"",
        ),
        (
            other,
            "name = \"oms.other\"\nkey = \"avro\"\nkey_contract = \"oms/OrderKey/v1\"",
            "36:7: event[2].key: the keys of oms.other are records: key = { shop = .., order_id = .. }",
        ),
        (
            other,
            "name = \"oms.other\"\nconfig = { \"cleanup.policy\" = \"compact\" }",
            "13:1: topic[2]: compaction would remove facts: of each key only the newest event stays; a topic of state has \
             a [[tombstone]]",
        ),
        (
            other,
            "name = \"oms.other\"\ncreate = { partitions = 0 }",
            "15:10: topic[2].create: `replication` is missing: replication = 3\n\
             15:25: topic[2].create.partitions: must be a whole number from 1 to 100000",
        ),
        (
            other,
            "name = \"oms.other\"\ncreate = { partitions = 3, replication = 1 }\nconfig = { \"min.insync.replicas\" = 2 }",
            "13:1: topic[2]: min.insync.replicas is 2, but create gives it 1 replicas",
        ),
    ]);
}

/// A part of `HEAD`, what takes its place, and the faults that come of it (the file's name left out).
fn check_head(cases: &[(&str, &str, &str)]) {
    let text = format!("{HEAD}{EVENT}{FILLER}");
    for (replace, by, expected) in cases {
        assert!(text.contains(replace), "{replace}");
        assert_eq!(faults_of(&text.replace(replace, by)).replace("oms.toml:", ""), *expected, "{by}");
    }
}

#[test]
fn the_files_name_is_the_connectors() {
    let text = format!("{HEAD}{EVENT}{FILLER}");
    for name in ["Oms.toml", "1.toml", "o.m.s.toml", &format!("{}.toml", "o".repeat(64))] {
        let faults = load_named(name, &text).err().unwrap();
        assert!(faults.contains("the file's name is the connector's"), "{faults}");
    }
}

#[test]
fn rules_become_plain_data() {
    let rules = EVENT
        .replace(
            "status = \"status\"",
            "status = { value = \"new['the status']\", map = { P = \"PLACED\" }, on_null = \"halt\" }",
        )
        .replace("note = \"note\"", "note = { default = true }")
        .replace("total = \"total\"", "total = \"12\"")
        .replace("on = [\"insert\"]", "on = [\"update\"]\nwhen = '''\nold.a == 1 ||\n  changed(b)'''")
        .replace("public.orders", "public.orders.2024");
    let headers = "[event.headers]\ny = \"old.y\"\nx = \"'1'\"\n";
    let plan = plan(&format!("{rules}{headers}"));
    let (topic, event) = (&plan.topics[0], &plan.events[0]);
    assert_eq!((topic.name.as_str(), &topic.key, topic.create), ("eu.oms.orders", &KeyKind::String, None));
    assert_eq!(event.table, TableName::new("public", "orders.2024"));
    assert_eq!(event.on.iter().collect::<Vec<_>>(), [Operation::Update]);
    assert_eq!((event.place.line, event.topic, event.contract.path.as_str()), (16, 0, "oms/OrderPlaced/v1"));
    let column = |side, name: &str| ColumnRef { side, name: name.to_owned() };
    let sources: Vec<_> = event.fields.iter().map(|field| (field.name.as_str(), field.source.clone())).collect();
    let status = FieldSource::Map {
        column: column(Side::New, "the status"),
        map: [("P".to_owned(), "PLACED".to_owned())].into(),
        on_null: OnNull::Halt,
    };
    let expected = [
        ("meta", FieldSource::Meta),
        ("order_id", FieldSource::Column { column: column(Side::Row, "id"), on_null: OnNull::Refuse }),
        ("total", FieldSource::Literal(Literal::Int(12))),
        ("status", status),
        ("note", FieldSource::Default),
    ];
    assert_eq!(sources, expected);
    let headers: Vec<_> = event.headers.iter().map(|(name, plan)| (name.as_str(), plan.source.clone())).collect();
    let of_old = FieldSource::Column { column: column(Side::Old, "y"), on_null: OnNull::Refuse };
    assert_eq!(headers, [("x", FieldSource::Literal(Literal::String("1".to_owned()))), ("y", of_old)]);
    let tables: Vec<_> =
        plan.tables.iter().map(|table| (table.name.to_string(), table.new_columns, table.truncate)).collect();
    let by_default = |name: &str| (name.to_owned(), NewColumns::Warn, Unhandled::Halt);
    assert_eq!(tables, [by_default("public.orders.2024"), by_default("public.archive")]);
}

#[test]
fn conditions_know_their_place_also_over_several_lines() {
    let rules = EVENT.replace("on = [\"insert\"]", "on = [\"update\"]\nwhen = '''\nold.a == 1 ||\n  changed(b)'''");
    let plan = plan(&rules);
    let when = plan.events[0].when.as_ref().unwrap();
    assert_eq!((when.place.line, when.place.column), (21, 1));
    let fault = when.fault(when.columns()[1].0, "here");
    let excerpt = "      changed(b)\n             ^";
    assert_eq!((fault.line, fault.column, fault.excerpt.as_deref()), (22, 10, Some(excerpt)));
}

#[test]
fn avro_keys_have_a_source_for_each_field_in_the_contracts_order() {
    let settings = "create = { partitions = 3, replication = 2 }\nconfig = { \"retention.ms\" = 5 }";
    let topic = format!("\"oms.orders\"\nkey = \"avro\"\nkey_contract = \"oms/OrderKey/v1\"\n{settings}");
    let head = HEAD.replace("\"oms.orders\"", &topic);
    let rules = EVENT.replace("key = \"id\"", "key = { order_id = \"id\", shop = \"1\" }");
    let plan = load_named("oms.toml", &format!("{head}{rules}{FILLER}")).unwrap().0.plan;
    assert_eq!(plan.topics[0].create, Some(TopicCreate { partitions: 3, replication: 2 }));
    assert_eq!(plan.topics[0].config["retention.ms"], "5");
    let KeyKind::Avro(contract) = &plan.topics[0].key else { panic!("{:?}", plan.topics[0].key) };
    assert_eq!(contract.path, "oms/OrderKey/v1");
    let KeyPlan::Avro(fields) = &plan.events[0].key else { panic!("{:?}", plan.events[0].key) };
    assert_eq!(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["shop", "order_id"]);
}

#[test]
fn the_mappings_hash_is_of_what_decides_and_of_nothing_else() {
    let hash = |text: &str| load_named("oms.toml", text).unwrap().0.plan.mapping_hash;
    let text = format!("{HEAD}{EVENT}{FILLER}");
    let create = "\"oms.orders\"\ncreate = { partitions = 3, replication = 2 }\n[[topic]]";
    let same = [
        format!("# A comment.\n{text}"),
        text.replace("/oms/test", "/oms/prod").replace("localhost", "elsewhere"),
        text.replace("\"oms.orders\"\n[[topic]]", create),
        text.replace("meta = \"meta\"\norder_id = \"id\"", "order_id = \"id\"\nmeta = \"meta\""),
    ];
    for other in &same {
        assert_ne!(other, &text);
        assert_eq!(hash(other), hash(&text), "{other}");
    }
    let different = [
        text.replace("total = \"total\"", "total = \"amount\""),
        text.replace("on = [\"insert\"]", "on = [\"update\"]"),
        text.replace("key = \"id\"", "key = \"number\""),
        text.replace("oms.orders", "oms.order"),
        text.replace("on = [\"insert\"]", "on = [\"insert\"]\nwhen = \"gift\""),
        format!("{text}[tables]\nunnamed = \"halt\""),
    ];
    for other in &different {
        assert_ne!(hash(other), hash(&text), "{other}");
    }
    // It stands in checkpoints: another algorithm is another mapping to them.
    assert_eq!(hash(&text), "cdfcf689b707592bc995a6805fa7508ca05c1464ee3a1a5d095631b428944c18");
}

#[test]
fn references_are_looked_up_anew_and_all_that_is_missing_is_named() {
    let head = HEAD
        .replace("\"localhost\"", "[\"a\", { env = \"HOSTS\" }]\nport = { env = \"PORT\" }\ntls_ca = \"ca.pem\"")
        .replace("{ env = \"OMS_PASSWORD\" }", "{ file = \"password\" }");
    let (connector, dir) = load_named("oms.toml", &format!("{head}{EVENT}{FILLER}")).unwrap();
    let resolve = |pairs: &[(&str, &str)]| {
        let variables = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let resolved = connector.source.resolve_with(&variables);
        resolved.map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    assert_eq!(
        resolve(&[("PORT", "seventy")]).unwrap_err(),
        "configuration: 3 faults\noms.toml:3:14: source.host[2]: environment variable HOSTS is not set\n\
         oms.toml:4:8: source.port: environment variable PORT must be a port, 1 to 65535\n\
         oms.toml:8:12: source.password: password cannot be read: No such file or directory (os error 2)"
    );
    for written in ["", "\n"] {
        // A file that is being replaced may be empty for a moment, as it may be missing.
        fs::write(dir.path().join("password"), written).unwrap();
        assert_eq!(
            resolve(&[("PORT", "5433"), ("HOSTS", "b")]).unwrap_err(),
            "reference-unreadable: oms.toml:8:12: source.password: password is empty"
        );
    }
    fs::write(dir.path().join("password"), "hunter2\n").unwrap();
    let resolved = resolve(&[("PORT", "5433"), ("HOSTS", "b, c")]).unwrap();
    assert_eq!((resolved.hosts, resolved.port), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 5433));
    assert_eq!(resolved.password.unwrap().reveal(), "hunter2");
    assert_eq!(resolved.security.tls, TlsMode::VerifyFull { ca: Some(dir.path().join("ca.pem")) });
    assert!(!resolved.adopt_slot);
    fs::write(dir.path().join("password"), "rotated").unwrap();
    let resolved = resolve(&[("PORT", "5433"), ("HOSTS", "b")]).unwrap();
    assert_eq!(resolved.password.unwrap().reveal(), "rotated");
}

#[test]
fn the_worked_example_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (contracts, faults) = Repository::load(&root.join("schemas"));
    assert_eq!(faults.to_string(), "");
    let connector =
        load(&root.join("connectors/oms.toml"), &contracts, "").map_err(|faults| faults.to_string()).unwrap();
    let plan = connector.plan;
    assert_eq!((plan.name.as_str(), plan.source_id.as_str()), ("oms", "/oms/demo"));
    assert_eq!((plan.topics.len(), plan.events.len(), plan.tombstones.len(), plan.tables.len()), (5, 10, 1, 7));
}
