//! The registry: away, without the contract, or against it.

use std::io::copy;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::Result;
use crate::support::registry::get;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// Answers at `from` with what the server at `to` says, until the test process ends.
#[allow(clippy::disallowed_methods, reason = "the proxy ends with the test process")]
fn forward(from: SocketAddr, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(from)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(to) else { continue };
            let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { continue };
            let (mut to_client, mut from_server) = (client, server);
            thread::spawn(move || drop(copy(&mut from_client, &mut to_server)));
            thread::spawn(move || drop(copy(&mut from_server, &mut to_client)));
        }
    });
    Ok(())
}

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
    forward(elsewhere, address)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

#[test]
fn a_contract_that_was_not_pushed() -> Result<()> {
    let scene = Scene::new("unpushed")?;
    assert_eq!(
        scene.halts("registry-refused")?,
        "registry-refused: looking up the schema of subject NAME.orders-shop.OrderPlaced: the registry said: No artifact with ID 'NAME.orders-shop.OrderPlaced' in group 'null' was found.; push it with walwright schemas push (connector NAME, contract shop/OrderPlaced/v1)"
    );
    Ok(())
}

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
