//! The rows of a table that exist already: the daemon to Kafka with 1, 2 and 4 workers, beside one COPY of the same table.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::process::run as run_command;
use crate::support::scene::Scene;
use crate::support::stack::Stack;
use crate::support::{Result, runtime};
use crate::usage::Usage;
use crate::{STOP, per_second};

const WITHIN: Duration = Duration::from_secs(900);

pub(crate) fn run(stack: &Stack, rows: u64, rounds: usize) -> Result<Value> {
    let scene = Scene::own("existing", stack)?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\", \"read\"]")?;
    let sql = scene.sql()?;
    sql.batch(&format!(
        "INSERT INTO orders SELECT i, 'PLACED', (i % 1000) / 7.0, 'note of order ' || i FROM generate_series(1, {rows}) i;
         GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}",
        scene.name
    ))?;
    sql.batch("VACUUM ANALYZE orders")?;
    scene.push()?;
    println!("\nsnapshot of {rows} rows");
    println!(
        "{:>8}{:>14}{:>14}{:>8}{:>16}{:>14}",
        "workers", "COPY/s", "walwright/s", "ratio", "CPU s/million", "peak RSS MiB"
    );
    let mut done = Vec::new();
    let mut set = "mode = \"none\"".to_owned();
    for workers in (0..rounds).flat_map(|_| [1, 2, 4]) {
        let wanted = format!("mode = \"initial\"\nworkers = {workers}");
        scene.connector(&set, &wanted)?;
        set = wanted;
        let copy = per_second(rows, copied(stack, &scene)?);
        let read = read(&scene, rows, workers, copy)?;
        done.push(read);
        scene.says(&["remove", &scene.name, "--yes"])?;
    }
    Ok(json!({ "rows": rows, "rounds": done }))
}

fn copied(stack: &Stack, scene: &Scene) -> Result<Duration> {
    let mut copy = Command::new(stack.postgres.program("psql"));
    copy.arg("--dbname").arg(stack.postgres.connection(&scene.name)).args(["--quiet", "--output=/dev/null"]);
    copy.args(["--command", "COPY (SELECT * FROM orders) TO STDOUT (FORMAT binary)"]);
    let begun = Instant::now();
    run_command(&mut copy)?;
    Ok(begun.elapsed())
}

fn read(scene: &Scene, rows: u64, workers: usize, copy: f64) -> Result<Value> {
    let mut daemon = scene.start()?;
    let begun = Instant::now();
    while !is_done(&daemon, scene)? {
        if begun.elapsed() > WITHIN {
            return Err("the snapshot does not end".into());
        }
        runtime()?.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }
    let rate = per_second(rows, begun.elapsed());
    let usage = Usage::of(daemon.id())?;
    if !daemon.terminate(STOP)?.success() {
        return Err("walwright did not end well".into());
    }
    let cpu = usage.cpu_s * 1e6 / rows as f64;
    println!("{workers:>8}{copy:>14.0}{rate:>14.0}{:>8.2}{cpu:>16.2}{:>14.1}", rate / copy, usage.peak_mib);
    Ok(json!({
        "workers": workers,
        "copy_rows_per_second": copy,
        "walwright_rows_per_second": rate,
        "ratio": rate / copy,
        "cpu_seconds_per_million": cpu,
        "peak_rss_mib": usage.peak_mib,
    }))
}

fn is_done(daemon: &Daemon, scene: &Scene) -> Result<bool> {
    let tables: Vec<Value> = serde_json::from_str(&daemon.get(&format!("/connectors/{}/snapshots", scene.name))?)?;
    Ok(tables.iter().any(|table| table["state"] == "done"))
}
