//! What there is to measure, in the order in which it is run.

use crate::backlog::{Backlog, Shape};
use crate::plain::{Operation, Plain};
use crate::runner::{Runner, race};
use crate::support::Result;
use crate::{Bench, connectors, encode, latency, snapshot};

pub(crate) struct Workload {
    /// What `ONLY` takes.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Run only where this peer is asked for.
    peer: Option<&'static str>,
    pub(crate) run: fn(&mut Bench<'_>) -> Result<()>,
}

/// How often.
#[derive(Clone, Copy)]
enum Rounds {
    /// A bar rests on it.
    OfBar,
    Beside,
}

const fn own(name: &'static str, about: &'static str, run: fn(&mut Bench<'_>) -> Result<()>) -> Workload {
    Workload { name, about, peer: None, run }
}

const fn beside_debezium(name: &'static str, about: &'static str, run: fn(&mut Bench<'_>) -> Result<()>) -> Workload {
    Workload { name, about, peer: Some("debezium"), run }
}

const DAEMON: [Runner; 2] = [Runner::ExactlyOnce, Runner::AtLeastOnce];
const BESIDE_RECEIVE: [Runner; 2] = [Runner::Receive, Runner::ExactlyOnce];
const BESIDE_DEBEZIUM: [Runner; 2] = [Runner::ExactlyOnce, Runner::Debezium];
/// Enough for Debezium to run for more than ten seconds.
const PEERS_CHANGES: u64 = 300_000;

pub(crate) const WORKLOADS: &[Workload] = &[
    own("tx10", "the worked example's changes, transactions of 10", |bench| {
        oms(bench, 10, &[Runner::Receive, Runner::ExactlyOnce, Runner::AtLeastOnce, Runner::Null])
    }),
    own("tx1", "the same, transactions of 1", |bench| {
        oms(bench, 1, &[Runner::Receive, Runner::ExactlyOnce, Runner::AtLeastOnce, Runner::Null])
    }),
    own("tx1000", "the same, transactions of 1,000", |bench| {
        oms(bench, 1000, &[Runner::Receive, Runner::ExactlyOnce, Runner::Null])
    }),
    own("snapshot", "orders that exist already, beside one COPY of them", |bench| {
        let sizes = &bench.sizes;
        let rounds = sizes.rounds_beside.max(sizes.rounds.min(3));
        bench.report.snapshot = snapshot::run(bench.site, sizes.changes * 2, rounds, sizes.seconds)?;
        Ok(())
    }),
    own("large", "one transaction of 5,000,000 rows", |bench| {
        let backlog = Backlog::oms(bench.site, "large", bench.sizes.rows_at_once, Shape::One)?;
        race(bench, &[backlog], &BESIDE_RECEIVE, 1)
    }),
    own("latency_200", "from COMMIT to a consumer at 200 transactions/s; then nothing for a while", |bench| {
        latency::run(bench, &DAEMON, 200, true)
    }),
    own("latency_2000", "the same at 2,000 transactions/s", |bench| latency::run(bench, &DAEMON, 2000, false)),
    own("updates", "updates under REPLICA IDENTITY DEFAULT and FULL", |bench| {
        let operations = [("updates_default", Operation::Update), ("updates_full", Operation::UpdateFull)];
        let plains = operations.map(|(name, operation)| Plain { operation, columns: 10, ..Plain::new(name) });
        plain(bench, plains, 2, &BESIDE_RECEIVE, Rounds::Beside)
    }),
    own("widths", "rows of 100 B, 1.8 kB and 16 kB", |bench| {
        for (name, width, part) in [("widths_100", 20, 2), ("widths_1800", 360, 4), ("widths_16000", 3200, 16)] {
            plain(bench, [Plain { width, ..Plain::new(name) }], part, &BESIDE_RECEIVE, Rounds::Beside)?;
        }
        Ok(())
    }),
    own("tables", "rows of 1, 10, 100 and 1,000 tables", |bench| {
        let plains = [1, 10, 100, 1000].map(|tables| Plain { tables, ..Plain::new(format!("tables_{tables}")) });
        plain(bench, plains, 2, &[Runner::ExactlyOnce], Rounds::OfBar)
    }),
    own("columns", "rows of 5, 20 and 80 columns", |bench| {
        let plains = [5, 20, 80].map(|columns| Plain { columns, ..Plain::new(format!("columns_{columns}")) });
        plain(bench, plains, 4, &[Runner::ExactlyOnce], Rounds::Beside)
    }),
    own("rules", "1, 10 and 50 rules for a table, of which one takes the row", |bench| {
        let plains = [1, 10, 50].map(|rules| Plain { rules, ..Plain::new(format!("rules_{rules}")) });
        plain(bench, plains, 2, &[Runner::ExactlyOnce], Rounds::Beside)
    }),
    own("encode", "an event of fifteen fields alone, beside apache-avro", encode::run),
    own("connectors", "1, 10 and 50 connectors in a daemon", connectors::run),
    beside_debezium("peers_tx10", "the worked example's changes beside Debezium, transactions of 10", |bench| {
        peers(bench, "peers_tx10", 10)
    }),
    beside_debezium("peers_tx1", "the same, transactions of 1", |bench| peers(bench, "peers_tx1", 1)),
    beside_debezium("peers_latency", "from COMMIT to a consumer at 200 transactions/s beside Debezium", |bench| {
        latency::run(bench, &BESIDE_DEBEZIUM, 200, false)
    }),
];

/// Those that a call is to run.
pub(crate) fn due(only: &[String], peers: &[String], is_done: impl Fn(&str) -> bool) -> Result<Vec<&'static Workload>> {
    let names = || WORKLOADS.iter().map(|workload| workload.name);
    if let Some(unknown) = only.iter().find(|only| !names().any(|name| name == **only)) {
        return Err(
            format!("there is no workload {unknown}; there are {}", names().collect::<Vec<_>>().join(", ")).into()
        );
    }
    let is_asked = |workload: &&Workload| match (only, workload.peer) {
        ([], None) => true,
        ([], Some(peer)) => peers.iter().any(|asked| asked == peer),
        (only, _) => only.iter().any(|name| name == workload.name),
    };
    Ok(WORKLOADS.iter().filter(is_asked).filter(|workload| !is_done(workload.name)).collect())
}

fn oms(bench: &mut Bench<'_>, per_transaction: u64, runners: &[Runner]) -> Result<()> {
    let (name, changes) = (bench.call.clone(), bench.sizes.changes);
    // Ten seconds of work and more for whoever is fastest, so that a start is no large part of it.
    let changes = if per_transaction == 1 { changes * 2 } else { changes * 3 };
    let backlog = Backlog::oms(bench.site, &name, changes, Shape::Transactions(per_transaction))?;
    let rounds = bench.sizes.rounds;
    race(bench, &[backlog], runners, rounds)
}

fn peers(bench: &mut Bench<'_>, name: &str, per_transaction: u64) -> Result<()> {
    let changes = bench.sizes.changes.min(PEERS_CHANGES);
    let backlog = Backlog::oms(bench.site, name, changes, Shape::Transactions(per_transaction))?;
    let rounds = bench.sizes.rounds.min(3);
    race(bench, &[backlog], &BESIDE_DEBEZIUM, rounds)
}

/// `part`: which part of the usual number of changes.
fn plain<const N: usize>(
    bench: &mut Bench<'_>,
    plains: [Plain; N],
    part: u64,
    runners: &[Runner],
    rounds: Rounds,
) -> Result<()> {
    let changes = bench.sizes.changes / part;
    let backlogs = plains.into_iter().map(|plain| Backlog::plain(bench.site, plain, changes));
    let backlogs = backlogs.collect::<Result<Vec<_>>>()?;
    let rounds = match rounds {
        Rounds::OfBar => bench.sizes.rounds,
        Rounds::Beside => bench.sizes.rounds_beside,
    };
    race(bench, &backlogs, runners, rounds)
}
