//! Whether the daemon's own counts are those of the source: each change received was published or filtered.

use std::time::Duration;

use super::connector::Trial;
use crate::support::oms::expected::Counts;
use crate::support::{Context, Result, poll};

const WITHIN: Duration = Duration::from_secs(3);

/// Events due by SQL, and changes of a key, each of which is two of them.
pub(super) struct Due {
    counts: Counts,
    rekeys: i64,
}

pub(super) fn due(trial: &Trial<'_>) -> Result<Due> {
    let rekeys = trial.sql().value("SELECT count(*) FROM customer_audit WHERE operation = 'REKEY'")?;
    Ok(Due { counts: trial.site.expected_counts()?, rekeys })
}

/// Compares the daemon's metrics with SQL and with the witness. A count follows its commit within a moment.
pub(super) fn agree(trial: &mut Trial<'_>, before: &Due) -> Result<bool> {
    let after = due(trial)?;
    let events = |due: &Due| due.counts.values().sum::<u64>() as f64;
    let published = events(&after) - events(before) - (after.rekeys - before.rekeys) as f64;
    let received = trial.changes()?;
    let agreed = poll(WITHIN, || {
        let text = trial.daemon()?.get("/metrics")?;
        let sum = |name: &str| sum(&text, &format!("walwright_changes_{name}_total{{"));
        let seen = (sum("received")?, sum("published")?, sum("filtered")?);
        Ok((seen == (received, published, received - published)).then_some(()))
    })?;
    Ok(agreed.is_some())
}

fn sum(metrics: &str, series: &str) -> Result<f64> {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context(line)).sum()
}
