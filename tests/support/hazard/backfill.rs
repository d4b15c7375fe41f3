//! The courses in which a table is read again, beside its stream.

use rustix::process::Signal;
use walwright::faults::Failpoint;

use super::course::{LOOK, WALSENDER, dies, passed_and_killed, read_later, stopped, while_written};
use super::reading::Reading;
use crate::support::fault::Fault;
use crate::support::scene::WITHIN;
use crate::support::sql::Sql;
use crate::support::{Result, poll};

fn streaming(reading: &mut Reading, fault: Option<Fault>) -> Result<()> {
    reading.only_streams()?;
    reading.start(fault)?;
    reading.daemon()?.wait_ready(WITHIN)
}

/// Asks for a backfill that cannot begin before a transaction has ended.
fn ask_and_wait(reading: &mut Reading) -> Result<Sql> {
    let before = reading.sql()?;
    before.batch("BEGIN; SELECT pg_current_xact_id()")?;
    reading.ask()?;
    waits(reading)?;
    Ok(before)
}

/// The backfill waits for a transaction that began before it; with a mistake it may have been taken.
fn waits(reading: &Reading) -> Result<()> {
    reading.until("the backfill waits, or was taken", || {
        Ok(reading.waits_for()?.contains("which began before it") || reading.is_read()?)
    })
}

pub(super) fn invisible(reading: &mut Reading) -> Result<()> {
    streaming(reading, None)?;
    reading.commit_invisibly("UPDATE orders SET note = 'unseen' WHERE id IN (10, 5000)")?;
    reading.until("it is published", || Ok(reading.published()? >= 2.0))?;
    reading.ask()?;
    waits(reading)?;
    reading.release()
}

pub(super) fn unseen(reading: &mut Reading, killed: bool) -> Result<()> {
    streaming(reading, None)?;
    let before = ask_and_wait(reading)?;
    reading.commit_invisibly("UPDATE orders SET note = 'unseen' WHERE id IN (10, 5000)")?;
    reading.until("it is published", || Ok(reading.published()? >= 2.0))?;
    if killed {
        passed_and_killed(reading)?;
    }
    before.batch("ROLLBACK")?;
    read_later(reading)?;
    reading.release()
}

pub(super) fn held(reading: &mut Reading) -> Result<()> {
    streaming(reading, Some(Fault::stop(Failpoint::ChunkOffered, 1)))?;
    let before = ask_and_wait(reading)?;
    before.batch("ROLLBACK")?;
    stopped(reading)?;
    reading.sql()?.batch("UPDATE orders SET note = 'changed' WHERE id <= 100; INSERT INTO orders VALUES (0, 'NEW')")?;
    reading.daemon()?.signal(Signal::CONT)
}

pub(super) fn ahead(reading: &mut Reading) -> Result<()> {
    streaming(reading, None)?;
    reading.sql()?.batch("UPDATE orders SET note = 'first' WHERE id = 10")?;
    reading.until("it is published", || Ok(reading.published()? >= 1.0))?;
    let before = ask_and_wait(reading)?;
    reading.signal(WALSENDER, Signal::STOP)?;
    reading.sql()?.batch("UPDATE orders SET note = 'second' WHERE id = 10")?;
    before.batch("ROLLBACK")?;
    poll(LOOK, || Ok(Some(reading.published()?).filter(|count| *count > 1.0)))?;
    reading.signal(WALSENDER, Signal::CONT).map(drop)
}

pub(super) fn killed(reading: &mut Reading, fault: Fault) -> Result<()> {
    streaming(reading, None)?;
    // What it notes when it starts first is written with the first change.
    reading.sql()?.batch("UPDATE orders SET note = 'first' WHERE id = 10")?;
    reading.until("it is published", || Ok(reading.published()? >= 1.0))?;
    reading.kill()?;
    let (taken, died) = while_written(reading, |reading| {
        reading.start(Some(fault))?;
        reading.daemon()?.wait_ready(WITHIN)?;
        // It may die before it answers.
        let taken = reading.ask();
        Ok((taken.is_ok(), dies(reading)?))
    })?;
    if !died {
        return Err(format!("{fault} was not reached").into());
    }
    reading.start(None)?;
    reading.daemon()?.wait_ready(WITHIN)?;
    match (reading.is_asked()?, taken) {
        (true, _) => Ok(()),
        (false, true) => Err("a backfill that was taken is forgotten".into()),
        (false, false) => reading.ask(),
    }
}
