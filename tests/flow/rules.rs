//! What rules make of changes: conditions, key changes, tombstones, truncates, filters, and the counts of all of them.

use crate::support::Result;
use crate::support::scene::Scene;
use crate::support::seen::Seen;

const RULES: &str = r#"truncate = "filter"

[[topic]]
name = "state"
create = { partitions = 1, replication = 1 }
config = { "cleanup.policy" = "compact" }

[[event]]
contract = "shop/OrderState/v1"
table = "public.orders"
on = ["insert", "update", "rekey"]
topic = "state"
key = "id"
[event.fields]
meta = "meta"
id = "id"
status = "status"

[[event]]
contract = "shop/OrderPaid/v1"
table = "public.orders"
on = ["update"]
when = "old.status != 'PAID' && new.status == 'PAID'"
topic = "orders"
key = "id"
[event.fields]
meta = "meta"
id = "id"
status = "status"

[[tombstone]]
table = "public.orders"
topic = "state"
key = "old.id"

[tables]
unnamed = "filter"
"#;

fn contract(name: &str) -> String {
    format!(
        r#"{{ "type": "record", "name": "{name}", "namespace": "shop", "doc": "An order.", "fields": [
           {{ "name": "meta", "type": "common.EventMeta", "doc": "About the event." }},
           {{ "name": "id", "type": "long", "doc": "The order." }},
           {{ "name": "status", "type": "string", "doc": "Its state." }} ] }}"#
    )
}

/// Faults: DDL-13, TXN-02, KF-19.
#[test]
fn every_change_is_published_or_filtered_by_a_named_rule() -> Result<()> {
    every_change_is_accounted_for(&Scene::new("rules")?)
}

/// The rules on a scene, which is not running yet.
pub(crate) fn set_out(scene: &Scene) -> Result<()> {
    let sql = scene.sql()?;
    sql.batch("ALTER TABLE orders REPLICA IDENTITY FULL; CREATE TABLE other (id int PRIMARY KEY)")?;
    sql.batch(&format!("ALTER PUBLICATION walwright_{} ADD TABLE other", scene.name))?;
    scene.connector_more(RULES)?;
    scene.write("schemas/shop/OrderState/v1.avsc", &contract("OrderState"))?;
    scene.write("schemas/shop/OrderPaid/v1.avsc", &contract("OrderPaid"))
}

/// Key, operation and status of each record.
pub(crate) fn told(seen: &[Seen]) -> Vec<String> {
    let one = |seen: &Seen| {
        let operation = seen.field("meta")["operation"].as_str().unwrap_or("tombstone").to_owned();
        format!("{} {operation} {}", seen.key, seen.field("status").as_str().unwrap_or("-"))
    };
    seen.iter().map(one).collect()
}

pub(crate) fn every_change_is_accounted_for(scene: &Scene) -> Result<()> {
    set_out(scene)?;
    let sql = scene.sql()?;
    let daemon = scene.open()?;
    sql.batch("INSERT INTO orders VALUES (1, 'NEW'), (2, 'NEW')")?; // placed, state: twice
    sql.batch("UPDATE orders SET status = 'PAID' WHERE id = 1")?; // paid, state
    sql.batch("UPDATE orders SET note = 'x' WHERE id = 1")?; // state only
    sql.batch("UPDATE orders SET id = 3 WHERE id = 2")?; // rekey: tombstone of 2, state of 3
    sql.batch("DELETE FROM orders WHERE id = 1")?; // tombstone of 1
    sql.batch("BEGIN; SAVEPOINT s; INSERT INTO orders VALUES (8, 'NEW'); ROLLBACK TO s; COMMIT")?; // nothing
    sql.batch("BEGIN; INSERT INTO orders VALUES (9, 'NEW'); ROLLBACK")?; // nothing
    sql.batch("INSERT INTO other VALUES (1)")?; // unnamed
    sql.batch("SELECT pg_logical_emit_message(true, 'p', 'x'); SELECT pg_logical_emit_message(false, 'p', 'x')")?;
    sql.batch("TRUNCATE orders")?; // filtered
    sql.batch("INSERT INTO orders VALUES (4, 'END')")?;
    let expected = [
        "1 INSERT NEW",
        "2 INSERT NEW",
        "1 UPDATE PAID",
        "1 UPDATE PAID",
        "2 tombstone -",
        "3 REKEY NEW",
        "1 tombstone -",
        "4 INSERT END",
    ];
    assert_eq!(told(&scene.read("state", expected.len())?), expected);
    let mut orders = told(&scene.read("orders", 4)?);
    orders.sort();
    assert_eq!(orders, ["1 INSERT NEW", "1 UPDATE PAID", "2 INSERT NEW", "4 INSERT END"]);

    let filtered = |rule: &str| scene.metric(&daemon, "walwright_changes_filtered_total", &[rule]);
    let count = |event: &str| scene.metric(&daemon, "walwright_events_published_total", &[event]);
    scene.wait_metric(&daemon, "walwright_changes_received_total", &[], |count| count == 11.0)?;
    assert_eq!((filtered("unnamed")?, filtered("truncate")?, filtered("message")?), (1.0, 1.0, 2.0));
    assert_eq!((count("shop/OrderPaid/v1")?, count("shop/OrderState/v1")?, count("tombstone")?), (1.0, 6.0, 2.0));
    scene.finish(daemon)
}

/// Faults: DDL-13.
#[test]
fn a_truncate_halts_unless_it_is_filtered() -> Result<()> {
    let scene = Scene::new("truncate")?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch("TRUNCATE orders")?;
    let cause = scene.cause(&mut daemon, "unmapped", "halted")?;
    assert_eq!(
        cause,
        "unmapped: no rule takes this truncate of public.orders, and truncate = \"halt\" of its [[table]] says that it must not pass (connector NAME, table public.orders, position LSN change 0)"
    );
    scene.watched()
}

#[test]
fn a_change_that_no_rule_takes_halts_where_the_file_says_so() -> Result<()> {
    let scene = Scene::new("unmatched")?;
    scene.connector("unmatched = \"filter\"", "unmatched = \"halt\"")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch("UPDATE orders SET note = 'x'")?;
    let cause = scene.cause(&mut daemon, "unmapped", "halted")?;
    assert_eq!(
        cause,
        "unmapped: no rule takes this update of public.orders, and unmatched = \"halt\" of its [[table]] says that it must not pass (connector NAME, table public.orders, position LSN change 0)"
    );
    scene.watched()
}
