//! The judges must be able to say no: the oracle, the independent reader, the watchdogs of the slot, of the health, of
//! the sessions and of the process, and who listens for canaries.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;
use walwright::model::Lsn;
use walwright::publish::partition;

use crate::support::canary::Search;
use crate::support::health_watch::{self, Health, Judge, Sample};
use crate::support::process_watch::{self, Life, ProcessWatch};
use crate::support::session_watch::SessionWatch;
use crate::support::slot_watch::{SlotWatch, Watched};
use crate::support::sql::Sql;
use crate::support::stack::{Scenario, Stack};
use crate::support::{Result, oracle, poll};

const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn every_counter_of_the_oracle_turns_red() -> Result<()> {
    oracle::self_test()
}

/// Faults: KF-15.
#[test]
fn the_partitioner_is_that_of_kafkas_java_producer() -> Result<()> {
    // All lengths to beyond murmur2's four-byte steps, all byte values, and keys as they occur.
    let runs = (0..64_u8).map(|length| (0..length).map(|byte| byte.wrapping_mul(37).wrapping_add(length)).collect());
    let numbers = (0..2_000).map(|number: u32| (number * 7919).to_string().into_bytes());
    let texts = ["C-1", "Łukasz", "李小龍", "🚚", ""].map(|text| text.as_bytes().to_vec());
    let keys: Vec<Vec<u8>> = runs.chain(numbers).chain(texts).collect();
    for count in [1, 2, 3, 6, 12, 50, 1000] {
        let theirs = oracle::producer_partitions(&keys, count)?;
        let ours: Vec<_> = keys.iter().map(|key| partition(key, count.cast_signed())).collect();
        assert_eq!(ours, theirs.into_iter().map(u32::cast_signed).collect::<Vec<_>>(), "{count} partitions");
    }
    Ok(())
}

/// Its transactions are ended as a test likes; deliveries are awaited by the commit itself.
type Transactions = ThreadedProducer<DefaultProducerContext>;

fn producer(scenario: &Scenario<'_>) -> Result<Transactions> {
    let mut config = scenario.stack.kafka.client();
    let producer: Transactions = config.set("transactional.id", &scenario.name).create()?;
    producer.init_transactions(WITHIN)?;
    Ok(producer)
}

fn send(producer: &Transactions, topic: &str, key: &str, value: &str) -> Result<()> {
    let record = BaseRecord::to(topic).partition(0).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error.into())
}

#[test]
fn the_reader_sees_what_is_committed_to_the_end_and_no_more() -> Result<()> {
    let scenario = Stack::shared()?.scenario("reader")?;
    let topic = format!("{}events", scenario.topic_prefix());
    scenario.stack.kafka.create_topic(&topic, 2, &[])?;
    let producer = producer(&scenario)?;
    for (value, commit) in [("first", true), ("aborted", false), ("last", true)] {
        producer.begin_transaction()?;
        send(&producer, &topic, "a\"b", value)?;
        if commit { producer.commit_transaction(WITHIN)? } else { producer.abort_transaction(WITHIN)? }
    }
    let file = scenario.folder.join("records");
    oracle::read_committed(&scenario.stack.kafka.bootstrap(), std::slice::from_ref(&topic), &file)?;
    let text = std::fs::read_to_string(&file)?;
    let records: Vec<serde_json::Value> =
        text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let seen: Vec<_> = records.iter().map(|record| (&record["key"], &record["value"])).collect();
    assert_eq!(seen, [(&"YSJi".into(), &"Zmlyc3Q=".into()), (&"YSJi".into(), &"bGFzdA==".into())], "base64");
    assert!(oracle::read_committed(&scenario.stack.kafka.bootstrap(), &["absent".into()], &file).is_err());
    Ok(())
}

/// A slot, and a checkpoint topic that a test writes to in the daemon's place.
struct Source<'a> {
    scenario: Scenario<'a>,
    sql: Sql,
    producer: Transactions,
    topic: String,
}

impl Source<'_> {
    fn new(name: &str) -> Result<Self> {
        let scenario = Stack::shared()?.scenario(name)?;
        let sql = scenario.sql()?;
        sql.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&scenario.slot()])?;
        let topic = format!("{}walwright.checkpoint.oms", scenario.topic_prefix());
        scenario.stack.kafka.create_topic(&topic, 1, &[("cleanup.policy", "compact")])?;
        let producer = producer(&scenario)?;
        Ok(Self { scenario, sql, producer, topic })
    }

    fn watch(&self) -> Result<SlotWatch> {
        SlotWatch::start(Watched {
            postgres: self.scenario.stack.postgres.socket_connection(self.scenario.database()),
            slot: self.scenario.slot(),
            brokers: self.scenario.stack.kafka.bootstrap(),
            checkpoint_topic: self.topic.clone(),
            settle: Duration::from_secs(1),
        })
    }

    fn confirmed(&self) -> Result<String> {
        let query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        Ok(self.sql.query(query, &[&self.scenario.slot()])?[0].get(0))
    }

    fn checkpoint(&self, next_lsn: &str, commit: bool) -> Result<()> {
        self.producer.begin_transaction()?;
        send(&self.producer, &self.topic, "checkpoint", &format!("{{\"version\":1,\"next_lsn\":\"{next_lsn}\"}}"))?;
        send(&self.producer, &self.topic, "takeover", "{\"version\":1,\"instance\":\"me\"}")?;
        if commit {
            self.producer.commit_transaction(WITHIN)?
        } else {
            self.producer.abort_transaction(WITHIN)?
        }
        Ok(())
    }

    /// Writes some WAL and moves the slot to its end, which is returned.
    fn advance(&self) -> Result<String> {
        self.sql.batch("CREATE TABLE IF NOT EXISTS noise (n integer); INSERT INTO noise VALUES (1)")?;
        let query = "SELECT end_lsn::text FROM pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
        Ok(self.sql.query(query, &[&self.scenario.slot()])?[0].get(0))
    }
}

