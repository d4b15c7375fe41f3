//! A connector against the world without running it: what `check --live` and `status` show. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Handle;

use super::connector::Connector;
use super::contracts;
use super::source::Source;
use super::{settings, topics};
use crate::checkpoint::judge::Verdict;
use crate::checkpoint::record::State;
use crate::checkpoint::store::Store;
use crate::config::Process;
use crate::connector::{Plan, SourceSection};
use crate::error::{Error, Result};
use crate::kafka::Admin;
use crate::model::{Lsn, TableName};
use crate::publish::topics as output;
use crate::snapshot::{self, Snapshot};
use crate::source::{Sql, preflight};

/// No step against a server takes longer.
const STEP: Duration = Duration::from_secs(10);

/// What a finding is about that holds today, and may halt the connector later.
pub const WARNING: &str = "warning";

/// One thing that was looked at.
pub struct Finding {
    /// What was looked at, in a word or two.
    pub about: String,
    /// What was seen, or what is wrong.
    pub result: Result<String>,
}

/// Everything that a start would judge, looked at separately, so that all faults show at once.
pub fn check(process: &Arc<Process>, plan: &Arc<Plan>, source: &SourceSection, handle: &Handle) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |about: &str, result: Result<String>| findings.push(Finding { about: about.to_owned(), result });
    let connector = Connector::idle(plan.clone(), source.clone(), process.clone(), handle.clone());
    let connector = match connector {
        Ok(connector) => connector,
        Err(error) => return vec![Finding { about: "connector".to_owned(), result: Err(error) }],
    };
    let state = kafka(&connector, &mut note);
    note("registry", contracts::outlook(&connector));
    database(&connector, state.as_ref(), &mut note);
    findings
}

fn kafka(connector: &Connector, note: &mut impl FnMut(&str, Result<String>)) -> Option<State> {
    let settings = &connector.process.kafka;
    let opened = settings.client().and_then(|client| Ok((Admin::new(&client, STEP)?, client)));
    let (admin, client) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            note("kafka", Err(error));
            return None;
        }
    };
    let brokers = match admin.broker_count() {
        Ok(brokers) => brokers,
        Err(error) => {
            note("kafka", Err(error));
            return None;
        }
    };
    note("kafka", Ok(format!("{brokers} brokers at {}", admin.brokers())));
    let limits = admin.limits().and_then(|limits| output::check_limits(limits, settings.transaction_timeout_ms));
    note("transaction timeout", limits.map(|()| format!("{} ms", settings.transaction_timeout_ms)));
    let store = Store::new(&client, &settings.topic_prefix, connector.name());
    let state = match admin.topic(store.topic()) {
        Ok(None) => Ok(State::default()),
        Ok(Some(_)) => store.read_stable(Instant::now() + STEP),
        Err(error) => Err(error),
    };
    for wanted in topics::wanted(&connector.plan, state.as_ref().ok().and_then(|state| state.checkpoint.as_ref())) {
        let seen = output::inspect(&admin, &wanted).and_then(|topic| match topic {
            Some(topic) => Ok(format!("{} partitions", topic.partitions)),
            None => output::creatable(admin.brokers(), brokers, &wanted).map(|()| "will be created".to_owned()),
        });
        note(&format!("topic {}", wanted.name), seen);
    }
    match state {
        Ok(state) => {
            let text =
                state.checkpoint.as_ref().map_or("none yet".to_owned(), |at| format!("next LSN {}", at.next_lsn));
            note("checkpoint", Ok(text));
            Some(state)
        }
        Err(error) => {
            note("checkpoint", Err(error));
            None
        }
    }
}

fn database(connector: &Connector, state: Option<&State>, note: &mut impl FnMut(&str, Result<String>)) {
    let mut source = match Source::open(connector) {
        Ok(source) => source,
        Err(error) => return note("database", Err(error)),
    };
    let identity = &source.identity;
    let text = format!(
        "{} on {}, system {}, timeline {}, flushed to {}",
        identity.database,
        source.sql.host(),
        identity.system_identifier,
        identity.timeline,
        identity.flush_lsn
    );
    note("database", Ok(text));
    match source.findings(&connector.plan) {
        Ok(findings) => {
            findings.warnings.into_iter().for_each(|warning| note(WARNING, Ok(warning)));
            findings.errors.into_iter().for_each(|error| note("rules", Err(error)));
        }
        Err(error) => note("rules", Err(error)),
    }
    if let Some(state) = state {
        let verdict = source.facts().and_then(|facts| facts.judge(state));
        let verdict = verdict.map(|verdict| intention(verdict).to_owned());
        note("start", verdict);
    }
}

