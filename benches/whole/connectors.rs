//! One daemon with 1, 10 and 50 connectors, which publish the same number of events together.

use rustix::process::Signal;

use crate::plain::Plain;
use crate::report::Row;
use crate::runner::{Runner, launch, take_off, wait_published, walsender};
use crate::support::Result;
use crate::support::oms::site::Configuration;
use crate::usage::{Meter, Usage, cpu_s};
use crate::{Bench, create_slot, drop_slot, per_second, stop};

const CALL: &str = "connectors";
/// Changes that each connector publishes before what is measured: the first to a partition creates its files, the first of a
/// thread its memory.
const BEFORE: u64 = 1_000;

pub(crate) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let plain = Plain::new(CALL);
    plain.create(&bench.site.sql()?)?;
    Row::print_head();
    for round in 1..=bench.sizes.rounds {
        let mut numbers = [1, 10, 50];
        if round % 2 == 0 {
            numbers.reverse();
        }
        for number in numbers {
            let row = drain(bench, &plain, number)?;
            let (workload, runner) = (format!("{CALL}_{number}"), Runner::ExactlyOnce.name().to_owned());
            bench.take(Row { workload, runner, round, ..row });
        }
    }
    Ok(())
}

/// Each connector has a slot on the same rows. The daemon stands still while they are written, so that all numbers find
/// them waiting, and what its start and the first changes cost is not counted.
fn drain(bench: &Bench<'_>, plain: &Plain, number: usize) -> Result<Row> {
    let (site, names) = (bench.site, (0..number).map(|_| bench.unique("many")).collect::<Vec<_>>());
    let sql = site.sql()?;
    names.iter().try_for_each(|name| create_slot(&sql, name))?;
    let configuration = configure(bench, plain, &names)?;
    site.push_contracts(&configuration)?;
    let mut daemon = launch(bench, &configuration, Runner::ExactlyOnce)?.start()?;
    daemon.wait_ready(crate::runner::READY)?;
    let walsenders = names.iter().map(|name| walsender(site, name)).collect::<Result<Vec<_>>>()?;
    let walsenders_s = || walsenders.iter().map(|walsender| cpu_s(*walsender)).sum::<Result<f64>>();
    let before = plain.write(&sql, BEFORE)? * number as u64;
    wait_published(&daemon, before)?;
    daemon.signal(Signal::STOP)?;
    // Few enough to be written before the server takes the silence for a dead daemon, after 20 s.
    let each = plain.write(&sql, bench.sizes.changes / 2 / number as u64)?;
    let changes = each * number as u64;
    let (usage_before, walsenders_before) = (Usage::of(daemon.id())?, walsenders_s()?);
    let meter = Meter::start(site.stack.kafka.id(0)?)?;
    daemon.signal(Signal::CONT)?;
    wait_published(&daemon, before + changes)?;
    let (usage, walsenders_s) = (Usage::of(daemon.id())?, walsenders_s()? - walsenders_before);
    let stretch = meter.stop(usage.cpu_s - usage_before.cpu_s + walsenders_s)?;
    stop(&mut daemon)?;
    let bytes = take_off(site, &configuration, before + changes)?;
    names.iter().try_for_each(|name| drop_slot(&sql, name))?;
    let per_million = 1e6 / changes as f64;
    Ok(Row {
        changes,
        streaming_rows_per_second: Some(per_second(changes, stretch.elapsed)),
        streaming_cpu_seconds_per_million: Some((usage.cpu_s - usage_before.cpu_s) * per_million),
        walsender_cpu_seconds_per_million: Some(walsenders_s * per_million),
        kafka_cpu_seconds_per_million: Some(stretch.kafka_s * per_million),
        peak_rss_bytes: Some(usage.peak_bytes()),
        kafka_bytes_per_row: Some(bytes as f64 / (before + changes) as f64),
        foreign_cores: Some(stretch.foreign_cores),
        ..Row::default()
    })
}

/// The first connector's files, and the others beside it.
fn configure(bench: &Bench<'_>, plain: &Plain, names: &[String]) -> Result<Configuration> {
    let (first, others) = names.split_first().ok_or("no connector")?;
    let mut configuration = plain.configure(bench.site.stack, first)?;
    let folder = configuration.file.with_file_name("connectors");
    for name in others {
        std::fs::write(folder.join(format!("{name}.toml")), plain.connector(name))?;
        configuration.topics.push(format!("{}{name}", configuration.topic_prefix));
    }
    Ok(configuration)
}