#[test]
fn the_watchdog_is_silent_while_the_checkpoint_leads() -> Result<()> {
    let source = Source::new("watch_green")?;
    let watch = source.watch()?;
    for _ in 0..5 {
        source.checkpoint("7FFFFFFF/0", true)?;
        source.advance()?;
    }
    let report = watch.finish()?;
    assert_eq!((report.slot_ahead, &report.first), (0, &None));
    report.check()
}

#[test]
fn the_watchdog_finds_a_slot_that_was_moved_ahead() -> Result<()> {
    let source = Source::new("watch_red")?;
    let before = source.confirmed()?;
    source.checkpoint(&before, true)?;
    let watch = source.watch()?;
    let moved = source.advance()?;
    // What was not committed covers nothing.
    source.checkpoint(&moved, false)?;
    let report = watch.finish()?;
    assert_eq!(report.first, Some(format!("confirmed_flush_lsn {moved}, newest checkpoint {before}")));
    assert_eq!(report.slot_ahead, 1);
    report.check().unwrap_err();
    Ok(())
}

#[test]
fn the_watchdog_grants_a_commit_the_moment_until_it_is_visible() -> Result<()> {
    let source = Source::new("watch_late")?;
    source.checkpoint(&source.confirmed()?, true)?;
    let watch = source.watch()?;
    let moved = source.advance()?;
    // The watchdog has a second; this is there sooner.
    source.checkpoint(&moved, true)?;
    let report = watch.finish()?;
    assert_eq!((report.slot_ahead, &report.first), (0, &None));
    report.check()
}

/// What the daemon says, and how far the checkpoint is, from second to second; a commit ends at 100 in the first one.
fn health_over(seconds: u64, look: impl Fn(u64) -> Sample) -> health_watch::Report {
    let begun = Instant::now();
    let mut judge = Judge::default();
    for second in 0..seconds {
        judge.look(begun + Duration::from_secs(second), &look(second));
    }
    judge.report
}

fn sample(next_lsn: u64, lags: bool, report: serde_json::Value) -> Sample {
    Sample { flushed: Some(Lsn(100)), next_lsn: Some(Lsn(next_lsn)), health: Some(Health { lags, report }) }
}

fn found(report: &health_watch::Report) -> (u64, u64, u64) {
    assert_eq!(report.found.len() as u64, report.dishonest + report.stalled + report.halted);
    (report.dishonest, report.stalled, report.halted)
}

#[test]
fn the_watchdog_of_the_health_is_silent_while_nothing_is_behind_or_all_is_said() {
    let green = || json!({ "ready": true, "state": "streaming" });
    let red = || json!({ "ready": false, "state": "retrying", "cause": "no broker answers" });
    assert_eq!(found(&health_over(100, |_| sample(100, false, green()))), (0, 0, 0), "idle");
    assert_eq!(found(&health_over(100, |second| sample(second, true, green()))), (0, 0, 0), "catching up");
    assert_eq!(found(&health_over(100, |_| sample(1, true, red()))), (0, 0, 0), "waiting, with a cause");
    let away = |second| Sample { next_lsn: (second == 0).then_some(Lsn(1)), ..sample(1, true, green()) };
    assert_eq!(found(&health_over(100, away)), (0, 0, 0), "the broker is away");
    let first_start = |_| Sample { next_lsn: None, ..sample(1, false, green()) };
    assert_eq!(found(&health_over(100, first_start)), (0, 0, 0), "no checkpoint yet");
}

#[test]
fn the_watchdog_of_the_health_finds_a_lag_that_is_not_told_of() {
    let report = || json!({ "ready": false, "state": "retrying", "cause": "no broker answers" });
    assert_eq!(found(&health_over(20, |_| sample(99, false, report()))), (0, 0, 0));
    assert_eq!(found(&health_over(21, |_| sample(99, false, report()))), (1, 0, 0));
    // A moment of truth in between is enough.
    assert_eq!(found(&health_over(30, |second| sample(99, second == 15, report()))), (0, 0, 0));
}

