//! The source server: who may come in, what it must be set to, and what the publication must send.

use crate::support::Result;
use crate::support::postgres::{self, Postgres};
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

/// What a daemon says that is started on the scene and cannot go on, and does again after `mend`.
fn retries(scene: &Scene, kind: &str) -> Result<String> {
    scene.push()?;
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, kind, "retrying")
}

pub(crate) fn halts(scene: &Scene, kind: &str) -> Result<String> {
    scene.push()?;
    let cause = scene.halts(kind)?;
    let slots: i64 =
        scene.sql()?.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")?;
    assert_eq!(slots, 0, "nothing is created before the checks");
    Ok(cause)
}

/// Faults: PG-20.
#[test]
fn wrong_password_until_it_is_right() -> Result<()> {
    let scene = Scene::new("password")?;
    scene.write("password", "hunter2\n")?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "postgres-authentication", "retrying")?;
    assert_eq!(
        cause,
        "postgres-authentication: the server said: password authentication failed for user \"NAME\" (connector NAME)"
    );
    assert!(!daemon.log()?.contains("hunter2"));
    scene.write("password", "s3cret")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.finish(daemon)
}

#[test]
fn unknown_role() -> Result<()> {
    let scene = Scene::new("role")?;
    scene.connector(&format!("user = \"{}\"", scene.name), "user = \"nobody_here\"")?;
    assert_eq!(
        retries(&scene, "postgres-authentication")?,
        "postgres-authentication: the server said: password authentication failed for user \"nobody_here\" (connector NAME)"
    );
    Ok(())
}

