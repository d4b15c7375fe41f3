//! The three sample consumers on the same topics, beside each other, while a daemon publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use serde_json::Value as Json;

use super::clients;
use crate::support::process::{Farewell, Process};
use crate::support::scene::{Scene, WITHIN};
use crate::support::seen::Seen;
use crate::support::stack::Stack;
use crate::support::{Result, poll};

const CUSTOMERS: &str = r#"
[[topic]]
name = "customers"
key = "string"
create = { partitions = 2, replication = 1 }
config = { "cleanup.policy" = "compact" }

[[event]]
contract = "shop/CustomerChanged/v1"
table = "public.customers"
on = ["insert", "update", "rekey"]
topic = "customers"
key = "number"
[event.fields]
meta = "meta"
number = "number"
name = "name"
credit = "credit"

[[tombstone]]
table = "public.customers"
topic = "customers"
key = "old.number"
"#;

const CUSTOMER_CHANGED: &str = r#"{ "type": "record", "name": "CustomerChanged", "namespace": "shop", "doc": "A customer.", "fields": [
  { "name": "meta", "type": "common.EventMeta", "doc": "About the event." },
  { "name": "number", "type": "string", "doc": "The number." },
  { "name": "name", "type": ["null", "string"], "default": null, "doc": "The name." },
  { "name": "credit", "type": { "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 }, "doc": "The limit." }
] }"#;

/// One of the samples, running.
struct Sample {
    name: &'static str,
    process: Process,
}

impl Sample {
    fn start(scene: &Scene, name: &'static str, mut command: Command) -> Result<Self> {
        let stack = Stack::shared()?;
        command.args([scene.brokers(), stack.registry.url().as_str(), &group(scene, name)]);
        command.args([scene.topic("orders"), scene.topic("customers")]);
        let log = stack.sandbox.log(&format!("{}-{name}", scene.name))?;
        Ok(Self { name, process: Process::spawn(name, command, &log, Farewell::Kill)? })
    }

    /// What it has printed, and those that were started before it under the same name.
    fn lines(&self) -> Result<Vec<Json>> {
        let text = std::fs::read_to_string(self.process.log())?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.starts_with('{')).map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Waits until it has printed so many different events, and returns all lines.
    fn wait(&mut self, ids: usize) -> Result<Vec<Json>> {
        let mut count = 0;
        let found = poll(WITHIN, || {
            if self.process.ended()?.is_some() {
                return Err(self.process.fault("has ended"));
            }
            let lines = self.lines()?;
            count = lines.iter().map(id).collect::<BTreeSet<_>>().len();
            Ok((count >= ids).then_some(lines))
        })?;
        found.ok_or_else(|| self.process.fault(&format!("has printed {count} of {ids} events")))
    }

    /// SIGTERM: it commits what it has handled, and leaves its group.
    fn end(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let status = self.process.wait(Duration::from_secs(30))?;
        assert!(status.code().is_some_and(|code| code == 0 || code == 143), "{}: {status}", self.name);
        Ok(())
    }
}

fn group(scene: &Scene, name: &str) -> String {
    format!("{}-{name}", scene.name)
}

fn id(line: &Json) -> String {
    line["id"].as_str().unwrap_or_default().to_owned()
}

/// A number as some write it with quotes and some without.
fn number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Customers by number, after all of these lines.
fn folded(lines: &[Json]) -> BTreeMap<String, (Json, Option<f64>)> {
    let mut customers = BTreeMap::new();
    for line in lines.iter().filter(|line| line["topic"].as_str().is_some_and(|topic| topic.ends_with(".customers"))) {
        let (key, value) = (line["key"].as_str().unwrap_or_default().to_owned(), &line["value"]);
        if value.is_null() {
            customers.remove(&key);
        } else {
            customers.insert(key, (value["name"].clone(), number(&value["credit"])));
        }
    }
    customers
}

