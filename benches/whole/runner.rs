//! Who drains a backlog, and what is measured of each: everybody on a fresh copy of the same slot, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::backlog::{Backlog, Shape};
use crate::report::Row;
use crate::support::daemon::{BINARY, Daemon};
use crate::support::oms::site::{Configuration, Launch, Site};
use crate::support::process::{Farewell, Process, pid, run as run_command, wait_for_end};
use crate::support::subscriber::read_to_end;
use crate::support::{Result, poll};
use crate::usage::{Meter, Usage, cpu_s, threads_s};
use crate::{Bench, copy_slot, debezium, drop_slot, per_second, stop};

pub(crate) const READY: Duration = Duration::from_secs(120);
const DRAIN: Duration = Duration::from_secs(900);
/// Often enough for runs of seconds.
const LOOK: Duration = Duration::from_millis(100);
/// Each look at the daemon is work of the daemon's, so while much is left there are few.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// The daemon's threads that read, and that decode, map and encode.
const TO_ENCODE: [&str; 2] = ["source", "assemble"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `pg_recvlogical` to /dev/null: what the server can send to a reader that does nothing.
    Receive,
    ExactlyOnce,
    AtLeastOnce,
    /// The daemon, exactly once, but for its records: they are counted and not handed to the producer.
    Null,
    /// In Kafka Connect, exactly once.
    Debezium,
}

impl Runner {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Receive => "pg_recvlogical",
            Self::ExactlyOnce => "exactly_once",
            Self::AtLeastOnce => "at_least_once",
            Self::Null => "null",
            Self::Debezium => "debezium",
        }
    }
}

/// Every runner on every backlog, `rounds` times; the order turns from round to round, so that what changes with time
/// falls on all alike.
pub(crate) fn race(bench: &mut Bench<'_>, backlogs: &[Backlog], runners: &[Runner], rounds: usize) -> Result<()> {
    Row::print_head();
    for round in 1..=rounds {
        let mut order: Vec<(&Backlog, Runner)> =
            backlogs.iter().flat_map(|backlog| runners.iter().map(move |runner| (backlog, *runner))).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (backlog, runner) in order {
            let row = match runner {
                Runner::Receive => receive(bench.site, backlog)?,
                Runner::Debezium => debezium::drain(bench, backlog)?,
                Runner::ExactlyOnce | Runner::AtLeastOnce | Runner::Null => publish(bench, backlog, runner)?,
            };
            let (workload, runner) = (backlog.workload.clone(), runner.name().to_owned());
            bench.take(Row { workload, runner, round, changes: backlog.changes, ..row });
        }
    }
    let sql = bench.site.sql()?;
    backlogs.iter().try_for_each(|backlog| drop_slot(&sql, &backlog.slot))
}

/// Drains a backlog of which nothing is reported. A broker that has just started interprets what is compiled later, and has
/// not created its own topics.
pub(crate) fn warm_up(bench: &Bench<'_>) -> Result<()> {
    let backlog = Backlog::oms(bench.site, "warm_up", bench.sizes.changes / 2, Shape::Transactions(10))?;
    publish(bench, &backlog, Runner::ExactlyOnce)?;
    drop_slot(&bench.site.sql()?, &backlog.slot)
}

/// With the options that the daemon uses, so that the server has the same work.
fn receive(site: &Site<'_>, backlog: &Backlog) -> Result<Row> {
    const SLOT: &str = "receive";
    copy_slot(site, &backlog.slot, SLOT)?;
    let (end, publication) = (backlog.end, &backlog.publication);
    let mut command = Command::new(site.stack.postgres.program("pg_recvlogical"));
    command.arg("--dbname").arg(site.stack.postgres.connection(&site.database));
    command.args(["--slot", SLOT, "--start", "--no-loop", "--file=/dev/null", "--fsync-interval=0"]);
    command.arg(format!("--endpos={:X}/{:X}", end >> 32, end & 0xFFFF_FFFF));
    let publication = format!("publication_names={publication}");
    for option in ["proto_version=1", &publication, "binary=true", "messages=true"] {
        command.args(["--option", option]);
    }
    let meter = Meter::start(site.stack.kafka.id(0)?)?;
    let mut process = Process::spawn(SLOT, command, &site.stack.sandbox.log(SLOT)?, Farewell::Kill)?;
    let walsender = walsender(site, SLOT)?;
    let (mut usage, mut walsender_s) = (Usage::default(), 0.0);
    while !wait_for_end(pid(process.id())?, LOOK)? {
        // Either may end while it is looked at.
        usage = Usage::of(process.id()).unwrap_or(usage);
        walsender_s = cpu_s(walsender).unwrap_or(walsender_s);
    }
    let receiver_s = cpu_s(process.id())?;
    let stretch = meter.stop(receiver_s + walsender_s)?;
    let status = process.wait(LOOK)?;
    if !status.success() {
        return Err(process.fault(&format!("did not end well ({status})")));
    }
    drop_slot(&site.sql()?, SLOT)?;
    let per_million = 1e6 / backlog.changes as f64;
    Ok(Row {
        rows_per_second: Some(per_second(backlog.changes, stretch.elapsed)),
        cpu_seconds_per_million: Some(receiver_s * per_million),
        walsender_cpu_seconds_per_million: Some(walsender_s * per_million),
        peak_rss_bytes: Some(usage.peak_bytes()),
        foreign_cores: Some(stretch.foreign_cores),
        ..Row::default()
    })
}

