//! Debezium in Kafka Connect, distributed, exactly once, Avro with the same registry; tuned by its own advice.
//!
//! One worker serves all runs, so that its JVM is warm: what counts of a backlog is what comes after its first 30 %.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use crate::backlog::Backlog;
use crate::latency::{Flow, beside};
use crate::report::Row;
use crate::runner::walsender;
use crate::support::cache::{cached, copy_dependencies, unpack, verify};
use crate::support::oms::site::Site;
use crate::support::postgres::{PASSWORD, SUPERUSER};
use crate::support::process::{Farewell, Process};
use crate::support::registry::get;
use crate::support::subscriber::{Subscriber, read_to_end};
use crate::support::{Context, Result, poll};
use crate::usage::{Meter, Usage, cpu_s};
use crate::{Bench, copy_slot, create_slot, drop_slot, per_second};

const CONNECT: &str = include_str!("debezium/connect.lock");
const PLUGINS: &str = include_str!("debezium/plugins.lock");
const WITHIN: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 6;
const TABLES: [&str; 3] = ["orders", "order_lines", "stock_levels"];

/// Of what its documentation and Connect's say on throughput; `poll.interval.ms` is each run's own.
const TUNING: [(&str, &str); 5] = [
    ("max.batch.size", "20480"),
    ("max.queue.size", "81920"),
    ("producer.override.linger.ms", "5"),
    ("producer.override.batch.size", "262144"),
    ("producer.override.compression.type", "lz4"),
];

/// A worker of Kafka Connect.
pub(crate) struct Worker {
    process: Process,
    url: String,
}

pub(crate) fn drain(bench: &mut Bench<'_>, backlog: &Backlog) -> Result<Row> {
    let (site, name) = (bench.site, bench.unique("debezium"));
    copy_slot(site, &backlog.slot, &name)?;
    let topics = create_topics(site, &name)?;
    let worker = worker(bench)?;
    let consumer: BaseConsumer = site.stack.kafka.client().create()?;
    worker.start(site, &name, "50")?;
    let walsender = walsender(site, &name)?;
    let (warm, first) = (backlog.changes * 3 / 10, wait_records(worker, &name, &consumer, &topics, 1)?);
    let warm = if first > warm { first } else { wait_records(worker, &name, &consumer, &topics, warm)? };
    let (meter, before) = (Meter::start(site.stack.kafka.id(0)?)?, Usage::of(worker.process.id())?);
    let walsender_before = cpu_s(walsender)?;
    wait_records(worker, &name, &consumer, &topics, backlog.changes)?;
    let (usage, walsender_s) = (Usage::of(worker.process.id())?, cpu_s(walsender)? - walsender_before);
    let stretch = meter.stop(usage.cpu_s - before.cpu_s + walsender_s)?;
    let changes = backlog.changes.saturating_sub(warm).max(1);
    worker.stop(site, &name)?;
    let mut events = 0;
    read_to_end(&site.stack.kafka, &topics, |_| {
        events += 1;
        Ok(())
    })?;
    // The marker behind the backlog is of another table.
    if events != backlog.changes {
        return Err(format!("{} events of Debezium are due, {events} are on the topics", backlog.changes).into());
    }
    let bytes = delete_topics(site, &topics)?;
    let per_million = 1e6 / changes as f64;
    Ok(Row {
        rows_per_second: Some(per_second(changes, stretch.elapsed)),
        cpu_seconds_per_million: Some((usage.cpu_s - before.cpu_s) * per_million),
        walsender_cpu_seconds_per_million: Some(walsender_s * per_million),
        kafka_cpu_seconds_per_million: Some(stretch.kafka_s * per_million),
        peak_rss_bytes: Some(usage.peak_bytes()),
        kafka_bytes_per_row: Some(bytes as f64 / events as f64),
        foreign_cores: Some(stretch.foreign_cores),
        ..Row::default()
    })
}

