//! Orders of the past with what belongs to them: rows that are there before anybody reads the database, or that are
//! imported while it is read.

use tokio_postgres::{Client, Error};

/// Orders of one customer.
const ORDERS_PER_CUSTOMER: u64 = 20;

/// Inserts so many orders, in one transaction, with new customers (one for 20 orders), lines, payments, shipments and
/// returns. Rows are inserted as they stand today and never updated, so each is due once wherever a rule says
/// `["insert", "read"]`, and no transition is.
pub(crate) async fn write(client: &Client, orders: u64) -> Result<(), Error> {
    let customers = orders.div_ceil(ORDERS_PER_CUSTOMER);
    let sql = HISTORY.replace("$orders", &orders.to_string()).replace("$customers", &customers.to_string());
    client.batch_execute(&sql).await
}

/// What the planner, and so whoever asks it how many rows there are, knows of the tables.
pub(crate) async fn analyze(client: &Client) -> Result<(), Error> {
    client.batch_execute("ANALYZE").await
}

const HISTORY: &str = r#"
    WITH request AS (
        INSERT INTO requests (id, operation) VALUES ('import-' || gen_random_uuid(), 'import') RETURNING id),
    people AS (
        INSERT INTO customers (customer_number, name, email, tier, billing_address, password_hash, request_id)
        SELECT 'I-' || gen_random_uuid(), 'Customer ' || n, format('customer%s@example.org', n),
               (ARRAY['STANDARD', 'SILVER', 'GOLD'])[1 + n % 3]::customer_tier,
               '{"city": "Rotterdam", "country": "NL"}', md5(n::text), request.id
        FROM generate_series(1, $customers) n, request RETURNING id),
    numbered AS (SELECT id, row_number() OVER () AS n FROM people),
    placed AS (
        INSERT INTO orders (customer_id, status, channel, warehouse_id, total_amount, line_count, shipping_address,
                            cancel_reason, placed_at, paid_at, shipped_at, cancelled_at, request_id)
        SELECT numbered.id, s.status::order_status, (ARRAY['W', 'S', 'P'])[1 + o % 3], 1 + o % 4,
               19.99 * (1 + o % 3), 1 + o % 3, '{"recipient": "Ada Lovelace", "city": "London", "country": "GB"}',
               CASE WHEN s.status = 'CANCELLED' THEN 'out of stock' END, p.at,
               CASE WHEN s.status IN ('PAID', 'SHIPPED', 'RETURNED') THEN p.at + interval '1 hour' END,
               CASE WHEN s.status IN ('SHIPPED', 'RETURNED') THEN p.at + interval '1 day' END,
               CASE WHEN s.status = 'CANCELLED' THEN p.at + interval '2 hours' END, request.id
        FROM request, generate_series(1, $orders) o
        JOIN numbered ON numbered.n = 1 + o % $customers,
        LATERAL (SELECT now() - interval '10 days' - ($orders - o) * interval '7 minutes' AS at) p,
        LATERAL (SELECT CASE o % 20 WHEN 0 THEN 'PLACED' WHEN 1 THEN 'PAID' WHEN 2 THEN 'CANCELLED'
                                    WHEN 3 THEN 'RETURNED' ELSE 'SHIPPED' END AS status) s
        RETURNING id, status, warehouse_id, total_amount, line_count, paid_at, shipped_at, request_id),
    lines AS (
        INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate, request_id)
        SELECT id, n, 1 + (7 * id + n) % 200, 1, 19.99, 19, request_id
        FROM placed, generate_series(1, placed.line_count) n),
    paid AS (
        INSERT INTO payments (order_id, method, status, amount, currency, refunded_amount, provider_token,
                              authorized_at, captured_at, refunded_at, request_id)
        SELECT id, 'CARD', (CASE WHEN status = 'RETURNED' THEN 'REFUNDED' ELSE 'CAPTURED' END)::payment_status,
               total_amount, 'EUR', CASE WHEN status = 'RETURNED' THEN total_amount END, md5(id::text), paid_at, paid_at,
               CASE WHEN status = 'RETURNED' THEN paid_at + interval '9 days' END, request_id
        FROM placed WHERE paid_at IS NOT NULL),
    sent AS (
        INSERT INTO shipments (order_id, warehouse_id, carrier, tracking_number, parcels, weight_kg, label_digest,
                               shipped_at, request_id)
        SELECT id, warehouse_id, 'DHL', 'T' || id, 1, 0.5 * line_count, decode(md5(id::text), 'hex'), shipped_at,
               request_id
        FROM placed WHERE shipped_at IS NOT NULL),
    back AS (
        INSERT INTO returns (order_id, rma_number, reason, restocked, refund_amount, received_at, request_id)
        SELECT id, 'RMA-' || id, 'does not fit', true, total_amount, shipped_at AT TIME ZONE 'UTC' + interval '8 days',
               request_id
        FROM placed WHERE status = 'RETURNED' RETURNING id)
    INSERT INTO return_lines (return_id, product_id, quantity) SELECT id, 1 + id % 200, 1 FROM back"#;
