//! How many events of each type the source's rows call for: counted by SQL alone, knowing nothing of the daemon.
//!
//! The counts are those since the tables were created. A daemon that starts later owes the difference to a count made
//! when its slot came to be; see [`since`]. One that reads the rows it finds owes [`read_counts`] and what comes after.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

/// Event types (Avro full names, and `<topic> tombstone`) with the number of events due.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Each event type with the query that counts it. They see committed rows only, so what a transaction or a savepoint
/// rolled back is not in them; updates that change nothing touch no stamp and no revision.
const QUERIES: &[(&str, &str)] = &[
    // Orders and their lines are never deleted: one row, one insert.
    ("oms.OrderPlaced", "SELECT count(*) FROM orders"),
    ("oms.OrderLineAdded", "SELECT count(*) FROM order_lines"),
    // The stamp is set by the update that makes the transition, which an order sees at most once, and it stays.
    ("oms.OrderPaid", "SELECT count(*) FROM orders WHERE paid_at IS NOT NULL"),
    ("oms.OrderCancelled", "SELECT count(*) FROM orders WHERE cancelled_at IS NOT NULL"),
    ("oms.PaymentCaptured", "SELECT count(*) FROM payments WHERE captured_at IS NOT NULL"),
    ("oms.PaymentRefunded", "SELECT count(*) FROM payments WHERE refunded_at IS NOT NULL"),
    // Written once, never changed or deleted.
    ("oms.OrderShipped", "SELECT count(*) FROM shipments"),
    ("oms.ReturnReceived", "SELECT count(*) FROM returns"),
    // The revision goes up with each change of on_hand and only then; rows start at 0 and are never deleted.
    ("oms.InventoryAdjusted", "SELECT coalesce(sum(revision), 0)::bigint FROM stock_levels"),
    // Every row change that leaves a customer behind, also an update that changes nothing: a state is sent again.
    ("oms.CustomerChanged", "SELECT count(*) FROM customer_audit WHERE operation <> 'DELETE'"),
    // Every row change that gives a number up.
    ("oms.customers-state tombstone", "SELECT count(*) FROM customer_audit WHERE operation IN ('REKEY', 'DELETE')"),
];

/// Counts all event types in one statement, so in one snapshot.
pub(crate) async fn expected_counts(client: &Client) -> Result<Counts, Error> {
    counts(client, QUERIES).await
}

async fn counts(client: &Client, queries: &[(&str, &str)]) -> Result<Counts, Error> {
    let sql = queries
        .iter()
        .map(|(event, query)| format!("SELECT '{event}', ({query})"))
        .collect::<Vec<_>>()
        .join(" UNION ALL ");
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}

/// The rows of each table that a rule on `read` names: one event of each, whether it was read or inserted.
const READ_QUERIES: &[(&str, &str)] = &[
    ("oms.OrderPlaced", "SELECT count(*) FROM orders"),
    ("oms.OrderLineAdded", "SELECT count(*) FROM order_lines"),
    ("oms.OrderShipped", "SELECT count(*) FROM shipments"),
    ("oms.ReturnReceived", "SELECT count(*) FROM returns"),
    ("oms.CustomerChanged", "SELECT count(*) FROM customers"),
];

/// What is due once all rows have been read, if nothing was written since the slot exists but new rows.
pub(crate) async fn read_counts(client: &Client) -> Result<Counts, Error> {
    counts(client, READ_QUERIES).await
}

/// What became due between two counts of one database.
pub(crate) fn since(earlier: &Counts, later: &Counts) -> Counts {
    later.iter().map(|(event, count)| (event.clone(), count - earlier.get(event).copied().unwrap_or(0))).collect()
}

/// Both together.
pub(crate) fn sum(one: &Counts, other: &Counts) -> Counts {
    let mut all = one.clone();
    other.iter().for_each(|(event, count)| *all.entry(event.clone()).or_default() += count);
    all
}