pub(crate) fn latency(bench: &mut Bench<'_>, flow: &Flow) -> Result<Row> {
    let (site, name, seconds) = (bench.site, bench.unique("debezium"), bench.sizes.seconds);
    create_slot(&site.sql()?, &name)?;
    let topics = create_topics(site, &name)?;
    let worker = worker(bench)?;
    worker.start(site, &name, "2")?;
    walsender(site, &name)?;
    let orders = topics.get(..1).unwrap_or_default();
    let row = beside(site, &Subscriber::new(&site.stack.kafka, orders)?, flow, seconds, worker.process.id(), avro_key)?;
    worker.stop(site, &name)?;
    delete_topics(site, &topics)?;
    Ok(row)
}

/// The number in a key of one `long`: Confluent's header, then a zigzag varint.
fn avro_key(key: &[u8]) -> Option<i64> {
    let zigzag = key
        .get(5..)?
        .iter()
        .rev()
        .try_fold(0u64, |sum, byte| sum.checked_mul(128).map(|sum| sum | u64::from(byte & 0x7F)))?;
    i64::try_from(zigzag >> 1).ok()
}

fn create_topics(site: &Site<'_>, name: &str) -> Result<Vec<String>> {
    let topics: Vec<_> = TABLES.iter().map(|table| format!("{name}.public.{table}")).collect();
    topics.iter().try_for_each(|topic| site.stack.kafka.create_topic(topic, PARTITIONS, &[]))?;
    Ok(topics)
}

fn delete_topics(site: &Site<'_>, topics: &[String]) -> Result<u64> {
    let mut bytes = 0;
    for topic in topics {
        bytes += site.stack.kafka.topic_bytes(0, topic)?;
        site.stack.kafka.delete_topic(topic)?;
    }
    Ok(bytes)
}