#[test]
fn unknown_database() -> Result<()> {
    let scene = Scene::new("nodb")?;
    scene.connector(&format!("database = \"{}\"", scene.name), "database = \"nowhere\"")?;
    assert_eq!(
        halts(&scene, "database-missing")?,
        "database-missing: the server said: database \"nowhere\" does not exist (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-10.
#[test]
fn no_connection_is_left() -> Result<()> {
    let scene = Scene::new("limit")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} CONNECTION LIMIT 0", scene.name))?;
    assert_eq!(
        retries(&scene, "postgres-exhausted")?,
        "postgres-exhausted: the server said: too many connections for role \"NAME\" (connector NAME)"
    );
    Ok(())
}

#[test]
fn a_database_that_takes_no_connections() -> Result<()> {
    let (scene, other) = (Scene::new("closed")?, Scene::new("open")?);
    scene.push()?;
    scene.unwatched();
    other.sql()?.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", scene.name))?;
    let cause = scene.halts("postgres-refused")?;
    other.sql()?.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", scene.name))?;
    assert_eq!(
        cause,
        "postgres-refused: the server said: database \"NAME\" is not currently accepting connections (connector NAME)"
    );
    Ok(())
}

/// Faults: PG-27.
#[test]
fn a_stream_that_is_garbled() -> Result<()> {
    let scene = Scene::new("garbled")?;
    let proxy = scene.through_proxy()?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    proxy.garble(b"b\0\0\0\x06PLACED", b"?\0\0\0\x06PLACED");
    scene.insert(2, 2)?;
    assert_eq!(
        scene.cause(&mut daemon, "protocol", "halted")?,
        "protocol: pgoutput Insert message: a column of unknown kind at byte 22 of 50 (connector NAME)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()
}

#[test]
fn nobody_listens() -> Result<()> {
    let stack = Stack::shared()?;
    let scene = Scene::new("noport")?;
    let (old, new) = (stack.postgres.address().port(), stack.sandbox.port()?.port());
    scene.connector(&format!("port = {old}"), &format!("port = {new}"))?;
    let cause = retries(&scene, "postgres-unreachable")?.replace(&new.to_string(), "PORT");
    assert_eq!(
        cause.replace(&stack.postgres.address().ip().to_string(), "HOST"),
        "postgres-unreachable: no connection to HOST:PORT: Connection refused (os error 111) (connector NAME)"
    );
    Ok(())
}

#[test]
fn no_replication_right() -> Result<()> {
    let scene = Scene::new("right")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} NOREPLICATION", scene.name))?;
    assert_eq!(
        halts(&scene, "permission")?,
        "permission: the role \"NAME\" may not replicate; run ALTER ROLE \"NAME\" REPLICATION (connector NAME)"
    );
    Ok(())
}

#[test]
fn wal_level_is_too_low() -> Result<()> {
    let stack = Stack::shared()?;
    let options = postgres::Options::default().set("wal_level", "replica");
    let server = Postgres::start(&stack.sandbox, options)?;
    let scene = Scene::on("replica_only", &server, &stack.kafka, stack.registry.url())?;
    assert_eq!(
        halts(&scene, "server-setting")?,
        "server-setting: wal_level is replica; run ALTER SYSTEM SET wal_level = 'logical' and restart Postgres (connector NAME)"
    );
    Ok(())
}

/// Faults: DDL-01.
#[test]
fn the_publication_is_missing() -> Result<()> {
    let scene = Scene::new("nopub")?;
    scene.sql()?.batch(&format!("DROP PUBLICATION walwright_{}", scene.name))?;
    assert_eq!(
        halts(&scene, "publication-missing")?,
        "publication-missing: publication walwright_NAME does not exist: CREATE PUBLICATION \"walwright_NAME\" FOR TABLE \"public\".\"orders\"; (connector NAME)"
    );
    Ok(())
}

/// Faults: DDL-03.
#[test]
fn the_publication_lacks_a_table() -> Result<()> {
    let scene = Scene::new("notable")?;
    scene.sql()?.batch(&format!("ALTER PUBLICATION walwright_{} DROP TABLE orders", scene.name))?;
    assert_eq!(
        halts(&scene, "publication-mismatch")?,
        "publication-mismatch: publication walwright_NAME does not send table public.orders, which rules name: ALTER PUBLICATION \"walwright_NAME\" ADD TABLE \"public\".\"orders\"; (connector NAME, table public.orders)"
    );
    Ok(())
}

/// Faults: DDL-03, DDL-04.
#[test]
fn the_publication_filters_rows_columns_and_operations_that_rules_need() -> Result<()> {
    filters_are_refused(&Scene::new("filtered")?)
}

/// Row filters and column lists exist since Postgres 15.
pub(crate) fn filters_are_refused(scene: &Scene) -> Result<()> {
    scene.sql()?.batch(&format!(
        "ALTER PUBLICATION walwright_{0} SET TABLE orders (id, status) WHERE (id > 5);
         ALTER PUBLICATION walwright_{0} SET (publish = 'update')",
        scene.name
    ))?;
    assert_eq!(
        halts(scene, "publication-mismatch")?,
        "publication-mismatch: 3 faults\n  \
         - publication walwright_NAME filters public.orders by (id > 5); a row filter hides changes from the rules and turns \
         updates into inserts and deletes: move it into `when`, then BEGIN; ALTER PUBLICATION \"walwright_NAME\" DROP TABLE \
         \"public\".\"orders\"; ALTER PUBLICATION \"walwright_NAME\" ADD TABLE \"public\".\"orders\"; COMMIT;\n  \
         - publication walwright_NAME has a column list for public.orders that leaves out amount, note, which rules use: \
         BEGIN; ALTER PUBLICATION \"walwright_NAME\" DROP TABLE \"public\".\"orders\"; ALTER PUBLICATION \
         \"walwright_NAME\" ADD TABLE \"public\".\"orders\"; COMMIT;\n  \
         - publication walwright_NAME does not publish insert, which rules of public.orders need: ALTER PUBLICATION \
         \"walwright_NAME\" SET (publish = 'insert, update, delete, truncate'); (connector NAME)"
    );
    Ok(())
}

/// Faults: DDL-03.
#[test]
fn the_publication_drifts_while_running() -> Result<()> {
    let scene = Scene::new("drift")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch(&format!("ALTER PUBLICATION walwright_{} DROP TABLE orders", scene.name))?;
    let cause = scene.cause(&mut daemon, "publication-mismatch", "halted")?;
    assert_eq!(
        cause,
        "publication-mismatch: publication walwright_NAME does not send table public.orders, which rules name: ALTER PUBLICATION \"walwright_NAME\" ADD TABLE \"public\".\"orders\"; (connector NAME, table public.orders)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()
}
