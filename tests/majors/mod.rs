//! The daemon on every major of Postgres that is supported; all other tests run on that of Debian.

mod failover;

use std::time::Duration;

use crate::flow::{partitions, rules, values};
use crate::support::postgres::{Options, Postgres, Version};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Context, Result};
use crate::{face, refusal};

#[test]
#[ignore = "test-full: on Postgres 14"]
fn on_14() -> Result<()> {
    everything_holds(14)
}

#[test]
#[ignore = "test-full: on Postgres 16"]
fn on_16() -> Result<()> {
    everything_holds(16)
}

/// Faults: DDL-05.
#[test]
#[ignore = "test-full: on Postgres 17"]
fn on_17() -> Result<()> {
    everything_holds(17)
}

#[test]
#[ignore = "test-full: on Postgres 18"]
fn on_18() -> Result<()> {
    everything_holds(18)
}

fn everything_holds(major: u32) -> Result<()> {
    let stack = Stack::shared()?;
    let server = Postgres::start(&stack.sandbox, Options::version(Version::Major(major)))?;
    let scene = |name: &str| Scene::on(&format!("{name}_{major}"), &server, &stack.kafka, stack.registry.url());
    values::every_type_arrives(&scene("values")?).context("values")?;
    rules::every_change_is_accounted_for(&scene("rules")?).context("rules")?;
    partitions::a_narrower_partition_halts(&scene("partitions")?).context("partitions")?;
    face::shown(&scene("shown")?).context("status and check --live")?;
    publications(major, &scene)?;
    generated_columns(major, &scene)?;
    across_kills(&scene("kills")?).context("kills")
}

fn publications(major: u32, scene: &impl Fn(&str) -> Result<Scene>) -> Result<()> {
    if major >= 15 {
        refusal::database::filters_are_refused(&scene("filtered")?).context("row filter and column list")?;
    }
    let scene = scene("inserts")?;
    let publication = format!("walwright_{}", scene.name);
    scene.sql()?.batch(&format!("ALTER PUBLICATION {publication} SET (publish = 'update')"))?;
    assert_eq!(
        refusal::database::halts(&scene, "publication-mismatch")?,
        "publication-mismatch: publication walwright_NAME does not publish insert, which rules of public.orders need: \
         ALTER PUBLICATION \"walwright_NAME\" SET (publish = 'insert, update, delete, truncate'); (connector NAME, table public.orders)"
    );
    // For all tables, there is no list of them, and no filter.
    scene.sql()?.batch(&format!("DROP PUBLICATION {publication}; CREATE PUBLICATION {publication} FOR ALL TABLES"))?;
    let daemon = scene.start()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

/// A column that the server computes is not in the stream, and no fault where no rule names it.
fn generated_columns(major: u32, scene: &impl Fn(&str) -> Result<Scene>) -> Result<()> {
    let scene = scene("generated")?;
    scene.sql()?.batch("ALTER TABLE orders ADD total numeric(12,2) GENERATED ALWAYS AS (amount * 2) STORED")?;
    if major >= 18 {
        scene.sql()?.batch("ALTER TABLE orders ADD half numeric(12,2) GENERATED ALWAYS AS (amount / 2) VIRTUAL")?;
    }
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    if major >= 18 {
        let sent = format!("ALTER PUBLICATION walwright_{} SET (publish_generated_columns = stored)", scene.name);
        scene.sql()?.batch(&sent)?;
    }
    scene.insert(2, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)
}

const CLEARED: &str = r#"
[[topic]]
name = "cleared"
create = { partitions = 1, replication = 1 }

[[event]]
contract = "shop/OrdersCleared/v1"
table = "public.orders"
on = ["truncate"]
topic = "cleared"
key = "'orders'"
[event.fields]
meta = "meta"
"#;

const ORDERS_CLEARED: &str = r#"{ "type": "record", "name": "OrdersCleared", "namespace": "shop", "doc": "All are gone.",
  "fields": [ { "name": "meta", "type": "common.EventMeta", "doc": "About the event." } ] }"#;

/// Orders that go through all that a row can, while the daemon is killed again and again.
fn across_kills(scene: &Scene) -> Result<()> {
    const ORDERS: i64 = 300;
    const KILLS: usize = 6;
    rules::set_out(scene)?;
    scene.connector_more(CLEARED)?;
    scene.write("schemas/shop/OrdersCleared/v1.avsc", ORDERS_CLEARED)?;
    let mut daemon = scene.open()?;
    let mut reader = scene.reader("state")?;
    let expected = history(ORDERS);
    let seen = std::thread::scope(|scope| {
        let sql = scene.sql()?;
        let writer = scope.spawn(move || (1..=ORDERS).try_for_each(|id| sql.batch(&life(id))));
        let mut seen = Vec::new();
        for _ in 0..KILLS {
            // In the middle of what is being written.
            seen.extend(reader.read(expected.len() / (2 * KILLS), WITHIN)?);
            daemon.kill_hard()?;
            daemon = scene.launch()?;
        }
        writer.join().map_err(|_| "the writer panicked")??;
        seen.extend(reader.read(expected.len() - seen.len(), WITHIN)?);
        Ok::<_, crate::support::Fault>(seen)
    })?;
    assert_eq!(rules::told(&seen), expected);
    assert_eq!(rules::told(&scene.read_all("state")?), expected, "and nothing came behind it");
    let cleared = usize::try_from(ORDERS / 10)?;
    assert_eq!(rules::told(&scene.read("cleared", cleared)?), vec!["orders TRUNCATE -"; cleared]);
    assert_eq!(scene.read_all("cleared")?.len(), cleared);
    scene.wait_metric(&daemon, "walwright_lag_seconds", &[], |seconds| seconds == 0.0)?;
    daemon.wait_ready(Duration::from_secs(10))?;
    scene.finish(daemon)
}

/// An order's life, in several transactions; a truncate now and then.
fn life(id: i64) -> String {
    let moved = id + 1000;
    let last = match id % 10 {
        0 => "TRUNCATE orders".to_owned(),
        1..=4 => format!("DELETE FROM orders WHERE id = {moved}"),
        _ => String::new(),
    };
    format!(
        "BEGIN; INSERT INTO orders VALUES ({id}, 'NEW', 1); UPDATE orders SET status = 'PAID' WHERE id = {id}; COMMIT;
         BEGIN; UPDATE orders SET id = {moved} WHERE id = {id}; COMMIT;
         BEGIN; INSERT INTO orders VALUES (-1, 'X'); ROLLBACK;
         BEGIN; {last}; COMMIT"
    )
}

/// What of those lives is published to the topic of states.
fn history(orders: i64) -> Vec<String> {
    let one = |id: i64| {
        let moved = id + 1000;
        let mut told = vec![
            format!("{id} INSERT NEW"),
            format!("{id} UPDATE PAID"),
            format!("{id} tombstone -"),
            format!("{moved} REKEY PAID"),
        ];
        told.extend((1..=4).contains(&(id % 10)).then(|| format!("{moved} tombstone -")));
        told
    };
    (1..=orders).flat_map(one).collect()
}
