//! docs/performance.md: what stands between its marks is written from the report, with the plots beside it.

use std::fmt::Write;
use std::path::Path;

use crate::plot::{Group, Panel, bars, panels};
use crate::ratios::{BARS, Limit, Rows};
use crate::report::{RELEASE, Report, Row};
use crate::support::{Context, Result};

const PAGE: &str = "docs/performance.md";
const PLOTS: &str = "docs/performance";
const BEGIN: &str = "<!-- From here on `make bench REPORT=1` writes. -->";

/// Runners in the order of their colours.
const SERIES: [&str; 5] = ["pg_recvlogical", "exactly_once", "at_least_once", "null", "debezium"];
/// What grows, and how the call's workloads are named; the number at their end is the place on the axis.
const GROWTH: [(&str, &str); 6] = [
    ("rows per transaction", "tx"),
    ("tables", "tables_"),
    ("columns", "columns_"),
    ("bytes of a row", "widths_"),
    ("rules for a table", "rules_"),
    ("connectors", "connectors_"),
];

pub(crate) fn write(report: &Report) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (page, plots) = (root.join(PAGE), root.join(PLOTS));
    std::fs::create_dir_all(&plots).context(plots.display())?;
    let text = std::fs::read_to_string(&page).context(page.display())?;
    let (own, _) = text.split_once(BEGIN).ok_or_else(|| format!("{PAGE} has no line {BEGIN}"))?;
    let mut figures = String::new();
    conditions(report, &mut figures)?;
    table_of_bars(report, &mut figures)?;
    for (name, about, svg) in draw(&Rows(&report.rows)) {
        std::fs::write(plots.join(format!("{name}.svg")), svg)?;
        writeln!(figures, "\n![{about}](performance/{name}.svg)")?;
    }
    table_of_runs(report, &mut figures)?;
    std::fs::write(&page, format!("{own}{BEGIN}\n{figures}")).context(page.display())?;
    println!("{} and {}", page.display(), plots.display());
    Ok(())
}

