//! The courses of events.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use walwright::faults::Failpoint;

use super::reading::{ROWS, Reading};
use crate::support::fault::Fault;
use crate::support::process::is_stopped;
use crate::support::scene::WITHIN;
use crate::support::sql::Sql;
use crate::support::{Result, poll};

/// How long something is looked for that must not come.
pub(super) const LOOK: Duration = Duration::from_millis(1_500);
pub(super) const WALSENDER: &str = "SELECT pid FROM pg_stat_replication";

pub(super) fn invisible(reading: &mut Reading, killed: bool) -> Result<()> {
    let before = reading.start_and_wait()?;
    reading.commit_invisibly(
        "INSERT INTO orders VALUES (999999, 'NEW', 1, 'unseen'); UPDATE orders SET note = 'unseen' WHERE id IN (10, 5000)",
    )?;
    reading.until("it is covered", || Ok(reading.covered()? >= 3.0))?;
    if killed {
        passed_and_killed(reading)?;
    }
    before.batch("ROLLBACK")?;
    read_later(reading)?;
    reading.release()
}

/// The daemon is killed once its checkpoint has passed all that was committed, and started again.
pub(super) fn passed_and_killed(reading: &mut Reading) -> Result<()> {
    let end: String = reading.sql()?.value("SELECT pg_current_wal_flush_lsn()::text")?;
    let end = end.parse()?;
    reading.until("what is committed is passed", || {
        Ok(reading.scene.state()?.checkpoint.is_some_and(|checkpoint| checkpoint.next_lsn >= end))
    })?;
    reading.kill()?;
    reading.start(None)?;
    reading.daemon()?.wait_ready(WITHIN)
}

/// No snapshot sees what it must; with a mistake one may have been taken.
pub(super) fn read_later(reading: &mut Reading) -> Result<()> {
    let log = reading.daemon()?.log_file();
    reading.until("the range is read later, or was read", || {
        let later = std::fs::read_to_string(&log)?.contains("committed transactions are not visible yet");
        Ok(later || reading.is_read()?)
    })
}

pub(super) fn invisible_later(reading: &mut Reading) -> Result<()> {
    let before = reading.start_and_wait()?;
    reading.signal(WALSENDER, Signal::STOP)?;
    reading.commit_invisibly("UPDATE orders SET note = 'unseen' WHERE id = 10")?;
    before.batch("ROLLBACK")?;
    reading.until("the rows are published", || Ok(reading.published()? >= ROWS as f64))?;
    reading.signal(WALSENDER, Signal::CONT)?;
    reading.release()
}

pub(super) fn pending(reading: &mut Reading) -> Result<()> {
    let before = reading.start_and_wait()?;
    reading.sql()?.batch("INSERT INTO orders VALUES (999999, 'NEW'); UPDATE orders SET note = 'late' WHERE id = 10")?;
    reading.until("it is covered, or published", || Ok(reading.covered()? + reading.published()? >= 2.0))?;
    before.batch("ROLLBACK")
}

pub(super) fn before_slot(reading: &mut Reading) -> Result<()> {
    reading.make_slot()?;
    reading.commit_invisibly("INSERT INTO orders VALUES (999999, 'NEW')")?;
    let advance = "SELECT pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
    reading.sql()?.query(advance, &[&reading.scene.slot()])?;
    reading.start(None)?;
    waits(reading)?;
    reading.release()
}

/// The snapshot waits; with a mistake it may have been taken.
fn waits(reading: &mut Reading) -> Result<()> {
    let log = reading.daemon()?.log_file();
    reading.until("the snapshot waits, or was taken", || {
        let waits = std::fs::read_to_string(&log)?.contains("a snapshot waits for transactions");
        Ok(waits || reading.is_read()?)
    })
}

pub(super) fn added_table(reading: &mut Reading) -> Result<()> {
    let (scene, sql) = (&reading.scene, reading.sql()?);
    sql.batch(&format!(
        "CREATE TABLE added (LIKE orders INCLUDING ALL); INSERT INTO added SELECT * FROM orders;
         GRANT SELECT ON added TO {}",
        scene.name
    ))?;
    reading.start(None)?;
    reading.until("the first table is read", || reading.is_read())?;
    reading.daemon.take().map_or(Ok(()), |daemon| reading.scene.finish(daemon))?;
    let late = reading.sql()?;
    late.batch("BEGIN; INSERT INTO added VALUES (999999, 'NEW')")?;
    sql.batch(&format!("ALTER PUBLICATION {} ADD TABLE added", reading.scene.slot()))?;
    let path = format!("connectors/{}.toml", reading.scene.name);
    let own = std::fs::read_to_string(reading.scene.folder.join(path))?;
    let event = own[own.find("[[event]]").ok_or("no event")?..].replace("public.orders", "public.added");
    reading.scene.connector_more(&format!(
        "\n[[topic]]\nname = \"added\"\ncreate = {{ partitions = 1, replication = 1 }}\n\n{}",
        event.replace("topic = \"orders\"", "topic = \"added\"")
    ))?;
    reading.table = "added";
    reading.scene.push()?;
    reading.start(None)?;
    waits(reading)?;
    // The stream does not wait.
    sql.batch("INSERT INTO orders VALUES (999999, 'NEW')")?;
    reading.scene.read("orders", usize::try_from(ROWS)? + 1)?;
    late.batch("COMMIT")
}