/// Waits until the topics hold at least so many records, the markers of transactions (some dozens) among them.
fn wait_records(worker: &Worker, name: &str, consumer: &BaseConsumer, topics: &[String], records: u64) -> Result<u64> {
    let end = Instant::now() + WITHIN;
    loop {
        let mut found = 0;
        for (topic, partition) in topics.iter().flat_map(|topic| (0..PARTITIONS).map(move |number| (topic, number))) {
            let (_, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
            found += u64::try_from(high)?;
        }
        if found >= records {
            return Ok(found);
        }
        let status = worker.get(&format!("/connectors/{name}/status"))?;
        if status.contains("FAILED") || Instant::now() > end {
            return Err(format!("Debezium has come to {found} of {records} records; its status: {status}").into());
        }
    }
}

/// The worker, started where none runs yet.
fn worker<'b>(bench: &'b mut Bench<'_>) -> Result<&'b Worker> {
    if bench.worker.is_none() {
        bench.worker = Some(Worker::launch(bench.site)?);
    }
    bench.worker.as_ref().ok_or_else(|| "the worker has gone".into())
}

impl Worker {
    fn launch(site: &Site<'_>) -> Result<Self> {
        let stack = site.stack;
        let (folder, address) = (stack.sandbox.folder("connect")?, stack.sandbox.port()?);
        let converter = |side: &str| {
            format!(
                "{side}.converter=io.apicurio.registry.utils.converter.AvroConverter\n\
                 {side}.converter.apicurio.registry.url={}\n\
                 {side}.converter.apicurio.registry.auto-register=true\n\
                 {side}.converter.apicurio.registry.headers.enabled=false\n\
                 {side}.converter.apicurio.registry.as-confluent=true\n",
                stack.registry.url().replace("/apis/ccompat/v7", "/apis/registry/v2")
            )
        };
        let storage: String = ["config", "offset", "status"]
            .iter()
            .map(|of| format!("{of}.storage.topic=connect-{of}\n{of}.storage.replication.factor=1\n"))
            .collect();
        let settings = format!(
            "bootstrap.servers={}\ngroup.id=connect\nlisteners=http://{address}\n\
             exactly.once.source.support=enabled\nconnector.client.config.override.policy=All\n\
             offset.flush.interval.ms=1000\noffset.storage.partitions=1\nstatus.storage.partitions=1\n\
             plugin.path={}\n{storage}{}{}",
            stack.kafka.bootstrap(),
            plugins()?.display(),
            converter("key"),
            converter("value")
        );
        let file = folder.join("worker.properties");
        std::fs::write(&file, settings)?;
        let mut java = Command::new("java");
        java.args(["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
        java.arg(format!("{}/*", connect()?.display()))
            .arg("org.apache.kafka.connect.cli.ConnectDistributed")
            .arg(file);
        let mut process = Process::spawn("connect", java, &stack.sandbox.log("connect")?, Farewell::Kill)?;
        let url = format!("http://{address}");
        // Its group has met when it can say which connectors there are.
        process.ready(WITHIN, || Ok(get(&format!("{url}/connectors")).ok()))?;
        Ok(Self { process, url })
    }

    fn start(&self, site: &Site<'_>, name: &str, poll_interval_ms: &str) -> Result<()> {
        let address = site.stack.postgres.address();
        let mut settings: BTreeMap<&str, String> = TUNING.map(|(name, value)| (name, value.to_owned())).into();
        settings.extend([
            ("connector.class", "io.debezium.connector.postgresql.PostgresConnector".to_owned()),
            ("tasks.max", "1".to_owned()),
            ("database.hostname", address.ip().to_string()),
            ("database.port", address.port().to_string()),
            ("database.user", SUPERUSER.to_owned()),
            ("database.password", PASSWORD.to_owned()),
            ("database.dbname", site.database.clone()),
            ("topic.prefix", name.to_owned()),
            ("plugin.name", "pgoutput".to_owned()),
            ("slot.name", name.to_owned()),
            ("publication.name", "walwright_oms".to_owned()),
            ("publication.autocreate.mode", "disabled".to_owned()),
            ("table.include.list", TABLES.map(|table| format!("public.{table}")).join(",")),
            ("snapshot.mode", "no_data".to_owned()),
            ("exactly.once.support", "required".to_owned()),
            ("transaction.boundary", "poll".to_owned()),
            ("poll.interval.ms", poll_interval_ms.to_owned()),
        ]);
        self.put(&format!("/connectors/{name}/config"), &json!(settings))
    }

    /// Takes the connector away; its slot goes once the server has noticed.
    fn stop(&self, site: &Site<'_>, name: &str) -> Result<()> {
        agent().delete(format!("{}/connectors/{name}", self.url)).call().context("end Debezium's connector")?;
        let sql = site.sql()?;
        poll(WITHIN, || Ok(drop_slot(&sql, name).ok()))?.ok_or_else(|| format!("slot {name} stays in use").into())
    }

    fn get(&self, path: &str) -> Result<String> {
        // 404 until the worker has taken the connector up.
        Ok(get(&format!("{}{path}", self.url)).unwrap_or_default())
    }

    /// Refused with 409 while the worker's group meets.
    fn put(&self, path: &str, body: &Value) -> Result<()> {
        let mut last = String::new();
        let put = || match agent().put(format!("{}{path}", self.url)).send_json(body) {
            Ok(_) => Ok(Some(())),
            Err(error) => {
                last = error.to_string();
                Ok(None)
            }
        };
        poll(Duration::from_secs(60), put)?.ok_or_else(|| format!("Connect refuses the connector: {last}").into())
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).proxy(None);
    ureq::Agent::new_with_config(config.build())
}

/// The folder with Connect's jars.
fn connect() -> Result<PathBuf> {
    let lock = locked(CONNECT);
    cached("connect", &lock, |folder| {
        copy_dependencies(&pom("connect"), folder)?;
        verify(folder, &lock)
    })
}

/// The folder with a folder for each plugin.
fn plugins() -> Result<PathBuf> {
    let lock = locked(PLUGINS);
    cached("connect-plugins", &lock, |folder| {
        let converter = folder.join("converter");
        copy_dependencies(&pom("plugins"), &converter)?;
        verify(&converter, &lock)?;
        let archive = lock.keys().find(|file| file.ends_with("-plugin.tar.gz")).ok_or("the lock has no plugin")?;
        unpack(&converter.join(archive), folder)?;
        Ok(std::fs::remove_file(converter.join(archive))?)
    })
}

fn pom(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/whole/debezium/{name}/pom.xml"))
}

/// `sha256sum`'s lines: file name -> SHA-256.
fn locked(lock: &'static str) -> BTreeMap<&'static str, &'static str> {
    lock.lines().filter_map(|line| line.split_once("  ")).map(|(sum, file)| (file, sum)).collect()
}
