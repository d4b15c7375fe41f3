//! What the cluster's access control denies: each right that a connector needs taken away, named, and given again.

use super::brokers::{PLAIN_PASSWORD, Right, Secured, needed, with_password, words};
use crate::support::Result;
use crate::support::scene::{Scene, WITHIN};

const PASSWORD: &str = "gesalzen";

/// A scene of a user of its own, with all rights but those that `denied` picks; the rights that are missing.
fn scene(name: &str, denied: impl Fn(&Right) -> bool) -> Result<(Scene, Vec<Right>)> {
    let secured = Secured::shared()?;
    let principal = format!("User:{name}");
    let (missing, given): (Vec<Right>, Vec<Right>) =
        needed(&principal, name)?.into_iter().partition(|right| denied(right));
    let user = ["user", name, PASSWORD];
    let given: Vec<Vec<&str>> = given.iter().map(|right| words("allow", right)).collect();
    let changes: Vec<&[&str]> = std::iter::once(&user[..]).chain(given.iter().map(Vec::as_slice)).collect();
    secured.kafka.access(&changes)?;
    Ok((with_password(name, "SASL", "SCRAM-SHA-512", name, PASSWORD)?, missing))
}

fn change(verb: &str, rights: &[Right]) -> Result<()> {
    let rights: Vec<Vec<&str>> = rights.iter().map(|right| words(verb, right)).collect();
    Secured::shared()?.kafka.access(&rights.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// What the daemon says without these rights at its start; with them it goes on by itself and everything arrives once.
fn denied(name: &str, denied: impl Fn(&Right) -> bool) -> Result<String> {
    let (scene, missing) = scene(name, denied)?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
    change("allow", &missing)?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 3)?;
    scene.read("orders", 3)?;
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), 3);
    Ok(cause)
}

fn is(right: &Right, name: &str, operation: &str) -> bool {
    right[3].contains(name) && right[4] == operation
}

/// Faults: KF-12.
#[test]
fn without_the_transactional_id() -> Result<()> {
    let cause = denied("acl_id", |right| right[1] == "TransactionalId")?;
    let broker = Secured::shared()?.kafka.bootstrap_by("SASL");
    assert_eq!(
        cause.replace(&broker, "BROKER"),
        "kafka-authorization: cannot take over with transactional id walwright.NAME: Transaction error: Failed to find \
         transaction coordinator: sasl_ssl://BROKER/0: Broker: Transactional Id authorization failed: Transactional Id \
         authorization failed. (connector NAME)"
    );
    Ok(())
}

#[test]
fn without_creating_the_checkpoint_topic() -> Result<()> {
    let cause = denied("acl_create", |right| is(right, "checkpoint", "Create"))?;
    assert_eq!(
        cause,
        "kafka-authorization: cannot create topic NAME.walwright.checkpoint.NAME with 1 partitions and replication 1: Admin \
         operation error: TopicAuthorizationFailed (Broker: Topic authorization failed) (connector NAME, topic \
         NAME.walwright.checkpoint.NAME)"
    );
    Ok(())
}

/// Faults: KF-12.
#[test]
fn without_creating_the_events_topic() -> Result<()> {
    let cause = denied("acl_create_events", |right| is(right, "orders", "Create"))?;
    assert_eq!(
        cause,
        "kafka-authorization: cannot create topic NAME.orders with 3 partitions and replication 1: Admin operation error: \
         TopicAuthorizationFailed (Broker: Topic authorization failed) (connector NAME, topic NAME.orders)"
    );
    Ok(())
}

#[test]
fn without_reading_the_checkpoint() -> Result<()> {
    let cause = denied("acl_read", |right| right[4] == "Read")?;
    assert_eq!(
        cause,
        "kafka-authorization: cannot read: Message consumption error: TopicAuthorizationFailed (Broker: Topic authorization \
         failed) (connector NAME, topic NAME.walwright.checkpoint.NAME)"
    );
    Ok(())
}

#[test]
fn without_any_right() -> Result<()> {
    let cause = denied("acl_none", |_| true)?;
    assert_eq!(
        cause,
        "kafka-authorization: cannot look up topic NAME.orders: Meta data fetch error: TopicAuthorizationFailed (Broker: \
         Topic authorization failed) (connector NAME, topic NAME.orders)"
    );
    Ok(())
}

#[test]
fn without_reading_settings_it_goes_on_unchecked() -> Result<()> {
    let (scene, _) = scene("acl_settings", |right| right[4] == "DescribeConfigs")?;
    let daemon = scene.start()?;
    scene.insert(1, 3)?;
    scene.read("orders", 3)?;
    let log = daemon.log()?;
    assert!(log.contains("settings may not be read, so they are not checked"), "{log}");
    scene.finish(daemon)
}

/// Faults: KF-12.
#[test]
fn the_right_to_write_is_taken_away_and_given_back_while_it_runs() -> Result<()> {
    let (scene, _) = scene("acl_write", |_| false)?;
    let mut daemon = scene.start()?;
    scene.insert(1, 3)?;
    scene.read("orders", 3)?;
    let rights = needed("User:acl_write", "acl_write")?;
    for topic in ["orders", "checkpoint"] {
        let taken: Vec<Right> = rights.iter().filter(|right| is(right, topic, "Write")).cloned().collect();
        // Whoever may write may also know of the topic.
        let known = taken
            .iter()
            .cloned()
            .map(|[principal, kind, pattern, name, _]| [principal, kind, pattern, name, "Describe".to_owned()]);
        change("allow", &known.collect::<Vec<_>>())?;
        change("forbid", &taken)?;
        scene.sql()?.batch("INSERT INTO orders SELECT max(id) + 1, 'NEW', 1 FROM orders")?;
        let cause = scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
        assert_eq!(
            cause,
            "kafka-authorization: cannot publish with transactional id walwright.NAME.0: Transaction error: Failed to add \
             partition(s) to transaction on broker TxnCoordinator/0: Broker: Topic authorization failed (connector NAME)"
        );
        change("allow", &taken)?;
        daemon.wait_ready(WITHIN)?;
    }
    scene.read("orders", 5)?;
    scene.finish(daemon)?;
    assert_eq!(scene.read_all("orders")?.len(), 5);
    Ok(())
}

#[test]
fn the_password_is_not_asked_of_the_rights() -> Result<()> {
    // Who is let in and may do nothing is told so, too.
    let scene = with_password("acl_plain", "SASL", "PLAIN", "plain", PLAIN_PASSWORD)?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
    Ok(())
}
