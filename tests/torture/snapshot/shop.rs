//! One table with many rows, and a connector that publishes it three times: its state, what came to be, what was changed.

use crate::support::Result;
use crate::support::scene::Scene;
use crate::support::sql::Sql;
use crate::support::stack::Stack;

/// Database, role and connector.
pub(super) const NAME: &str = "shop";

const RULES: &str = r#"[snapshot]
mode = "initial"
workers = 4
rows_per_second = ROWS_PER_SECOND

[[topic]]
name = "state"
key = "string"
create = { partitions = 4, replication = 1 }
config = { "cleanup.policy" = "compact" }

[[topic]]
name = "facts"
key = "string"
create = { partitions = 4, replication = 1 }

[[topic]]
name = "updates"
key = "string"
create = { partitions = 4, replication = 1 }

[[tombstone]]
table = "public.orders"
topic = "state"
key = "old.id"

[[table]]
name = "public.orders"
unmatched = "halt"
truncate = "halt"
"#;

const RULE: &str = r#"
[[event]]
contract = "shop/CONTRACT/v1"
table = "public.orders"
on = ON
topic = "TOPIC"
key = "id"
[event.fields]
meta = "meta"
id = "id"
mark = "mark"
status = "status"
amount = "amount"
note = "note"
"#;

const CONTRACT: &str = r#"{ "type": "record", "name": "CONTRACT", "namespace": "shop", "doc": "An order.", "fields": [
  { "name": "meta", "type": "common.EventMeta", "doc": "About the event." },
  { "name": "id", "type": "long", "doc": "The order." },
  { "name": "mark", "type": "long", "doc": "The version of the row." },
  { "name": "status", "type": "string", "doc": "Its state." },
  { "name": "amount", "type": { "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 }, "doc": "Its amount." },
  { "name": "note", "type": ["null", "string"], "default": null, "doc": "A note." }
] }"#;

/// Topic, contract, operations.
const EVENTS: [(&str, &str, &str); 3] = [
    ("state", "OrderState", r#"["insert", "update", "rekey", "read"]"#),
    ("facts", "OrderPlaced", r#"["insert", "read"]"#),
    ("updates", "OrderUpdated", r#"["update"]"#),
];

/// The greatest id that is ever used: half of the ids are there in the beginning, the even ones.
pub(super) fn keys(rows: u64) -> u64 {
    2 * rows
}

/// The topics of the three rules, with their prefix.
pub(super) fn topics(scene: &Scene) -> [String; 3] {
    EVENTS.map(|(topic, ..)| scene.topic(topic))
}

/// The database with its rows, and the connector's files; the statements of its role are logged.
pub(super) fn open(stack: &Stack, rows: u64, rows_per_second: u64) -> Result<Scene> {
    let scene = Scene::own(NAME, stack)?;
    let file = format!("connectors/{NAME}.toml");
    let own = std::fs::read_to_string(scene.folder.join(&file))?;
    let source = own.split("[snapshot]").next().unwrap_or_default();
    let mut text = source.to_owned() + &RULES.replace("ROWS_PER_SECOND", &rows_per_second.to_string());
    for (topic, contract, on) in EVENTS {
        text += &RULE.replace("CONTRACT", contract).replace("ON", on).replace("TOPIC", topic);
        scene.write(&format!("schemas/shop/{contract}/v1.avsc"), &CONTRACT.replace("CONTRACT", contract))?;
    }
    scene.write(&file, &text)?;
    scene.process("level = \"debug\"", "level = \"info\"")?;
    fill(&scene.sql()?, rows)?;
    scene.push()?;
    Ok(scene)
}

fn fill(sql: &Sql, rows: u64) -> Result<()> {
    sql.batch(&format!(
        "ALTER TABLE orders ADD mark bigint NOT NULL DEFAULT 0, ALTER amount SET NOT NULL;
         INSERT INTO orders (id, status, amount, note)
         SELECT 2 * i, 'OLD', i % 100000 + 0.25, 'note ' || md5(i::text) FROM generate_series(1, {rows}) i;
         GRANT USAGE ON SCHEMA public TO {NAME}; GRANT SELECT ON orders TO {NAME};
         ALTER ROLE {NAME} SET log_statement = 'all'"
    ))?;
    sql.batch("VACUUM ANALYZE orders")
}
