//! A scripted workload on the OMS tables: small, the same each time, with one of everything that a stream can hold.

use super::connector::Trial;
use crate::support::Result;

/// Rows of the large transaction: several pieces of 1 MiB.
pub(super) const LARGE_ROWS: u32 = 9_000;

/// Transactions, each a list of statements. `N` stands for the round, so that a script can run several times.
const TRANSACTIONS: &[&str] = &[
    "INSERT INTO customers (customer_number, name, email, billing_address, password_hash, request_id)
     VALUES ('A-N', 'Zoë Müller', 'zoe@example.com', '{\"city\": \"Köln\"}', 'x', 'r-N-1'),
            ('B-N', 'Łukasz Żak', 'lukasz@example.com', '{\"city\": \"Gdańsk\"}', 'x', 'r-N-1')",
    "INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
     SELECT id, 'W', 1, 119.98, 3, '{\"city\": \"Köln\"}', 'r-N-2' FROM customers WHERE customer_number = 'A-N';
     INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate, request_id)
     SELECT currval('orders_id_seq'), n, n, n, 19.99, 19, 'r-N-2' FROM generate_series(1, 3) n;
     UPDATE stock_levels SET reserved = reserved + 1, request_id = 'r-N-2' WHERE warehouse_id = 1 AND product_id < 4",
    "INSERT INTO payments (order_id, method, amount, currency, provider_token, request_id)
     VALUES (currval('orders_id_seq'), 'CARD', 119.98, 'EUR', 't', 'r-N-3');
     UPDATE payments SET status = 'CAPTURED', captured_at = clock_timestamp() WHERE id = currval('payments_id_seq');
     UPDATE orders SET status = 'PAID', paid_at = clock_timestamp() WHERE id = currval('orders_id_seq')",
    // Out of line, and not changed by the update that cancels.
    "UPDATE orders SET cancel_reason = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)
     WHERE id = currval('orders_id_seq')",
    "UPDATE orders SET status = 'CANCELLED', cancelled_at = clock_timestamp(), request_id = 'r-N-5'
     WHERE id = currval('orders_id_seq')",
    "UPDATE payments SET status = 'REFUNDED', refunded_at = clock_timestamp(), refunded_amount = amount
     WHERE id = currval('payments_id_seq')",
    "UPDATE customers SET customer_number = 'C-A-N', request_id = 'r-N-6' WHERE customer_number = 'A-N';
     DELETE FROM customers WHERE customer_number = 'B-N'",
    "UPDATE customers SET name = name WHERE customer_number = 'C-A-N'",
    "UPDATE stock_levels SET on_hand = on_hand + 5, revision = revision + 1, reason = 'COUNT', counted_at = clock_timestamp()
     WHERE warehouse_id = 1 AND product_id < 4;
     UPDATE products SET list_price = list_price + 0.01 WHERE id = 1",
    "SELECT pg_logical_emit_message(true, 'p', 'transactional');
     INSERT INTO stock_movements (warehouse_id, product_id, quantity, reason) VALUES (1, 1, 1, 'COUNT');
     TRUNCATE stock_movements;
     INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
     SELECT id, 'P', 2, 0, 1, '{}', NULLIF('r-N-9', '') FROM customers WHERE customer_number = 'C-A-N'",
    "SELECT pg_logical_emit_message(false, 'p', 'by itself')",
    // As if it had come by replication.
    "SELECT pg_replication_origin_create(current_database() || '-N');
     SELECT pg_replication_origin_session_setup(current_database() || '-N');
     UPDATE stock_levels SET on_hand = on_hand + 1, revision = revision + 1, request_id = 'r-N-11'
     WHERE warehouse_id = 1 AND product_id = 7",
    "SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop(current_database() || '-N')",
    "INSERT INTO shipments (order_id, warehouse_id, carrier, parcels, weight_kg, label_digest, request_id)
     VALUES (currval('orders_id_seq'), 2, 'DHL', 1, 0.1, '\\x00ff', 'r-N-10');
     INSERT INTO returns (order_id, rma_number, restocked, refund_amount, request_id)
     VALUES (currval('orders_id_seq'), 'RMA-N', false, 119.98, 'r-N-10')",
];

/// One transaction longer than a unit.
pub(super) fn large(round: u32) -> String {
    format!(
        "INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address, request_id)
         SELECT id, 'S', 3, 1, 1, '{{}}', 'large-{round}' FROM customers ORDER BY customer_number LIMIT 1;
         INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate, request_id)
         SELECT currval('orders_id_seq'), n, 1 + n % 200, 1, 1.25, 7, 'large-{round}'
         FROM generate_series(1, {LARGE_ROWS}) n"
    )
}

/// One small transaction with one event.
pub(super) fn small(round: u32, number: u32) -> String {
    let product = 1 + number % 200;
    format!(
        "UPDATE stock_levels SET on_hand = on_hand + 1, revision = revision + 1, request_id = 's-{round}-{number}'
         WHERE warehouse_id = 2 AND product_id = {product}"
    )
}

/// The whole script. It goes on whether a daemon lives or not.
pub(super) fn run(trial: &Trial<'_>, round: u32) -> Result<()> {
    everything(trial, round)?;
    trial.transact(&large(round))?;
    (0..8).try_for_each(|number| trial.transact(&small(round, number)))
}

/// The same without the large transaction.
pub(super) fn everything(trial: &Trial<'_>, round: u32) -> Result<()> {
    for statements in TRANSACTIONS {
        trial.transact(&statements.replace("-N", &format!("-{round}")))?;
    }
    Ok(())
}
