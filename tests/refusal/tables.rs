//! Tables against rules and contracts, at the start and while running.

use crate::support::Result;
use crate::support::scene::Scene;

#[test]
fn a_table_that_is_not_there() -> Result<()> {
    let scene = Scene::new("gone")?;
    scene.sql()?.batch("DROP TABLE orders")?;
    scene.push()?;
    assert_eq!(
        scene.halts("schema-mismatch")?,
        "schema-mismatch: table public.orders, which rules name, does not exist; its case counts as in the catalog (connector NAME, table public.orders)"
    );
    Ok(())
}

/// Faults: DDL-06.
#[test]
fn no_replica_identity() -> Result<()> {
    let scene = Scene::new("identity")?;
    scene.sql()?.batch("ALTER TABLE orders REPLICA IDENTITY NOTHING")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\"]")?;
    scene.push()?;
    assert_eq!(
        scene.halts("replica-identity")?,
        "replica-identity: table public.orders has no replica identity, so its updates and deletes cannot be published: ALTER TABLE \"public\".\"orders\" ADD PRIMARY KEY (..) or ALTER TABLE \"public\".\"orders\" REPLICA IDENTITY FULL; (connector NAME, table public.orders)"
    );
    Ok(())
}

/// Faults: DDL-07.
#[test]
fn the_old_row_is_not_sent() -> Result<()> {
    let scene = Scene::new("oldrow")?;
    scene.connector("on = [\"insert\"]", "on = [\"update\"]\nwhen = \"old.status != new.status\"")?;
    scene.push()?;
    assert_eq!(
        scene.halts("replica-identity")?,
        "replica-identity: 1 fault\n~/connectors/NAME.toml:24:9: shop/OrderPlaced/v1: old.status: the old row is sent with the replica identity's columns only (id); ALTER TABLE public.orders REPLICA IDENTITY FULL sends all of them\n    old.status != new.status\n    ^ (connector NAME, table public.orders)"
    );
    Ok(())
}

#[test]
fn an_order_on_a_column_that_can_be_null() -> Result<()> {
    let scene = Scene::new("unguarded")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\"]\nwhen = \"amount > 10\"")?;
    scene.push()?;
    assert_eq!(
        scene.halts("schema-mismatch")?,
        "schema-mismatch: 1 fault\n~/connectors/NAME.toml:24:9: shop/OrderPlaced/v1: amount can be NULL, which has no order: write `amount != null && ..` before it\n    amount > 10\n    ^ (connector NAME, table public.orders)"
    );
    Ok(())
}

#[test]
fn a_field_without_a_column() -> Result<()> {
    let scene = Scene::new("nocolumn")?;
    scene.connector("note = \"note\"", "note = \"nte\"")?;
    scene.push()?;
    assert_eq!(
        scene.halts("schema-mismatch")?,
        "schema-mismatch: 1 fault\n~/connectors/NAME.toml:31:8: note: no column nte; for the constant write 'nte' (connector NAME, table public.orders, contract shop/OrderPlaced/v1, topic NAME.orders)"
    );
    Ok(())
}

#[test]
fn types_that_do_not_fit() -> Result<()> {
    let scene = Scene::new("types")?;
    scene.connector("note = \"note\"", "note = \"id\"")?;
    scene.connector("amount = \"amount\"", "amount = \"status\"")?;
    scene.push()?;
    assert_eq!(
        scene.halts("schema-mismatch")?,
        "schema-mismatch: 2 faults\n~/connectors/NAME.toml:30:10: amount: column status of public.orders is text, field amount of shop/OrderPlaced/v1 is bytes (decimal 12,2); text fits string, enum\n~/connectors/NAME.toml:31:8: note: column id of public.orders is bigint, field note of shop/OrderPlaced/v1 is string; bigint fits long, bytes (decimal) (connector NAME, table public.orders, contract shop/OrderPlaced/v1, topic NAME.orders)"
    );
    Ok(())
}

#[test]
fn a_nullable_column_into_a_field_without_null() -> Result<()> {
    let scene = Scene::new("nulls")?;
    scene.connector("status = \"status\"", "status = \"note\"")?;
    scene.push()?;
    assert_eq!(
        scene.halts("schema-mismatch")?,
        "schema-mismatch: ~/connectors/NAME.toml:29: column note of public.orders can be NULL and field status of shop/OrderPlaced/v1 cannot: write { value = \"note\", on_null = \"halt\" }, or make the column NOT NULL or the field nullable (connector NAME, table public.orders, column note)"
    );
    Ok(())
}

/// Changes the table between two rows, and returns what stops the second; the first stays the only one.
fn change_while_running(name: &str, kind: &str, change: &str, insert: &str) -> Result<String> {
    let scene = Scene::new(name)?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.read("orders", 1)?;
    scene.sql()?.batch(change)?;
    scene.sql()?.batch(insert)?;
    let cause = scene.cause(&mut daemon, kind, "halted")?;
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()?;
    // A restart says the same, since nothing is mended yet.
    drop(daemon);
    scene.halts(kind)?;
    Ok(cause)
}

