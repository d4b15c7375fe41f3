//! A shop that is read: its own Postgres, on which a test may do anything, daemons, and the judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use walwright::faults::Mutation;
use walwright::model::Lsn;

use crate::support::daemon::Daemon;
use crate::support::fault::{FAILPOINT, Fault, MUTATION};
use crate::support::postgres::{Options, Postgres};
use crate::support::process::pid;
use crate::support::scene::{Scene, WITHIN};
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::{Result, poll, runtime};

/// Rows that are there from the beginning: more than one chunk.
pub(super) const ROWS: i64 = 6_000;

/// What a daemon that makes a mistake does not do any more is not waited for as long.
const MUTANT_PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Reading {
    pub(super) daemon: Option<Daemon>,
    pub(super) scene: Scene,
    pub(super) postgres: Postgres,
    mutation: Option<Mutation>,
    /// The table that is judged, and the topic of its name.
    pub(super) table: &'static str,
    /// Its rows are read beside the stream.
    is_backfill: bool,
}

impl Reading {
    /// A commit waits for a standby that there is not, where its session asks for it.
    pub(super) fn new(stack: &Stack, mutation: Option<Mutation>) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let options = Options::default()
            .set("synchronous_commit", "local")
            .set("synchronous_standby_names", "nobody")
            .set("bgwriter_lru_maxpages", "0")
            .set("autovacuum", "off");
        let postgres = Postgres::start(&stack.sandbox, options)?;
        let name = format!("hazard{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let scene = Scene::at(&stack.sandbox, &name, &postgres, &stack.kafka, stack.registry.url())?;
        scene.connector("mode = \"none\"", "mode = \"initial\"\nworkers = 1")?;
        scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\", \"read\"]")?;
        scene.connector("unmatched = \"filter\"", "unmatched = \"filter\"\ntruncate = \"filter\"")?;
        let reading = Self { daemon: None, scene, postgres, mutation, table: "orders", is_backfill: false };
        let sql = reading.scene.sql()?;
        sql.batch(&format!("INSERT INTO orders SELECT i, 'OLD', 1, 'n' || i FROM generate_series(1, {ROWS}) i"))?;
        sql.batch(&format!("GRANT USAGE ON SCHEMA public TO {name}; GRANT SELECT ON orders TO {name}"))?;
        reading.scene.push()?;
        Ok(reading)
    }

    pub(super) fn sql(&self) -> Result<Sql> {
        self.scene.sql()
    }

    /// Starts the next daemon, with the mistake, if there is one to make.
    pub(super) fn start(&mut self, fault: Option<Fault>) -> Result<()> {
        let fault = fault.map(|fault| fault.to_string());
        let mut environment: Vec<(&str, &str)> = fault.iter().map(|fault| (FAILPOINT, fault.as_str())).collect();
        environment.extend(self.mutation.map(|mutation| (MUTATION, mutation.name())));
        self.daemon = Some(self.scene.launch_with(&environment)?);
        Ok(())
    }

    pub(super) fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().ok_or_else(|| "no daemon runs".into())
    }

    /// The slot is there before the daemon, and a transaction for which every snapshot waits: a daemon streams, and reads
    /// nothing before that transaction has ended.
    pub(super) fn start_and_wait(&mut self) -> Result<Sql> {
        self.make_slot()?;
        let before = self.sql()?;
        before.batch("BEGIN; SELECT pg_current_xact_id()")?;
        self.start(None)?;
        self.daemon()?.wait_ready(WITHIN)?;
        self.daemon()?.wait_log("a snapshot waits for transactions", WITHIN)?;
        Ok(before)
    }

    pub(super) fn make_slot(&self) -> Result<()> {
        self.scene.connector("\npublication = ", "\nadopt_slot = true\npublication = ")?;
        let slot = self.scene.slot();
        self.sql()?.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).map(drop)
    }

    /// Commits on a session of its own; nobody sees it before `release`.
    pub(super) fn commit_invisibly(&self, statements: &str) -> Result<()> {
        let (sql, watch) = (self.sql()?, self.sql()?);
        let before = waiting(&watch)?;
        let statements = format!("SET synchronous_commit = on; BEGIN; {statements}; COMMIT");
        // Whatever becomes of it is seen in the table.
        runtime()?.spawn(async move { drop(sql.client().batch_execute(&statements).await) });
        self.until("a commit waits for its standby", || Ok(waiting(&watch)? > before))
    }

    /// All that was committed is visible.
    pub(super) fn release(&self) -> Result<()> {
        let sql = self.sql()?;
        self.until("every commit is visible", || {
            sql.batch("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")?;
            Ok(waiting(&sql)? == 0)
        })
    }

    /// A signal to a process of the server, which the query finds.
    pub(super) fn signal(&self, query: &str, signal: Signal) -> Result<i32> {
        let process: i32 = self.sql()?.value(query)?;
        rustix::process::kill_process(pid(process.try_into()?)?, signal)?;
        Ok(process)
    }

    pub(super) fn until(&self, what: &str, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
        let patience = if self.mutation.is_some() { MUTANT_PATIENCE } else { WITHIN };
        let found = poll(patience, || Ok(probe()?.then_some(())))?;
        found.ok_or_else(|| format!("it never comes to this: {what}").into())
    }

    /// Every range is published, and the stream has passed each of them.
    pub(super) fn is_read(&self) -> Result<bool> {
        let state = self.scene.state()?;
        let record = state.progress.get(&format!("progress/public.{}", self.table));
        let record: Option<Value> = record.map(|record| serde_json::from_slice(record)).transpose()?;
        let is_asked =
            |record: Value| !self.is_backfill || record["variant"] == "backfill" && record["state"] == "done";
        Ok(record.is_some_and(is_asked) && state.checkpoint.is_some_and(|checkpoint| checkpoint.unseen.is_none()))
    }

    /// The connector streams, and rows are read at a person's wish only.
    pub(super) fn only_streams(&mut self) -> Result<()> {
        self.is_backfill = true;
        self.scene.connector("mode = \"initial\"", "mode = \"none\"")
    }

    /// Asks for a backfill; an error where the daemon does not say that it was taken.
    pub(super) fn ask(&mut self) -> Result<()> {
        let (name, table) = (self.scene.name.clone(), format!("public.{}", self.table));
        self.daemon()?.command(&name, &json!({ "command": "snapshot", "table": table })).map(drop)
    }

    /// Whether a backfill is known that was asked for.
    pub(super) fn is_asked(&self) -> Result<bool> {
        let state = self.scene.state()?;
        let record = state.progress.get(&format!("progress/public.{}", self.table));
        Ok(record.is_some_and(|record| String::from_utf8_lossy(record).contains("\"variant\":\"backfill\"")))
    }

    /// What the daemon says that the table's reading waits for.
    pub(super) fn waits_for(&self) -> Result<String> {
        let said =
            self.daemon.as_ref().ok_or("no daemon runs")?.get(&format!("/connectors/{}/snapshots", self.scene.name))?;
        let tables: Vec<Value> = serde_json::from_str(&said)?;
        Ok(tables.first().and_then(|table| table["waits_for"].as_str()).unwrap_or_default().to_owned())
    }

    pub(super) fn published(&self) -> Result<f64> {
        let daemon = self.daemon.as_ref().ok_or("no daemon runs")?;
        self.scene.metric(daemon, "walwright_events_published_total", &[])
    }

    pub(super) fn covered(&self) -> Result<f64> {
        let daemon = self.daemon.as_ref().ok_or("no daemon runs")?;
        self.scene.metric(daemon, "walwright_changes_covered_total", &[])
    }

    pub(super) fn is_halted(&self) -> bool {
        let report = self.daemon.as_ref().and_then(|daemon| daemon.report(&self.scene.name));
        report.is_some_and(|report| report["state"] == "halted")
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.kill_hard())
    }

    /// All that was there and all that was committed is on Kafka; a daemon that makes a mistake may halt instead.
    fn settle(&mut self) -> Result<()> {
        let end: Lsn = self.sql()?.value::<String>("SELECT pg_current_wal_flush_lsn()::text")?.parse()?;
        self.until("all is published", || {
            let passed = self.scene.state()?.checkpoint.is_some_and(|checkpoint| checkpoint.next_lsn >= end);
            Ok(passed && self.is_read()? || self.mutation.is_some() && self.is_halted())
        })
    }

    /// Ends the daemon, once it has published everything, and compares the topic with the table.
    pub(super) fn judge(mut self) -> Result<Vec<String>> {
        self.settle()?;
        let halted = usize::from(self.is_halted());
        let daemon = self.daemon.take().ok_or("no daemon runs")?;
        if self.mutation.is_none() {
            self.scene.finish(daemon)?;
        } else {
            drop(daemon);
        }
        let seen = self.scene.read_all(self.table)?;
        let rows = self.sql()?.query(&format!("SELECT id::text, status, note FROM {}", self.table), &[])?;
        let table: BTreeMap<String, (String, Option<String>)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let (mut announced, mut folded, mut ids) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (mut repeated, mut not_as_told) = (0, 0);
        for seen in seen {
            let text = |field: &str| seen.field(field).as_str().map(str::to_owned);
            let row = (text("status").unwrap_or_default(), text("note"));
            if seen.field("meta")["capture"] == "BACKFILL" {
                // It says again what the stream has said last, or what nobody has said.
                not_as_told +=
                    usize::from(folded.insert(seen.key.clone(), row.clone()).is_some_and(|told| told != row));
                continue;
            }
            if ["INSERT", "READ"].contains(&seen.field("meta")["operation"].as_str().unwrap_or_default()) {
                *announced.entry(seen.key.clone()).or_insert(0) += 1;
            }
            repeated += usize::from(!ids.insert(seen.id().to_owned()));
            folded.insert(seen.key.clone(), row);
        }
        let is_told = |key: &String| announced.contains_key(key) || self.is_backfill && folded.contains_key(key);
        let counts = [
            ("lost", table.keys().filter(|key| !is_told(key)).count()),
            ("not as told", not_as_told),
            ("announced again", announced.values().filter(|count| **count > 1).count()),
            ("never there", folded.keys().filter(|key| !table.contains_key(*key)).count()),
            ("stale", folded.iter().filter(|(key, row)| table.get(*key).is_some_and(|now| now != *row)).count()),
            ("of the same id", repeated),
            ("halted", halted),
        ];
        Ok(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect())
    }
}

fn waiting(sql: &Sql) -> Result<i64> {
    sql.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
}
