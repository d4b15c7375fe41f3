//! The files in `deploy/` against the program: what alert rules and dashboard name exists, and Prometheus' own tool agrees.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use walwright::pipeline::{METRICS, MetricKind};

use crate::support::process::run;
use crate::support::scene::Scene;
use crate::support::{Context, Result};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// From Debian's package prometheus: `deploy/install-deps.sh test`.
fn promtool() -> Command {
    Command::new("promtool")
}

/// The series that a text names, wherever they stand in it.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("walwright_")).collect()
}

/// The series that the program exposes.
fn exposed() -> BTreeSet<String> {
    let series = |metric: &walwright::pipeline::Metric| match metric.kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)).to_vec(),
        MetricKind::Counter | MetricKind::Gauge => vec![metric.name.to_owned()],
    };
    METRICS.iter().flat_map(series).collect()
}

#[test]
fn dashboard_and_alerts_name_what_is_exposed() -> Result<()> {
    let exposed = exposed();
    for file in ["grafana/walwright.json", "prometheus/walwright.rules.yml"] {
        let text = std::fs::read_to_string(deploy(file)).context(file)?;
        // A histogram is named without its parts in words for people.
        let known = |name: &&str| exposed.contains(*name) || METRICS.iter().any(|metric| metric.name == *name);
        let unknown: Vec<_> = named(&text).into_iter().filter(|name| !known(name)).collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{file}");
        assert!(named(&text).len() >= 7, "{file}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(deploy("grafana/walwright.json"))?)?;
    let panels = dashboard["panels"].as_array().ok_or("the dashboard has no panels")?;
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for query in queries.filter_map(|target| target["expr"].as_str()) {
        assert!(exposed.iter().any(|name| query.contains(name.as_str())), "{query}");
    }
    Ok(())
}

#[test]
fn alert_rules_fire_when_they_should_and_only_then() -> Result<()> {
    run(promtool().args(["test", "rules"]).arg(deploy("prometheus/walwright.rules.test.yml"))).map(drop)
}

#[test]
fn the_live_endpoint_passes_prometheus_own_check() -> Result<()> {
    let scene = Scene::new("scraped")?;
    scene.connector("mode = \"none\"", "mode = \"initial\"")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"read\"]")?;
    let grants = format!("GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON orders TO {0}", scene.name);
    scene.sql()?.batch(&grants)?;
    let daemon = scene.open()?;
    scene.insert(1, 3)?;
    scene.read("orders", 3)?;
    scene.wait_metric(&daemon, "walwright_events_published_total", &[], |count| count == 3.0)?;
    let exposition = daemon.get("/metrics")?;
    let mut check = promtool().args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    check.stdin.take().ok_or("promtool has no standard input")?.write_all(exposition.as_bytes())?;
    let output = check.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    let missing: Vec<_> = exposed().into_iter().filter(|name| !exposition.contains(name.as_str())).collect();
    // Nothing was tried again.
    assert_eq!(missing, ["walwright_retries_total"]);
    assert!(exposition.contains("process_resident_memory_bytes"), "{exposition}");
    scene.finish(daemon)
}
