//! The same backlog by `pg_recvlogical` to /dev/null and by the daemon to Kafka, in turn, each on a fresh copy of a slot.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::oms::backlog::backlog;
use crate::support::oms::site::{Configuration, Site};
use crate::support::process::run as run_command;
use crate::support::subscriber::read_to_end;
use crate::support::{Context, Result, runtime};
use crate::usage::Usage;
use crate::{create_slot, drop_slot, end_of_wal, per_second};

const CHANGES_PER_TRANSACTION: u64 = 10;
const DRAIN: Duration = Duration::from_secs(600);

struct Round {
    yardstick: f64,
    daemon: f64,
    daemon_streaming: f64,
    cpu_s_per_million: f64,
    peak_mib: f64,
}

pub(crate) fn run(site: &Site<'_>, changes: u64, rounds: usize) -> Result<Value> {
    let sql = site.sql()?;
    create_slot(&sql, "backlog")?;
    let begun = Instant::now();
    let changes = runtime()?.block_on(backlog(sql.client(), changes, CHANGES_PER_TRANSACTION)).context("backlog")?;
    let end = end_of_wal(&sql)?;
    println!(
        "\n{changes} changes in transactions of {CHANGES_PER_TRANSACTION}, written in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "{:>5}{:>20}{:>14}{:>8}{:>18}{:>16}{:>14}",
        "round", "pg_recvlogical/s", "walwright/s", "ratio", "once streaming/s", "CPU s/million", "peak RSS MiB"
    );
    let mut done = Vec::new();
    for number in 1..=rounds {
        let yardstick = receive(site, &format!("receive_{number}"), end)?;
        let round = publish(site, &format!("drain_{number}"), changes, end, per_second(changes, yardstick))?;
        println!(
            "{number:>5}{:>20.0}{:>14.0}{:>8.2}{:>18.0}{:>16.2}{:>14.1}",
            round.yardstick,
            round.daemon,
            round.ratio(),
            round.daemon_streaming,
            round.cpu_s_per_million,
            round.peak_mib
        );
        done.push(round);
    }
    drop_slot(&sql, "backlog")?;
    Ok(report(changes, &done))
}

impl Round {
    fn ratio(&self) -> f64 {
        self.daemon / self.yardstick
    }
}

/// With the options that the daemon uses, so that the server has the same work.
fn receive(site: &Site<'_>, slot: &str, end: i64) -> Result<Duration> {
    let sql = site.sql()?;
    copy_slot(site, slot)?;
    let mut receive = Command::new(site.stack.postgres.program("pg_recvlogical"));
    receive.arg("--dbname").arg(site.stack.postgres.connection(&site.database));
    receive.args(["--slot", slot, "--start", "--no-loop", "--file=/dev/null", "--fsync-interval=0"]);
    receive.arg(format!("--endpos={:X}/{:X}", end >> 32, end & 0xFFFF_FFFF));
    for option in ["proto_version=1", "publication_names=walwright_oms", "binary=true", "messages=true"] {
        receive.args(["--option", option]);
    }
    let begun = Instant::now();
    run_command(&mut receive)?;
    let elapsed = begun.elapsed();
    drop_slot(&sql, slot)?;
    Ok(elapsed)
}

fn publish(site: &Site<'_>, name: &str, changes: u64, end: i64, yardstick: f64) -> Result<Round> {
    copy_slot(site, name)?;
    let configuration = Configuration::on_slot(site.stack, name, name)?;
    site.push_contracts(&configuration)?;
    let drained = crate::drain(site, &configuration, end, DRAIN)?;
    let usage = Usage::of(drained.daemon.id())?;
    let round = Round {
        yardstick,
        daemon: per_second(changes, drained.elapsed),
        daemon_streaming: per_second(changes, drained.streaming),
        cpu_s_per_million: usage.cpu_s * 1e6 / changes as f64,
        peak_mib: usage.peak_mib,
    };
    drained.stop()?;
    let mut events = 0;
    read_to_end(&site.stack.kafka, &configuration.topics, |_| {
        events += 1;
        Ok(())
    })?;
    if events != changes {
        return Err(format!("{changes} events are due, {events} are on the topics").into());
    }
    drop_slot(&site.sql()?, name)?;
    Ok(round)
}

fn copy_slot(site: &Site<'_>, name: &str) -> Result<()> {
    let copy = "SELECT pg_copy_logical_replication_slot('backlog', $1::text::name)";
    site.sql()?.query(copy, &[&name]).map(drop)
}

fn report(changes: u64, rounds: &[Round]) -> Value {
    let median = |figure: fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    let each = rounds.iter().map(|round| {
        json!({
            "pg_recvlogical_rows_per_second": round.yardstick,
            "walwright_rows_per_second": round.daemon,
            "walwright_streaming_rows_per_second": round.daemon_streaming,
            "ratio": round.ratio(),
            "cpu_seconds_per_million": round.cpu_s_per_million,
            "peak_rss_mib": round.peak_mib,
        })
    });
    json!({
        "changes": changes,
        "changes_per_transaction": CHANGES_PER_TRANSACTION,
        "rounds": each.collect::<Vec<_>>(),
        "median_pg_recvlogical_rows_per_second": median(|round| round.yardstick),
        "median_walwright_rows_per_second": median(|round| round.daemon),
        "median_ratio": median(Round::ratio),
        "median_cpu_seconds_per_million": median(|round| round.cpu_s_per_million),
        "peak_rss_mib": rounds.iter().map(|round| round.peak_mib).fold(0.0, f64::max),
    })
}
