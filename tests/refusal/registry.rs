//! The registry: away, without the contract, or against it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::support::Result;
use crate::support::proxy::Proxy;
use crate::support::registry::{Registry, get};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Faults: REG-01.
#[test]
fn down_at_the_start_then_up() -> Result<()> {
    let stack = Stack::shared()?;
    let scene = Scene::new("noregistry")?;
    scene.push()?;
    let url = stack.registry.url();
    let address: SocketAddr = url.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let elsewhere = stack.sandbox.port()?;
    scene.process(&address.to_string(), &elsewhere.to_string())?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "registry-unreachable", "retrying")?;
    assert_eq!(
        cause.replace(&elsewhere.to_string(), "ADDRESS"),
        "registry-unreachable: looking up the schema of subject NAME.orders-shop.OrderPlaced at http://ADDRESS/apis/ccompat/v7: io: Connection refused (os error 111) (connector NAME, contract shop/OrderPlaced/v1)"
    );
    Proxy::start(elsewhere, address)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

/// Faults: REG-04.
#[test]
fn a_contract_that_was_not_pushed() -> Result<()> {
    let scene = Scene::new("unpushed")?;
    assert_eq!(
        scene.halts("registry-refused")?,
        "registry-refused: looking up the schema of subject NAME.orders-shop.OrderPlaced: the registry said: No artifact with ID 'NAME.orders-shop.OrderPlaced' in group 'null' was found.; push it with walwright schemas push (connector NAME, contract shop/OrderPlaced/v1)"
    );
    Ok(())
}

/// Faults: REG-03.
#[test]
fn a_contract_that_breaks_its_readers() -> Result<()> {
    let scene = Scene::new("breaking")?;
    scene.push()?;
    scene.replace(
        "schemas/shop/OrderPlaced/v1.avsc",
        "\"name\": \"id\", \"type\": \"long\"",
        "\"name\": \"id\", \"type\": \"string\"",
    )?;
    let said = scene.complaint(&["schemas", "push"], 1)?;
    let (said, differences) = said.split_once("list of diff types: [").unwrap_or((&said, ""));
    assert_eq!(
        said,
        "error: registry-refused: registering the schema of subject NAME.orders-shop.OrderPlaced: the registry said: io.apicurio.registry.rules.RuleViolationException: Incompatible artifact: NAME.orders-shop.OrderPlaced [AVRO], num of incompatible diffs: {2}, "
    );
    // The registry names the two directions in an order of its own.
    for (reader, writer) in [("STRING", "LONG"), ("LONG", "STRING")] {
        let difference = format!("reader type: {reader} not compatible with writer type: {writer} at /fields/1/type");
        assert!(differences.contains(&difference), "{differences}");
    }
    assert_eq!(
        scene.halts("registry-refused")?,
        "registry-refused: looking up the schema of subject NAME.orders-shop.OrderPlaced: the registry said: The given schema does not match any schema under the subject NAME.orders-shop.OrderPlaced; push it with walwright schemas push (connector NAME, contract shop/OrderPlaced/v1)"
    );
    Ok(())
}

#[test]
fn the_subject_gets_its_compatibility() -> Result<()> {
    let scene = Scene::new("level")?;
    scene.push()?;
    let url = format!("{}/config/{}-shop.OrderPlaced", Stack::shared()?.registry.url(), scene.topic("orders"));
    let answer = get(&url)?;
    assert!(answer.contains("FULL_TRANSITIVE"), "{answer}");
    Ok(())
}

/// Faults: PG-02, REG-01.
#[test]
fn a_registry_that_goes_away_is_missed_at_a_start_only() -> Result<()> {
    let stack = Stack::shared()?;
    let mut registry = Registry::start(&stack.sandbox)?;
    let scene = Scene::on("registry_gone", &stack.postgres, &stack.kafka, registry.url())?;
    let mut daemon = scene.open()?;
    scene.insert(1, 10)?;
    let mut reader = scene.reader("orders")?;
    let mut seen = reader.read(10, WITHIN)?;
    registry.kill_hard()?;
    scene.insert(11, 20)?;
    seen.extend(reader.read(10, WITHIN)?);

    // A session that is lost and begun anew needs no registry either.
    let walsender = format!(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{}'",
        scene.slot()
    );
    assert!(scene.sql()?.value::<bool>(&walsender)?);
    scene.insert(21, 30)?;
    seen.extend(reader.read(10, WITHIN)?);

    daemon.kill_hard()?;
    scene.insert(31, 40)?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "registry-unreachable", "retrying")?,
        "registry-unreachable: looking up the schema of subject NAME.orders-shop.OrderPlaced at REGISTRY: io: Connection refused (os error 111) (connector NAME, contract shop/OrderPlaced/v1)"
    );
    // It comes back without what it knew, and a daemon that asks before the push would halt.
    daemon.kill_hard()?;
    registry.restart()?;
    let daemon = scene.open()?;
    seen.extend(reader.read(10, WITHIN)?);
    scene.finish(daemon)?;
    assert_eq!(seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect::<BTreeSet<_>>(), (1..=40).collect());
    assert_eq!(scene.read_all("orders")?.len(), 40);
    Ok(())
}

/// Faults REG-02, REG-09.
#[test]
fn a_registry_that_answers_nonsense_is_waited_out() -> Result<()> {
    let stack = Stack::shared()?;
    let scene = Scene::new("nonsense")?;
    scene.push()?;
    let url = stack.registry.url();
    let address: SocketAddr = url.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let front = stack.sandbox.port()?;
    scene.process(&address.to_string(), &front.to_string())?;
    let answers = [
        (
            "HTTP/1.1 500 x\r\ncontent-length: 43\r\n\r\n{\"error_code\":50001,\"message\":\"in trouble\"}",
            "the registry answered 500: in trouble",
        ),
        ("HTTP/1.1 503 x\r\nretry-after: 86400\r\ncontent-length: 4\r\n\r\nbusy", "status 503, body 'busy'"),
        ("HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "status 307, body ''"),
        ("HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n{\"id\": 1,", "status 200, body '{\"id\": 1,'"),
        ("HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n{\"id\"", "disconnected"),
    ];
    let (mut daemon, name) = (scene.launch()?, scene.name.clone());
    for (answer, told) in answers {
        let (heard, told_so) = channel();
        thread::scope(|scope| -> Result<()> {
            let listener = TcpListener::bind(front)?;
            listener.set_nonblocking(true)?;
            let answering = scope.spawn(move || {
                while told_so.recv_timeout(Duration::from_millis(20)).is_err() {
                    let Ok((mut client, _)) = listener.accept() else { continue };
                    let mut answer = || -> std::io::Result<usize> {
                        client.set_nonblocking(false)?;
                        client.set_read_timeout(Some(Duration::from_millis(200)))?;
                        client.write_all(answer.as_bytes())?;
                        client.shutdown(Shutdown::Write)?;
                        // The question, so that hanging up does not take the answer with it.
                        client.read_to_end(&mut Vec::new())
                    };
                    // Where it goes wrong, the next attempt is answered.
                    drop(answer());
                }
            });
            let told = daemon.wait_report(&name, WITHIN, |report| {
                report["kind"] == "registry-unreachable"
                    && report["cause"].as_str().is_some_and(|cause| cause.contains(told))
            });
            heard.send(())?;
            answering.join().unwrap();
            assert_eq!(told?["state"], "retrying");
            Ok(())
        })?;
    }
    Proxy::start(front, address)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}