fn conditions(report: &Report, out: &mut String) -> Result<()> {
    let facts = |facts: &std::collections::BTreeMap<String, String>| {
        facts.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    writeln!(out, "\n## Machine and versions\n\n{}.\n\n{}.", facts(&report.machine), facts(&report.versions))?;
    writeln!(
        out,
        "\n| workload | build | size | load before (1, 5, 15 min) | seconds | work of others, cores (median, most) |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
    for (name, call) in &report.workloads {
        let mut foreign: Vec<f64> =
            report.rows.iter().filter(|row| row.call == *name).filter_map(|row| row.foreign_cores).collect();
        foreign.sort_by(f64::total_cmp);
        let foreign = match (foreign.get(foreign.len() / 2), foreign.last()) {
            (Some(median), Some(most)) => format!("{median:.2}, {most:.2}"),
            _ => "-".to_owned(),
        };
        let load = call.load_before.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let size = if call.quick { "QUICK" } else { "whole" };
        writeln!(out, "| `{name}` | {} | {size} | {load} | {:.0} | {foreign} |", call.build, call.seconds)?;
    }
    Ok(())
}

fn table_of_bars(report: &Report, out: &mut String) -> Result<()> {
    let is_measurement = report.workloads.values().all(|call| call.build == RELEASE && !call.quick);
    writeln!(out, "\n## The bars\n")?;
    if !is_measurement {
        writeln!(
            out,
            "**These are no measurements**: a build with debug assertions, or `QUICK=1` (see the table above), shows that the \
             benchmark works. Nothing is met or missed by them.\n"
        )?;
    }
    writeln!(out, "| | figure | bar | |\n| --- | --- | --- | --- |")?;
    for bar in BARS {
        let figure = report.ratios.get(bar.key).copied().flatten();
        let limit = match bar.limit {
            Limit::AtLeast(limit) => format!(">= {}", number(limit)),
            Limit::AtMost(limit) => format!("<= {}", number(limit)),
            Limit::None => String::new(),
        };
        let verdict = match figure.map(|figure| bar.is_met(figure)) {
            None => "not measured",
            Some(_) if !is_measurement => "",
            Some(None) => "",
            Some(Some(true)) => "met",
            Some(Some(false)) => "**falls short**",
        };
        let figure = figure.map_or_else(|| "-".to_owned(), number);
        writeln!(out, "| {} (`{}`) | {figure} | {limit} | {verdict} |", bar.what, bar.key)?;
    }
    Ok(())
}

/// Every run, with what was measured of it.
fn table_of_runs(report: &Report, out: &mut String) -> Result<()> {
    writeln!(
        out,
        "\n## The runs\n\nMedians over the rounds. CPU is in seconds for a million changes: of the runner itself, of its \
         threads up to the encoded event, of the walsender that feeds it, of the broker.\n\n\
         | workload | runner | rounds | rows/s | once ready | CPU | once ready | to encode | walsender | Kafka | peak RSS, MiB | bytes a row on Kafka | p50 / p95 / p99, ms | CPU, % of a core |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    let rows = Rows(&report.rows);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for row in &report.rows {
        let runs = (row.workload.as_str(), row.runner.as_str());
        if seen.contains(&runs) {
            continue;
        }
        seen.push(runs);
        let of = |figure: fn(&Row) -> Option<f64>| rows.median(runs, figure).map_or_else(|| "-".to_owned(), number);
        let rounds = report.rows.iter().filter(|row| (row.workload.as_str(), row.runner.as_str()) == runs).count();
        writeln!(
            out,
            "| `{}` | {} | {rounds} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} / {} / {} | {} |",
            row.workload,
            row.runner,
            of(|row| row.rows_per_second),
            of(|row| row.streaming_rows_per_second),
            of(|row| row.cpu_seconds_per_million),
            of(|row| row.streaming_cpu_seconds_per_million),
            of(|row| row.to_encode_cpu_seconds_per_million),
            of(|row| row.walsender_cpu_seconds_per_million),
            of(|row| row.kafka_cpu_seconds_per_million),
            of(Row::peak_rss_mib),
            of(|row| row.kafka_bytes_per_row),
            of(|row| row.latency_ms.map(|latency| latency.p50)),
            of(|row| row.latency_ms.map(|latency| latency.p95)),
            of(|row| row.latency_ms.map(|latency| latency.p99)),
            of(|row| row.cpu_percent),
        )?;
    }
    Ok(())
}

/// Name, description, picture.
fn draw(rows: &Rows<'_>) -> Vec<(&'static str, &'static str, String)> {
    let drained = ["tx1", "tx10", "tx1000", "large", "peers_tx1", "peers_tx10"];
    let shapes = ["updates_default", "updates_full", "widths_100", "widths_1800", "widths_16000"];
    let paced = ["latency_200", "latency_2000", "peers_latency"];
    let rate = |row: &Row| row.rows_per_second;
    let growth = GROWTH.map(|(name, prefix)| Panel { name: name.to_owned(), points: growth(rows, prefix) });
    let growth: Vec<_> = growth.into_iter().filter(|panel| !panel.points.is_empty()).collect();
    vec![
        (
            "rates",
            "Rows/s by size of transaction",
            bars("Rows/s of a whole process", &SERIES, &groups(rows, &drained, rate)),
        ),
        ("shapes", "Rows/s by shape of row", bars("Rows/s of a whole process", &SERIES, &groups(rows, &shapes, rate))),
        (
            "latency",
            "Latency by rate",
            bars(
                "From COMMIT's return to a read_committed consumer, p99, ms",
                &SERIES,
                &groups(rows, &paced, |row| row.latency_ms.map(|latency| latency.p99)),
            ),
        ),
        (
            "growth",
            "CPU against what grows",
            panels("Daemon CPU seconds for a million changes once it is ready, exactly once", &growth),
        ),
    ]
}

fn groups(rows: &Rows<'_>, workloads: &[&str], figure: fn(&Row) -> Option<f64>) -> Vec<Group> {
    let group = |workload: &str| {
        let bars = SERIES.map(|runner| rows.median((workload, runner), figure)).to_vec();
        bars.iter().any(Option::is_some).then(|| Group { name: workload.to_owned(), bars })
    };
    workloads.iter().filter_map(|workload| group(workload)).collect()
}

fn growth(rows: &Rows<'_>, prefix: &str) -> Vec<(f64, f64)> {
    let mut sizes: Vec<u32> = rows.0.iter().filter_map(|row| row.workload.strip_prefix(prefix)?.parse().ok()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let point = |size: u32| {
        let workload = format!("{prefix}{size}");
        Some((f64::from(size), rows.median((&workload, "exactly_once"), |row| row.streaming_cpu_seconds_per_million)?))
    };
    sizes.into_iter().filter_map(point).collect()
}

/// With as many digits as are worth something.
fn number(value: f64) -> String {
    match value {
        _ if value >= 1000.0 => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let (head, rest) = digits.split_at(if head == 0 { 3 } else { head });
            rest.as_bytes().chunks(3).fold(head.to_owned(), |text, chunk| text + "," + &String::from_utf8_lossy(chunk))
        }
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 || value == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
