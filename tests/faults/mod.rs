//! Faults of the matrix (`docs/fault-matrix.md`) that belong to no other family of tests.

mod clock;
mod cluster;
mod kafka;
mod kills;
mod network;
mod process;
mod registry;
mod slots;
mod source;
mod tables;
mod transactions;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::fault::{FAILPOINT, Fault};
use crate::support::process::is_stopped;
use crate::support::scene::{Scene, WITHIN, place};
use crate::support::sql::Sql;
use crate::support::{Result, poll};

/// A daemon that has published the order 1.
fn opened(scene: &Scene) -> Result<Daemon> {
    let daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    Ok(daemon)
}

/// Publishes the last of the orders `1..=last`, stops, and sees that each is there once.
fn ends_well(scene: &Scene, daemon: Daemon, last: i64) -> Result<()> {
    scene.insert(last, last)?;
    scene.read("orders", usize::try_from(last)?)?;
    scene.finish(daemon)?;
    scene.exactly(last)
}

/// Starts a daemon on which this comes at a failpoint.
fn with_fault(scene: &Scene, fault: Fault) -> Result<Daemon> {
    scene.launch_with(&[(FAILPOINT, &fault.to_string())])
}

/// Waits until the daemon stands still at its failpoint.
fn stands_still(daemon: &Daemon) -> Result<()> {
    let stopped = poll(WITHIN, || Ok(is_stopped(daemon.id())?.then_some(())))?;
    stopped.ok_or_else(|| "it does not come to its failpoint".into())
}

/// Lets time pass where it is time itself that must not matter, or does.
fn pass(time: Duration) -> Result<()> {
    let begun = Instant::now();
    poll(time * 2, || Ok((begun.elapsed() >= time).then_some(())))?.ok_or_else(|| "time does not pass".into())
}

/// Does something while orders behind `last` are placed all the time; the last one placed.
fn while_placing(sql: &Sql, last: i64, deed: impl FnOnce(&AtomicI64) -> Result<()>) -> Result<i64> {
    let (last, (going, over)) = (AtomicI64::new(last), channel::<()>());
    std::thread::scope(|scope| {
        let placed = &last;
        let writer = scope.spawn(move || place_until(sql, placed, &over));
        let done = deed(placed);
        drop(going);
        writer.join().map_err(|_| "the writer panicked")??;
        done
    })?;
    Ok(last.into_inner())
}

/// Inserts orders behind `last`, which follows, until nobody has the other end any more.
fn place_until(sql: &Sql, last: &AtomicI64, over: &Receiver<()>) -> Result<()> {
    while over.try_recv() != Err(TryRecvError::Disconnected) {
        let next = last.load(Ordering::Relaxed) + 1;
        place(sql, next, next)?;
        last.store(next, Ordering::Relaxed);
    }
    Ok(())
}

/// The orders that the topic has, each of which must be there once.
fn published(scene: &Scene) -> Result<BTreeSet<i64>> {
    let seen = scene.read_all("orders")?;
    let ids: BTreeSet<_> = seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect();
    assert_eq!(ids.len(), seen.len(), "an order is there twice");
    Ok(ids)
}

/// The process that sends, where the slot is read.
fn walsender(scene: &Scene) -> Result<Option<i32>> {
    let holder = format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot());
    scene.sql()?.value(&holder)
}