/// Faults: DDL-08.
#[test]
fn a_column_is_dropped_while_running() -> Result<()> {
    let cause = change_while_running(
        "dropped",
        "schema-mismatch",
        "ALTER TABLE orders DROP COLUMN note",
        "INSERT INTO orders VALUES (2, 'NEW', 1)",
    )?;
    assert_eq!(
        cause,
        "schema-mismatch: 1 fault\n~/connectors/NAME.toml:31:8: note: no column note; for the constant write 'note' (connector NAME, table public.orders, contract shop/OrderPlaced/v1, topic NAME.orders)"
    );
    Ok(())
}

/// Faults: DDL-08.
#[test]
fn a_column_is_retyped_while_running() -> Result<()> {
    let cause = change_while_running(
        "retyped",
        "schema-mismatch",
        "ALTER TABLE orders ALTER status TYPE bytea USING status::bytea",
        "INSERT INTO orders VALUES (2, 'NEW', 1)",
    )?;
    assert_eq!(
        cause,
        "schema-mismatch: 1 fault\n~/connectors/NAME.toml:29:10: status: column status of public.orders is bytea, field status of shop/OrderPlaced/v1 is string; bytea fits bytes (connector NAME, table public.orders, contract shop/OrderPlaced/v1, topic NAME.orders)"
    );
    Ok(())
}

/// Faults: DDL-08.
#[test]
fn a_column_is_added_while_running_and_is_not_published() -> Result<()> {
    let scene = Scene::new("added")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    scene.sql()?.batch("ALTER TABLE orders ADD secret text; INSERT INTO orders VALUES (2, 'NEW', 1, NULL, 'x')")?;
    let seen = scene.read("orders", 2)?;
    assert_eq!(seen.iter().filter(|seen| seen.field("secret").is_null()).count(), 2);
    daemon.wait_log(
        "column is neither used by a rule nor named in unpublished: it is not published",
        std::time::Duration::from_secs(30),
    )?;
    scene.wait_metric(&daemon, "walwright_unnamed_columns", &["public.orders"], |count| count == 1.0)?;
    scene.finish(daemon)
}

#[test]
fn a_column_is_added_and_the_file_wants_a_halt() -> Result<()> {
    let scene = Scene::new("newhalt")?;
    scene.connector("unmatched = ", "new_columns = \"halt\"\nunmatched = ")?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch("ALTER TABLE orders ADD secret text; INSERT INTO orders VALUES (2, 'NEW', 1, NULL, 'x')")?;
    let cause = scene.cause(&mut daemon, "unmapped", "halted")?;
    assert_eq!(
        cause,
        "unmapped: column secret is neither used nor in unpublished, and new_columns = \"halt\" (connector NAME, table public.orders, column secret)"
    );
    scene.watched()
}

#[test]
fn a_toasted_value_that_an_update_does_not_resend() -> Result<()> {
    let scene = Scene::new("toast")?;
    scene.connector("on = [\"insert\"]", "on = [\"insert\", \"update\"]")?;
    scene.sql()?.batch("ALTER TABLE orders ALTER note SET STORAGE EXTERNAL")?;
    let mut daemon = scene.open()?;
    scene.sql()?.batch("INSERT INTO orders VALUES (1, 'NEW', 1, repeat('x', 9000))")?;
    scene.read("orders", 1)?;
    scene.sql()?.batch("UPDATE orders SET status = 'PAID'")?;
    let cause = scene.cause(&mut daemon, "unchanged-toast", "halted")?;
    assert_eq!(
        cause,
        "unchanged-toast: column note for field note was left unchanged by the update and was not sent again, by the rule at ~/connectors/NAME.toml:31:8 (connector NAME, table public.orders, column note, contract shop/OrderPlaced/v1, topic NAME.orders, position LSN change 0)"
    );
    assert_eq!(scene.read_all("orders")?.len(), 1);
    scene.watched()
}

#[test]
fn null_where_the_rule_says_halt() -> Result<()> {
    let scene = Scene::new("onnull")?;
    scene.connector("status = \"status\"", "status = { value = \"note\", on_null = \"halt\" }")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    let cause = scene.cause(&mut daemon, "null-value", "halted")?;
    assert_eq!(
        cause,
        "null-value: column note for field status is NULL, and it takes no null, by the rule at ~/connectors/NAME.toml:29:10 (connector NAME, table public.orders, column note, contract shop/OrderPlaced/v1, topic NAME.orders, position LSN change 0)"
    );
    scene.watched()
}

#[test]
fn a_code_that_the_map_does_not_list() -> Result<()> {
    let scene = Scene::new("code")?;
    scene.connector("status = \"status\"", "status = { value = \"status\", map = { N = \"NEW\" } }")?;
    let mut daemon = scene.open()?;
    scene.insert(1, 1)?;
    let cause = scene.cause(&mut daemon, "unlisted-code", "halted")?;
    assert_eq!(
        cause,
        "unlisted-code: column status for field status has a code that is not listed, by the rule at ~/connectors/NAME.toml:29:10 (connector NAME, table public.orders, column status, contract shop/OrderPlaced/v1, topic NAME.orders, position LSN change 0)"
    );
    scene.watched()
}