/// What `status` shows of a connector, whether a daemon runs it or not.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub connector: String,
    /// From the checkpoint topic.
    pub next_lsn: Option<Lsn>,
    /// Of the checkpoint.
    pub epoch: Option<u32>,
    /// The instance of the newest takeover record.
    pub instance: Option<String>,
    /// `active` with a pid, `free`, `lost` or `none`.
    pub slot: Option<String>,
    /// `confirmed_flush_lsn`
    pub confirmed_flush_lsn: Option<Lsn>,
    /// The server's end of WAL.
    pub flush_lsn: Option<Lsn>,
    /// WAL bytes from the checkpoint to the server's end.
    pub lag_bytes: Option<u64>,
    /// WAL bytes that the server keeps for the slot.
    pub retained_bytes: Option<u64>,
    /// Of each table that is, or was, read.
    pub snapshots: Vec<SnapshotStatus>,
    /// What could not be asked.
    pub errors: Vec<Trouble>,
}

/// How far the snapshot of a table is.
#[derive(Debug, Serialize)]
pub struct SnapshotStatus {
    /// `schema.table`
    pub table: String,
    /// Running, paused, done or cancelled.
    pub state: snapshot::State,
    /// For a table without subscribers, or beside the stream.
    pub variant: snapshot::Variant,
    /// Rows published.
    pub rows: u64,
}

/// An error as `status` tells it.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// The error's kind.
    pub kind: &'static str,
    /// The error with its causes.
    pub error: String,
    /// What a person can do.
    pub remedy: &'static str,
    /// The command that says more.
    pub more: &'static str,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        let (kind, remedy, more) = (error.kind().name(), error.remedy(), error.more());
        Trouble { kind, error: error.chain(), remedy, more }
    }
}

/// Asks Kafka and Postgres.
pub fn status(process: &Process, plan: &Plan, source: &SourceSection, handle: &Handle) -> Status {
    let mut errors = Vec::new();
    let mut keep = |error: Error| errors.push(Trouble::from(error));
    let state = checkpoint(process, plan).map_err(&mut keep).unwrap_or_default();
    let database = source.resolve().and_then(|resolved| {
        let settings = settings::source(resolved, &plan.name);
        handle.block_on(async {
            let sql = Sql::connect(&settings).await?;
            Ok((preflight::server(&sql).await?, preflight::slot(&sql, &settings.slot).await?))
        })
    });
    let (server, slot) = match database.map_err(&mut keep) {
        Ok((server, slot)) => (Some(server), Some(slot)),
        Err(()) => (None, None),
    };
    let next_lsn = state.checkpoint.as_ref().map(|checkpoint| checkpoint.next_lsn);
    let flush_lsn = server.map(|server| server.flush_lsn);
    let held = slot.as_ref().and_then(Option::as_ref);
    let snapshots = snapshots(&state).map_err(&mut keep).unwrap_or_default();
    Status {
        connector: plan.name.clone(),
        next_lsn,
        epoch: state.checkpoint.as_ref().map(|checkpoint| checkpoint.epoch),
        instance: state.takeover.map(|takeover| takeover.instance),
        slot: slot.as_ref().map(|slot| match slot {
            None => "none".to_owned(),
            Some(slot) if slot.is_lost() => "lost".to_owned(),
            Some(slot) => slot.active_pid.map_or("free".to_owned(), |pid| format!("active (pid {pid})")),
        }),
        confirmed_flush_lsn: held.and_then(|slot| slot.confirmed_flush_lsn),
        flush_lsn,
        lag_bytes: flush_lsn.zip(next_lsn).map(|(end, next)| end.bytes_since(next)),
        retained_bytes: held.and_then(|slot| slot.retained_bytes),
        snapshots,
        errors,
    }
}

fn snapshots(state: &State) -> Result<Vec<SnapshotStatus>> {
    let records = state.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    let core = Snapshot::load(records, &BTreeMap::new(), Lsn(0), 0)?;
    let of = |(number, name): (usize, &TableName)| {
        let (state, variant) = (core.state(number)?, core.request(number)?.variant);
        Some(SnapshotStatus { table: name.to_string(), state, variant, rows: core.rows(number) })
    };
    Ok(core.names().filter_map(of).collect())
}

fn checkpoint(process: &Process, plan: &Plan) -> Result<State> {
    let client = process.kafka.client()?;
    let store = Store::new(&client, &process.kafka.topic_prefix, &plan.name);
    match Admin::new(&client, STEP)?.topic(store.topic())? {
        Some(_) => store.read_stable(Instant::now() + STEP),
        None => Ok(State::default()),
    }
}

fn intention(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::FirstStart => "the first start: the slot will be created",
        Verdict::StartOver => "a first start was cut off and its slot is lost: it will be dropped and created anew",
        Verdict::Adopt => "the slot that is there will be used, from its confirmed position",
        Verdict::Stream => "streaming goes on from the checkpoint",
    }
}