pub(super) fn unflushed(reading: &mut Reading) -> Result<()> {
    let before = reading.start_and_wait()?;
    reading.signal("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'", Signal::STOP)?;
    let sql = reading.sql()?;
    sql.batch("SET synchronous_commit = off; INSERT INTO orders VALUES (0, 'LOST')")?;
    before.batch("ROLLBACK")?;
    reading.until("a worker asks what is flushed", || {
        let asks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%wal_flush_lsn()::text' AND pid <> pg_backend_pid()";
        Ok(sql.value::<i64>(asks)? > 0)
    })?;
    // All of it lies in the log behind what is not flushed.
    poll(LOOK, || Ok(Some(reading.published()?).filter(|count| *count > 0.0)))?;
    reading.postgres.stop(crate::support::postgres::Stop::Immediate)?;
    reading.postgres.restart()?;
    let lost: i64 = reading.sql()?.value("SELECT count(*) FROM orders WHERE id = 0")?;
    if lost > 0 {
        return Err("the server has flushed what it was to lose".into());
    }
    reading.sql()?.batch("INSERT INTO orders VALUES (999998, 'NEW')")
}

/// The statements take the table's lock, and keep it until a worker waits for it who has not asked for it yet.
pub(super) fn behind_the_lock(reading: &mut Reading, statements: &str) -> Result<()> {
    reading.start(Some(Fault::stop(Failpoint::ChunkSplit, 1)))?;
    stopped(reading)?;
    let (locker, watch) = (reading.sql()?, reading.sql()?);
    locker.batch(statements)?;
    reading.daemon()?.signal(Signal::CONT)?;
    reading.until("a worker waits for the lock", || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted";
        Ok(watch.query(waiting, &[&"orders"])?[0].get::<_, i64>(0) > 0)
    })?;
    // What is delivered first is in the unseen set, and no snapshot is taken that does not see it.
    reading.signal(WALSENDER, Signal::STOP)?;
    locker.batch("COMMIT")?;
    reading.until("rows are published", || Ok(reading.published()? >= 500.0))?;
    reading.signal(WALSENDER, Signal::CONT).map(drop)
}

/// The daemon stands still.
pub(super) fn stopped(reading: &mut Reading) -> Result<()> {
    let id = reading.daemon()?.id();
    reading.until("the daemon stands still", || is_stopped(id))
}

pub(super) fn held(reading: &mut Reading, which: &str) -> Result<()> {
    reading.sql()?.batch("UPDATE orders SET note = repeat(md5(id::text), 125)")?;
    reading.start(Some(Fault::stop(Failpoint::ChunkOffered, 1)))?;
    stopped(reading)?;
    reading.sql()?.batch(&format!(
        "UPDATE orders SET note = reverse(note) WHERE {which}; INSERT INTO orders VALUES (0, 'NEW')"
    ))?;
    reading.daemon()?.signal(Signal::CONT)
}

pub(super) fn forgotten(reading: &mut Reading) -> Result<()> {
    let before = reading.start_and_wait()?;
    reading.signal(WALSENDER, Signal::STOP)?;
    let sql = reading.sql()?;
    sql.batch("INSERT INTO orders VALUES (999999, 'NEW'); UPDATE orders SET note = 'read' WHERE id = 7")?;
    before.batch("ROLLBACK")?;
    let all = ROWS as f64 + 1.0;
    reading.until("the rows are published", || Ok(reading.published()? >= all))?;
    reading.kill()?;
    reading.signal(WALSENDER, Signal::CONT)?;
    reading.start(Some(Fault::kill(Failpoint::SnapshotForgotten, 1)))?;
    dies(reading)?;
    reading.start(None)
}

/// Waits until the daemon is dead, or has read everything without coming there.
pub(super) fn dies(reading: &mut Reading) -> Result<bool> {
    let dead =
        |reading: &Reading| reading.daemon.as_ref().is_none_or(|d| d.ends_within(Duration::ZERO).unwrap_or(true));
    let mut end = None;
    reading.until("the daemon dies, or has read everything", || {
        end = Some(dead(reading)).filter(|dead| *dead);
        Ok(end.is_some() || reading.daemon.as_ref().is_some_and(|d| d.get("/readyz").is_ok()) && reading.is_read()?)
    })?;
    let died = end.is_some() || dead(reading);
    reading.kill()?;
    Ok(died)
}

