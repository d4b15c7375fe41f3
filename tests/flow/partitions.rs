//! Partitioned tables: published as their root. What an update sends of the old row is decided by the partition's own
//! replica identity, which is not set with the root's.

use super::rules::told;
use crate::support::Result;
use crate::support::scene::Scene;

const PARTITIONED: &str = "
DROP TABLE orders;
CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, amount numeric(12,2), note text) PARTITION BY RANGE (id);
CREATE TABLE orders_0 PARTITION OF orders FOR VALUES FROM (0) TO (100);
ALTER TABLE orders REPLICA IDENTITY FULL";

const NEXT: &str = "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (100) TO (200)";

const PAID: &str = r#"
[[event]]
contract = "shop/OrderPlaced/v1"
table = "public.orders"
on = ["update"]
when = "old.status != 'PAID' && new.status == 'PAID'"
topic = "orders"
key = "id"
[event.fields]
meta = "meta"
id = "id"
status = "status"
amount = "amount"
note = "old.note"
"#;

const NARROW: &str = "replica-identity: 2 faults\n\
    ~/connectors/NAME.toml:49:8: shop/OrderPlaced/v1 note: old.note: the old row is sent with the replica identity's \
    columns only (id); not all partitions of public.orders have its identity: ALTER TABLE <partition> REPLICA IDENTITY \
    FULL sends all of them\n\
    ~/connectors/NAME.toml:41:9: shop/OrderPlaced/v1: old.status: the old row is sent with the replica identity's columns \
    only (id); not all partitions of public.orders have its identity: ALTER TABLE <partition> REPLICA IDENTITY FULL sends \
    all of them\n    old.status != 'PAID' && new.status == 'PAID'\n    ^ (connector NAME, table public.orders)";

const DELETED: &str = r#"
[[topic]]
name = "state"
create = { partitions = 1, replication = 1 }
config = { "cleanup.policy" = "compact" }

[[tombstone]]
table = "public.orders"
topic = "state"
key = "old.id"
"#;

/// Orders in a partition under a root with REPLICA IDENTITY FULL; the partition has its own primary key only.
fn partitioned(name: &str) -> Result<Scene> {
    let scene = Scene::new(name)?;
    partition(&scene)?;
    Ok(scene)
}

fn partition(scene: &Scene) -> Result<()> {
    let publication = format!("walwright_{}", scene.name);
    scene.sql()?.batch(PARTITIONED)?;
    scene.sql()?.batch(&format!(
        "ALTER PUBLICATION {publication} ADD TABLE orders;
         ALTER PUBLICATION {publication} SET (publish_via_partition_root = true)"
    ))?;
    scene.push()
}

#[test]
fn a_partition_that_does_not_send_the_old_row_is_found_at_the_start() -> Result<()> {
    let scene = partitioned("narrow")?;
    scene.connector_more(PAID)?;
    assert_eq!(scene.halts("replica-identity")?, NARROW);
    scene.sql()?.batch("ALTER TABLE orders_0 REPLICA IDENTITY FULL")?;
    let daemon = scene.start()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch("UPDATE orders SET status = 'PAID', note = 'x'")?;
    assert_eq!(told(&scene.read("orders", 2)?), ["1 INSERT PLACED", "1 UPDATE PAID"]);
    scene.finish(daemon)
}

/// Faults: DDL-07.
#[test]
fn a_partition_that_is_added_without_the_roots_identity_halts_before_anything_wrong_is_published() -> Result<()> {
    a_narrower_partition_halts(&Scene::new("widened")?)
}

/// On each major: it rests on the order of the stream's descriptions.
pub(crate) fn a_narrower_partition_halts(scene: &Scene) -> Result<()> {
    partition(scene)?;
    scene.connector_more(PAID)?;
    scene.sql()?.batch("ALTER TABLE orders_0 REPLICA IDENTITY FULL")?;
    let mut daemon = scene.start()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.sql()?.batch(NEXT)?;
    scene.sql()?.batch("INSERT INTO orders VALUES (100, 'NEW')")?;
    scene.sql()?.batch("UPDATE orders SET status = 'PAID' WHERE id = 100")?;
    assert_eq!(scene.cause(&mut daemon, "replica-identity", "halted")?, NARROW);
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()
}

#[test]
fn rules_that_need_no_more_than_the_key_do_not_mind() -> Result<()> {
    let scene = partitioned("narrow_key")?;
    scene.connector_more(DELETED)?;
    let daemon = scene.start()?;
    scene.insert(1, 2)?;
    scene.sql()?.batch(NEXT)?;
    scene.sql()?.batch("INSERT INTO orders VALUES (100, 'NEW')")?;
    scene.sql()?.batch("UPDATE orders SET status = 'PAID'")?;
    scene.sql()?.batch("UPDATE orders SET id = 150 WHERE id = 100")?;
    scene.sql()?.batch("DELETE FROM orders WHERE id IN (2, 150)")?;
    assert_eq!(told(&scene.read("state", 3)?), ["100 tombstone -", "2 tombstone -", "150 tombstone -"]);
    assert_eq!(scene.read("orders", 3)?.len(), 3);
    scene.finish(daemon)
}