#[test]
fn the_watchdog_of_the_health_finds_a_connector_that_stands_still_without_a_cause() {
    let green = || json!({ "ready": true, "state": "streaming" });
    assert_eq!(found(&health_over(46, |_| sample(99, true, green()))), (0, 0, 0), "the first look is progress");
    assert_eq!(found(&health_over(47, |_| sample(99, true, green()))), (0, 1, 0));
    let silent = |_| Sample { health: None, ..sample(99, true, green()) };
    assert_eq!(found(&health_over(47, silent)), (0, 1, 0));
}

#[test]
fn the_watchdog_of_the_health_finds_each_halt_once() {
    let halted = |second| {
        let cause = if second < 5 { "slot is lost" } else { "contract is missing" };
        sample(99, true, json!({ "ready": false, "state": "halted", "cause": cause }))
    };
    assert_eq!(found(&health_over(100, halted)), (0, 0, 2));
}

#[test]
fn the_watchdog_of_the_sessions_finds_long_transactions_and_locks() -> Result<()> {
    let scenario = Stack::shared()?.scenario("sessions")?;
    let (sql, role) = (scenario.sql()?, format!("{}_role", scenario.name));
    sql.batch(&format!(
        "CREATE TABLE t (id int); CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT ALL ON t TO {role}"
    ))?;
    let address = scenario.stack.postgres.address();
    let (host, port, database) = (address.ip(), address.port(), scenario.database());
    let theirs = Sql::connect(&format!("host={host} port={port} user={role} password=secret dbname={database}"))?;
    let watched = |statements: &[&str]| {
        let watch = SessionWatch::start(scenario.sql()?, &role)?;
        statements.iter().try_for_each(|statement| theirs.batch(statement))?;
        watch.finish()
    };
    let quiet = watched(&["SELECT count(*) FROM t", "SELECT pg_sleep(0.1)"])?;
    assert!(quiet.samples > 0 && quiet.longest_s < 1.0 && quiet.locked == 0, "{quiet:?}");
    let long = watched(&["BEGIN; SELECT count(*) FROM t", "SELECT pg_sleep(1.5)", "ROLLBACK"])?;
    assert!(long.longest_s > 1.0 && long.longest.contains("pg_sleep") && long.locked == 0, "{long:?}");
    let locking = watched(&["BEGIN; LOCK TABLE t IN ROW SHARE MODE", "SELECT pg_sleep(0.2)", "ROLLBACK"])?;
    assert!(locking.locked > 0 && locking.locks.contains("RowShareLock on t"), "{locking:?}");
    sql.batch(&format!("DROP OWNED BY {role}"))?;
    drop(theirs);
    Ok(())
}

#[test]
fn a_canary_is_found_wherever_it_is_said() {
    let mut search = Search::new(["s3cret-canary".to_owned(), "Ada Lovelace".to_owned()]);
    search.look("log", "connector streams\nslot is held by pid 7");
    assert_eq!((search.hits, search.bytes), (0, 39));
    search.look("log", "cannot log in\nwith s3cret-canary\n{\"name\":\"Ada Lovelace\"}");
    search.look("/metrics", "rows{name=\"Ada Lovelace\"} 1");
    assert_eq!(search.hits, 3);
    assert_eq!(search.found[0], "log: s3cret-canary in: with s3cret-canary");
    assert_eq!(search.found[2], "/metrics: Ada Lovelace in: rows{name=\"Ada Lovelace\"} 1");
}

/// A daemon that was looked at once a second: what it held then.
fn life(seconds: u32, held: impl Fn(f64) -> (f64, f64)) -> Life {
    let samples = (0..=seconds).map(f64::from).map(|age_s| {
        let (resident_bytes, descriptors) = held(age_s);
        process_watch::Sample { age_s, resident_bytes, descriptors }
    });
    Life::of(&samples.collect::<Vec<_>>())
}

#[test]
fn the_watchdog_of_the_process_tells_growth_from_a_beginning() {
    let filling = life(1_000, |age| (64e6 + 1e6 * age.min(200.0), 80.0));
    assert_eq!((filling.resident_bytes_per_hour, filling.descriptors_per_hour), (0.0, 0.0), "{filling:?}");
    assert_eq!((filling.seconds, filling.samples, filling.resident_bytes_max), (1_000.0, 1_001, 264e6));
    let leaking = life(1_000, |age| (64e6 + 1e3 * age, 80.0 + (age / 100.0).floor()));
    assert!((leaking.resident_bytes_per_hour - 3.6e6).abs() < 1e3, "{leaking:?}");
    assert!((leaking.descriptors_per_hour - 36.0).abs() < 2.0, "{leaking:?}");
    assert_eq!(leaking.descriptors_last, 90.0);
    assert_eq!(life(0, |_| (1.0, 1.0)).resident_bytes_per_hour, 0.0);
}

#[test]
fn the_watchdog_of_the_process_looks_at_the_one_that_runs() -> Result<()> {
    let watch = ProcessWatch::start()?;
    watch.follow(std::process::id());
    let begun = Instant::now();
    poll(WITHIN, || Ok((begun.elapsed() > Duration::from_secs(4)).then_some(())))?;
    let life = watch.finish()?;
    assert!(life.samples > 1 && life.resident_bytes_last > 1e6 && life.descriptors_last > 3.0, "{life:?}");
    Ok(())
}