/// The same record once more, as after a crash with `delivery = "at_least_once"`, and one that is aborted.
fn disturb(scene: &Scene, original: &Seen) -> Result<()> {
    let (topic, mut client) = (scene.topic("customers"), ClientConfig::new());
    client.set("bootstrap.servers", scene.brokers());
    let headers = |id: &str| {
        let headers = OwnedHeaders::new().insert(Header { key: "ce_id", value: Some(id) });
        headers.insert(Header { key: "ce_type", value: Some("walwright.Tombstone.v1") })
    };
    let again: BaseProducer = client.create()?;
    let record = BaseRecord::<str, [u8]>::to(&topic).key(&original.key).partition(original.partition);
    again.send(record.headers(headers(original.id()))).map_err(|(error, _)| error)?;
    again.flush(WITHIN)?;

    let aborting: BaseProducer = client.set("transactional.id", &topic).create()?;
    aborting.init_transactions(WITHIN)?;
    aborting.begin_transaction()?;
    let record = BaseRecord::<str, [u8]>::to(&topic).key(&original.key).partition(original.partition);
    aborting.send(record.headers(headers("never"))).map_err(|(error, _)| error)?;
    aborting.flush(WITHIN)?;
    Ok(aborting.abort_transaction(WITHIN)?)
}

/// Faults: KF-19, REG-10.
#[test]
fn all_samples_see_what_the_tables_hold() -> Result<()> {
    let scene = Scene::new("samples")?;
    let sql = scene.sql()?;
    sql.batch("CREATE TABLE customers (number text PRIMARY KEY, name text, credit numeric(12,2) NOT NULL)")?;
    sql.batch(&format!("ALTER PUBLICATION walwright_{} ADD TABLE customers", scene.name))?;
    scene.connector_more(CUSTOMERS)?;
    scene.write("schemas/shop/CustomerChanged/v1.avsc", CUSTOMER_CHANGED)?;
    let daemon = scene.open()?;

    let mut samples = vec![
        Sample::start(&scene, "java", clients::java()?)?,
        Sample::start(&scene, "rust", clients::rust()?)?,
        Sample::start(&scene, "python", clients::python()?)?,
    ];
    sql.batch(
        "INSERT INTO customers SELECT 'C' || n, CASE WHEN n % 3 > 0 THEN 'Ünal ' || n END, n * 1.25 FROM generate_series(1, 40) n",
    )?;
    scene.insert(1, 20)?;
    for sample in &mut samples {
        sample.wait(60)?;
    }
    let first = scene.read("customers", 1)?.remove(0);
    disturb(&scene, &first)?;
    sql.execute("UPDATE customers SET credit = credit + 1 WHERE number = $1", &[&first.key])?;
    for sample in &mut samples {
        sample.wait(61)?;
    }
    let mut python = samples.pop().ok_or("no sample")?;
    python.end()?;
    samples.push(Sample::start(&scene, "python", clients::python()?)?);

    sql.batch("UPDATE customers SET credit = -credit WHERE number < 'C3'")?;
    sql.batch("DELETE FROM customers WHERE number LIKE '%4'; UPDATE customers SET number = 'D' || number WHERE number LIKE '%5'")?;
    scene.insert(21, 60)?;

    let changed: i64 = sql.value("SELECT count(*) FROM generate_series(1, 40) n WHERE 'C' || n < 'C3'")?;
    // A deleted customer is a tombstone; one with a new number is a tombstone and an event.
    let expected = 60 + 40 + 1 + usize::try_from(changed)? + 4 + 2 * 4;
    let tables = tables(&scene)?;
    for sample in &mut samples {
        let lines = sample.wait(expected)?;
        let ids: BTreeSet<_> = lines.iter().map(id).collect();
        assert!(!ids.contains("never"), "{}: an aborted record", sample.name);
        assert_eq!((ids.len(), lines.len()), (expected, expected), "{}", sample.name);
        assert_eq!(folded(&lines), tables, "{}", sample.name);
        let orders: Vec<_> = lines.iter().filter(|line| line["type"] == "shop.OrderPlaced.v1").collect();
        let amount: f64 = orders.iter().filter_map(|order| number(&order["value"]["amount"])).sum();
        assert_eq!((orders.len(), amount), (60, 60.0 * 12.5), "{}", sample.name);
    }
    scene.finish(daemon)?;
    // Rust's has no handler for signals, and needs none.
    samples.iter_mut().filter(|sample| sample.name != "rust").try_for_each(Sample::end)
}

/// What the table of customers holds, in the form of [`folded`].
fn tables(scene: &Scene) -> Result<BTreeMap<String, (Json, Option<f64>)>> {
    let rows = scene.sql()?.text_rows("SELECT * FROM customers")?;
    let row = |mut row: BTreeMap<String, Option<String>>| {
        let mut take = |name: &str| row.remove(name).flatten();
        let (number, name) = (take("number").unwrap_or_default(), take("name"));
        (number, (name.map_or(Json::Null, Json::String), take("credit").and_then(|text| text.parse().ok())))
    };
    Ok(rows.into_iter().map(row).collect())
}
