//! A failover slot (since Postgres 17): copied to a standby while the daemon reads, and read on there after a promotion.

use std::collections::BTreeSet;

use crate::support::postgres::{Options, Postgres, SUPERUSER, Stop, Version};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

/// Faults: PG-14.
#[test]
#[ignore = "test-full: on Postgres 17"]
fn the_slot_is_there_after_a_promotion_on_17() -> Result<()> {
    goes_on_after_a_promotion(17)
}

/// Faults: PG-14.
#[test]
#[ignore = "test-full: on Postgres 18"]
fn the_slot_is_there_after_a_promotion_on_18() -> Result<()> {
    goes_on_after_a_promotion(18)
}

/// A primary whose failover slots send nothing that the standby lacks, and that standby.
fn pair(major: u32) -> Result<(Postgres, Postgres)> {
    let mut primary = Postgres::start(&Stack::shared()?.sandbox, Options::version(Version::Major(major)))?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    primary.restart()?;
    primary.sql(SUPERUSER)?.batch("SELECT pg_create_physical_replication_slot('standby', true)")?;
    primary.set("synchronized_standby_slots", "standby");
    primary.restart()?;
    standby.follow(&primary)?;
    // With the database, for the worker that copies the slots.
    standby.set("primary_conninfo", &primary.socket_connection(SUPERUSER));
    standby.set("primary_slot_name", "standby");
    standby.set("hot_standby_feedback", "on");
    standby.set("sync_replication_slots", "on");
    standby.restart()?;
    Ok((primary, standby))
}

fn ids(scene: &Scene) -> Result<Vec<i64>> {
    Ok(scene.sql()?.query("SELECT id FROM orders ORDER BY id", &[])?.iter().map(|row| row.get(0)).collect())
}

fn goes_on_after_a_promotion(major: u32) -> Result<()> {
    let stack = Stack::shared()?;
    let (mut primary, standby) = pair(major)?;
    let mut scene = Scene::on(&format!("failover_{major}"), &primary, &stack.kafka, stack.registry.url())?;
    let mut daemon = scene.open()?;
    scene.insert(1, 10)?;
    scene.read("orders", 10)?;
    let slot = format!("FROM pg_replication_slots WHERE slot_name = '{}'", scene.slot());
    assert!(scene.sql()?.value::<bool>(&format!("SELECT failover {slot}"))?);
    let copied = format!("SELECT count(*) {slot} AND synced AND NOT temporary AND invalidation_reason IS NULL");
    let there = || Ok((standby.sql(SUPERUSER)?.value::<i64>(&copied)? == 1).then_some(()));
    poll(WITHIN, there)?.ok_or("the slot is not copied to the standby")?;

    // The primary is lost in the middle of its work. What it had not sent to the standby is lost with it.
    scene.watched()?;
    let sql = scene.sql()?;
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| (11..).find(|id| sql.batch(&format!("INSERT INTO orders VALUES ({id}, 'NEW')")).is_err()));
        scene.read("orders", 100)?;
        primary.kill_hard()?;
        let last = writer.join().map_err(|_| "the writer panicked")?;
        println!("the primary was lost at order {}", last.unwrap_or_default());
        Ok::<_, crate::support::Fault>(())
    })?;
    scene.cause(&mut daemon, "postgres-unreachable", "retrying")?;
    daemon.kill_hard()?;

    assert!(standby.sql(SUPERUSER)?.value::<bool>("SELECT pg_promote()")?);
    scene.move_to(&primary, &standby)?;
    let survived = ids(&scene)?;
    let daemon = scene.start()?;
    let next = survived.iter().max().unwrap_or(&0) + 1;
    scene.insert(next, next + 9)?;
    let expected = ids(&scene)?;
    scene.read("orders", expected.len())?;
    scene.finish(daemon)?;
    let seen = scene.read_all("orders")?;
    let published: BTreeSet<_> = seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect();
    assert_eq!((seen.len(), published), (expected.len(), expected.into_iter().collect()));
    assert_eq!(scene.state()?.checkpoint.map(|checkpoint| checkpoint.timeline), Some(2));
    Ok(())
}
