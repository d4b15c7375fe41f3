//! docs/from-debezium.md, "Taking over the slot": another consumer of pgoutput has read a slot, stops, and we go on there.

use std::process::Command;

use rustix::process::Signal;
use walwright::model::Lsn;

use crate::support::process::{Farewell, Process};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll};

/// A client of the slot as Debezium is one: streams pgoutput and confirms what it has written.
fn other_consumer(scene: &Scene, publication: &str) -> Result<Process> {
    let stack = Stack::shared()?;
    let mut client = Command::new(stack.postgres.program("pg_recvlogical"));
    client.args(["--dbname", &stack.postgres.connection(&scene.name), "--slot", &scene.slot(), "--start"]);
    client.args(["-o", "proto_version=1", "-o", &format!("publication_names={publication}"), "--no-loop"]);
    client.args(["--status-interval=1", "--fsync-interval=1", "--file"]).arg(scene.folder.join("received"));
    let log = stack.sandbox.log(&format!("{}-other", scene.name))?;
    Process::spawn("the other consumer", client, &log, Farewell::Kill)
}

/// One order, and where the WAL ends behind it.
fn place(scene: &Scene, id: i64) -> Result<Lsn> {
    scene.insert(id, id)?;
    Ok(scene.sql()?.value::<String>("SELECT pg_current_wal_insert_lsn()::text")?.parse()?)
}

fn confirmed(scene: &Scene) -> Result<(Lsn, bool)> {
    let slot = scene.slot();
    let of = |what: &str| format!("SELECT {what} FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let position: String = scene.sql()?.value(&of("confirmed_flush_lsn::text"))?;
    Ok((position.parse()?, scene.sql()?.value(&of("active"))?))
}

/// Faults: DDL-01.
#[test]
fn a_slot_goes_from_one_consumer_to_the_next_without_loss() -> Result<()> {
    let scene = Scene::new("takeover")?;
    let (sql, name, old) = (scene.sql()?, &scene.name, format!("dbz_{}", scene.name));
    // As Debezium makes them: a publication of all tables, then the slot.
    sql.batch(&format!("DROP PUBLICATION walwright_{name}; CREATE PUBLICATION {old} FOR ALL TABLES"))?;
    sql.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&scene.slot()])?;
    let mut other = other_consumer(&scene, &old)?;
    let mut ends = (1..=3).map(|id| place(&scene, id)).collect::<Result<Vec<_>>>()?;
    let third = *ends.last().ok_or("no order")?;
    let heard = poll(WITHIN, || Ok((confirmed(&scene)?.0 >= third).then_some(())))?;
    heard.ok_or_else(|| other.fault("confirms nothing"))?;

    // What is placed just before the end may be confirmed or not; what comes behind it nobody has read.
    ends.push(place(&scene, 4)?);
    other.signal(Signal::TERM)?;
    other.wait(WITHIN)?;
    ends.push(place(&scene, 5)?);
    sql.batch(&format!("CREATE PUBLICATION walwright_{name} FOR TABLE orders"))?;
    ends.push(place(&scene, 6)?);
    poll(WITHIN, || Ok((!confirmed(&scene)?.1).then_some(())))?.ok_or("the slot stays active")?;
    let (from, _) = confirmed(&scene)?;
    let first = 1 + ends.iter().filter(|end| **end <= from).count();
    assert!(matches!(first, 4 | 5), "confirmed is {from}, orders end at {ends:?}");

    scene.connector("[snapshot]", "adopt_slot = true\n\n[snapshot]")?;
    scene.push()?;
    assert!(
        scene.says(&["check", "--live"])?.contains("start: the slot that is there will be used, from its confirmed")
    );
    // A publication that is younger than the slot's position cannot be read there.
    let said = scene.halts("publication-missing")?;
    assert!(said.contains("did not exist when the next change was made"), "{said}");
    assert_eq!(confirmed(&scene)?.0, from, "a halt confirms nothing");

    scene.connector(&format!("publication = \"walwright_{name}\""), &format!("publication = \"{old}\""))?;
    let daemon = scene.start()?;
    scene.insert(7, 7)?;
    let seen = scene.read("orders", 8 - first)?;
    scene.finish(daemon)?;
    let mut ids: Vec<_> = seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (i64::try_from(first)?..=7).collect::<Vec<_>>());
    assert_eq!(scene.read_all("orders")?.len(), ids.len());

    // The file goes on with a publication of its own, once the slot is past that one's creation.
    scene.connector(&format!("publication = \"{old}\""), &format!("publication = \"walwright_{name}\""))?;
    scene.connector("adopt_slot = true\n", "")?;
    let daemon = scene.start()?;
    scene.insert(8, 8)?;
    scene.read("orders", 9 - first)?;
    scene.finish(daemon)
}
