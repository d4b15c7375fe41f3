//! Fifty connectors on one database: what they cost the process.

use crate::support::postgres::{Options, Postgres};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Context, Result, poll};

const CONNECTORS: usize = 50;
/// Of the process when all are idle.
const THREADS_MAX: usize = 10 * CONNECTORS + 20;
const RESIDENT_MAX_KB: u64 = 300_000;

/// The names of a process's threads.
fn threads(process: u32) -> Result<Vec<String>> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"))?.flatten();
    // A thread may end meanwhile.
    Ok(tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect())
}

/// A line of `/proc/<process>/status`, in kB.
fn status_kb(process: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).ok_or(line.to_owned())?;
    line.trim().trim_end_matches(" kB").parse().context(line)
}

#[test]
fn fifty_connectors_share_a_process() -> Result<()> {
    let stack = Stack::shared()?;
    let options = Options::default()
        .set("max_replication_slots", "60")
        .set("max_wal_senders", "60")
        .set("max_connections", "200");
    let server = Postgres::start(&stack.sandbox, options)?;
    let scene = Scene::on("fifty", &server, &stack.kafka, stack.registry.url())?;
    let sql = scene.sql()?;
    let names: Vec<String> = (1..CONNECTORS).map(|number| format!("t{number}")).collect();
    for name in &names {
        sql.batch(&format!(
            "CREATE TABLE {name} (LIKE orders INCLUDING ALL); CREATE PUBLICATION walwright_{name} FOR TABLE {name}"
        ))?;
        let file = format!("connectors/{}.toml", scene.sibling(name)?);
        let text = std::fs::read_to_string(scene.folder.join(&file))?;
        let text = text.replace("public.orders", &format!("public.{name}")).replace("partitions = 3", "partitions = 1");
        let own = format!("publication = \"walwright_{}\"", scene.name);
        scene.write(&file, &text.replace(&own, &format!("publication = \"walwright_{name}\"")))?;
    }
    let daemon = scene.open()?;
    let clients =
        |of: u32| -> Result<usize> { Ok(threads(of)?.iter().filter(|name| name.trim() == "rdk:main").count()) };
    let mut last = 0;
    // What a start needs besides is gone when it is over.
    let settled = poll(WITHIN, || {
        last = clients(daemon.id())?;
        Ok((last == CONNECTORS).then_some(()))
    })?;
    assert!(settled.is_some(), "{last} Kafka clients for {CONNECTORS} idle connectors");
    let (count, resident) = (threads(daemon.id())?.len(), status_kb(daemon.id(), "VmRSS")?);
    println!("idle: {count} threads, {resident} kB, at most {} kB since its start", status_kb(daemon.id(), "VmHWM")?);
    assert!(count <= THREADS_MAX, "{count} threads: {:?}", threads(daemon.id())?);
    assert!(resident <= RESIDENT_MAX_KB, "{resident} kB");

    for name in &names {
        sql.execute(&format!("INSERT INTO {name} VALUES (1, 'PLACED')"), &[])?;
    }
    for name in &names {
        assert_eq!(scene.read(name, 1).context(name)?.len(), 1);
    }
    println!("busy: {} threads, {} kB", threads(daemon.id())?.len(), status_kb(daemon.id(), "VmRSS")?);
    scene.finish(daemon)
}