/// The server's process that sends what a slot holds, once someone reads it.
pub(crate) fn walsender(site: &Site<'_>, slot: &str) -> Result<u32> {
    let sql = site.sql()?;
    let active = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1";
    let found = poll(READY, || {
        let rows = sql.query(active, &[&slot])?;
        Ok(rows.first().and_then(|row| row.get::<_, Option<i32>>(0)))
    })?;
    Ok(u32::try_from(found.ok_or("nobody reads the slot")?)?)
}

fn publish(bench: &Bench<'_>, backlog: &Backlog, runner: Runner) -> Result<Row> {
    let (site, name) = (bench.site, bench.unique("drain"));
    copy_slot(site, &backlog.slot, &name)?;
    let configuration = backlog.configure(site, &name)?;
    site.push_contracts(&configuration)?;
    let launch = launch(bench, &configuration, runner)?;
    let meter = Meter::start(site.stack.kafka.id(0)?)?;
    let mut daemon = launch.start()?;
    daemon.wait_ready(READY)?;
    let (ready, at_ready) = (Instant::now(), Usage::of(daemon.id())?);
    let to_encode_s = || threads_s(daemon.id(), &TO_ENCODE);
    let to_encode_at_ready_s = to_encode_s()?;
    let walsender = walsender(site, &name)?;
    wait_published(&daemon, backlog.changes)?;
    let (usage, walsender_s) = (Usage::of(daemon.id())?, cpu_s(walsender)?);
    let stretch = meter.stop(usage.cpu_s + walsender_s)?;
    let (streaming, to_encode_s) = (ready.elapsed(), to_encode_s()? - to_encode_at_ready_s);
    stop(&mut daemon)?;
    let due = if runner == Runner::Null { 0 } else { backlog.changes };
    let bytes = take_off(site, &configuration, due)?;
    drop_slot(&site.sql()?, &name)?;
    let per_million = 1e6 / backlog.changes as f64;
    Ok(Row {
        rows_per_second: Some(per_second(backlog.changes, stretch.elapsed)),
        streaming_rows_per_second: Some(per_second(backlog.changes, streaming)),
        cpu_seconds_per_million: Some(usage.cpu_s * per_million),
        streaming_cpu_seconds_per_million: Some((usage.cpu_s - at_ready.cpu_s) * per_million),
        to_encode_cpu_seconds_per_million: Some(to_encode_s * per_million),
        walsender_cpu_seconds_per_million: Some(walsender_s * per_million),
        kafka_cpu_seconds_per_million: Some(stretch.kafka_s * per_million),
        peak_rss_bytes: Some(usage.peak_bytes()),
        kafka_bytes_per_row: (due > 0).then(|| bytes as f64 / due as f64),
        foreign_cores: Some(stretch.foreign_cores),
        ..Row::default()
    })
}

/// A daemon as the runner wants it.
pub(crate) fn launch(bench: &Bench<'_>, configuration: &Configuration, runner: Runner) -> Result<Launch> {
    let mut launch = bench.site.launch(configuration)?;
    match runner {
        Runner::AtLeastOnce => launch.set("WALWRIGHT_KAFKA__DELIVERY", "at_least_once"),
        Runner::Null => launch.set_binary(&null_binary()?),
        Runner::ExactlyOnce | Runner::Receive | Runner::Debezium => {}
    }
    Ok(launch)
}

/// Waits until so many changes are published: counted once they are committed on Kafka.
pub(crate) fn wait_published(daemon: &Daemon, changes: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let done = published(daemon)?;
        if done >= changes {
            return Ok(());
        }
        let left = begun.elapsed().as_secs_f64() * (changes - done) as f64 / done.max(1) as f64;
        let look = Duration::from_secs_f64((left / 2.0).clamp(LOOK.as_secs_f64(), LOOK_MAX.as_secs_f64()));
        if daemon.ends_within(look)? || begun.elapsed() > DRAIN {
            let log = daemon.log()?;
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            return Err(format!("walwright has not come to the end of the backlog; it says: {last:#?}").into());
        }
    }
}

/// The changes that all its connectors have published.
fn published(daemon: &Daemon) -> Result<u64> {
    let exposition = daemon.get("/metrics")?;
    let series = exposition.lines().filter(|line| line.starts_with("walwright_changes_published_total{"));
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

/// Sees that as many events are on the topics as are due, and deletes the topics; the bytes that they had on the disk.
pub(crate) fn take_off(site: &Site<'_>, configuration: &Configuration, due: u64) -> Result<u64> {
    let kafka = &site.stack.kafka;
    let mut events = 0;
    read_to_end(kafka, &configuration.topics, |_| {
        events += 1;
        Ok(())
    })?;
    if events != due {
        return Err(format!("{due} events are due, {events} are on the topics").into());
    }
    let mut bytes = 0;
    for topic in &configuration.topics {
        bytes += kafka.topic_bytes(0, topic)?;
        kafka.delete_topic(topic)?;
    }
    Ok(bytes)
}

/// The same build of the daemon with the feature `null-sink` besides, built into a folder of its own so that nobody takes it for
/// the daemon.
fn null_binary() -> Result<PathBuf> {
    let built = Path::new(BINARY).parent().ok_or("the daemon's binary lies in no folder")?;
    let profile = built.file_name().and_then(|name| name.to_str()).ok_or("the target folder has no name")?;
    let folder = built.with_file_name("null-sink");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    let features = if cfg!(feature = "faults") { "faults,null-sink" } else { "null-sink" };
    build.args(["build", "--bin", "walwright", "--features", features, "--profile", profile, "--target-dir"]);
    run_command(build.arg(&folder).current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(folder.join(profile).join("walwright"))
}