pub(super) fn progress_apart(reading: &mut Reading) -> Result<()> {
    for count in 1..=4 {
        reading.start(Some(Fault::kill(Failpoint::ProgressSent, count)))?;
        if !dies(reading)? {
            break;
        }
    }
    reading.start(None)
}

pub(super) fn killed(reading: &mut Reading, fault: Fault) -> Result<()> {
    let died = while_written(reading, |reading| {
        reading.start(Some(fault))?;
        dies(reading)
    })?;
    if !died {
        return Err(format!("{fault} was not reached").into());
    }
    reading.start(None)
}

/// What `body` gives, while rows are inserted and changed.
pub(super) fn while_written<T>(reading: &mut Reading, body: impl FnOnce(&mut Reading) -> Result<T>) -> Result<T> {
    let ended = AtomicBool::new(false);
    let writer = reading.sql()?;
    std::thread::scope(|scope| {
        let _end = Ended(&ended);
        let written = scope.spawn(|| -> Result<()> {
            let next = AtomicI64::new(1_000_000);
            while !ended.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let old = id % ROWS + 1;
                writer.batch(&format!(
                    "INSERT INTO orders VALUES ({id}, 'NEW'); UPDATE orders SET note = '{id}' WHERE id = {old}"
                ))?;
            }
            Ok(())
        });
        let got = body(reading);
        ended.store(true, Ordering::Relaxed);
        written.join().map_err(|_| "a writer panicked")??;
        got
    })
}

/// Commits become visible 20 ms after they were streamed, as they do where a standby is slow.
pub(super) fn starvation(reading: &mut Reading) -> Result<()> {
    const WRITERS: i64 = 48;
    let (ended, running, written) = (AtomicBool::new(false), AtomicI64::new(WRITERS), AtomicI64::new(0));
    let writer = |sql: Sql, first: i64| {
        let mut id = first;
        while !ended.load(Ordering::Relaxed) {
            // What is cancelled before it waits is rolled back.
            let old = id * 7_919 % ROWS + 1;
            let one = sql.batch(&format!(
                "BEGIN; INSERT INTO orders VALUES (-{id}, 'NEW'), ({id} + {ROWS}, 'NEW');
                 UPDATE orders SET note = '{id}' WHERE id = {old}; COMMIT"
            ));
            if one.is_err() {
                drop(sql.batch("ROLLBACK"));
            }
            written.fetch_add(i64::from(one.is_ok()), Ordering::Relaxed);
            id += WRITERS;
        }
        running.fetch_sub(1, Ordering::Relaxed);
    };
    let releaser = |sql: Sql| -> Result<()> {
        while running.load(Ordering::Relaxed) > 0 {
            let release = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            sql.batch(&format!("{release}; SELECT pg_sleep(0.02)"))?;
        }
        Ok(())
    };
    let mut sessions = Vec::new();
    for first in 1..=WRITERS {
        let sql = reading.sql()?;
        sql.batch("SET synchronous_commit = on")?;
        sessions.push((sql, first));
    }
    let watch = reading.sql()?;
    reading.make_slot()?;
    std::thread::scope(|scope| {
        let _end = Ended(&ended);
        let released = scope.spawn(|| releaser(watch));
        let writer = &writer;
        sessions.into_iter().for_each(|(sql, first)| drop(scope.spawn(move || writer(sql, first))));
        reading.start(None)?;
        let begun = std::time::Instant::now();
        reading.until("all is read", || reading.is_read())?;
        let (seconds, count) = (begun.elapsed().as_secs_f64(), written.load(Ordering::Relaxed));
        println!(
            "read after {seconds:.1} s, {count} transactions meanwhile, {:.0} changes covered",
            reading.covered()?
        );
        ended.store(true, Ordering::Relaxed);
        released.join().map_err(|_| "the releaser panicked")?
    })
}

/// Ends the writers when it goes.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) fn switched(reading: &mut Reading) -> Result<()> {
    reading.start(Some(Fault::stop(Failpoint::ChunkSplit, 1)))?;
    stopped(reading)?;
    // It writes a record of its own, which is flushed soon, within 15 s of any other.
    let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'";
    reading.signal(writer, Signal::STOP)?;
    reading.sql()?.batch("SELECT pg_switch_wal()")?;
    reading.daemon()?.signal(Signal::CONT)?;
    let published = reading.until("the rows are published", || Ok(reading.published()? >= ROWS as f64));
    reading.signal(writer, Signal::CONT)?;
    published
}
