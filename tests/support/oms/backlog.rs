//! Much WAL in little time, written by the server itself: for benchmarks and for transactions of any size.

use tokio_postgres::{Client, Error};

/// Row changes in one round: 2 orders, 4 lines, 2 orders paid, 2 stock levels adjusted. Each yields one event.
const ROUND: u64 = 10;

/// Writes at least `changes` row changes in transactions of `per_transaction`, 1 or a multiple of ten (both rounded up to
/// tens), and returns how many it wrote. Needs a superuser: it skips foreign keys, and waits for the disk only at the end.
pub(crate) async fn backlog(client: &Client, changes: u64, per_transaction: u64) -> Result<u64, Error> {
    let rounds = per_transaction.div_ceil(ROUND);
    let transactions = changes.div_ceil(rounds * ROUND);
    client.batch_execute(SESSION).await?;
    let written = match per_transaction {
        1 => rows_in_transactions(transactions),
        _ => rounds_in_transactions(transactions, rounds),
    };
    client.batch_execute(&written).await?;
    client.batch_execute(END_OF_SESSION).await?;
    Ok(transactions * rounds * ROUND)
}

/// The plans are made while the tables may still be empty, and kept while they grow: never scan them.
const SESSION: &str = "
    SET session_replication_role = replica; SET synchronous_commit = off; SET enable_seqscan = off;";

/// The last commit waits for the disk, and so for all before it.
const END_OF_SESSION: &str = "
    RESET session_replication_role; RESET synchronous_commit; RESET enable_seqscan;
    INSERT INTO requests (id, operation) VALUES ('backlog-' || gen_random_uuid(), 'backlog');";

fn rounds_in_transactions(transactions: u64, rounds: u64) -> String {
    format!(
        "DO $$
        DECLARE
            customer uuid := (SELECT id FROM customers ORDER BY customer_number LIMIT 1);
            warehouses integer := (SELECT count(*) FROM warehouses);
            products bigint := (SELECT count(*) FROM products);
            placed bigint[];
            product bigint := 0;
        BEGIN
            FOR transaction IN 1..{transactions} LOOP
                FOR round IN 1..{rounds} LOOP
                    WITH inserted AS (
                        INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count,
                                            shipping_address, request_id)
                        SELECT customer, 'W', 1 + n % warehouses, 119.98 + n, 2,
                               '{{\"recipient\": \"Ada Lovelace\", \"city\": \"London\", \"country\": \"GB\"}}',
                               'backlog-' || transaction
                        FROM generate_series(1, 2) n RETURNING id)
                    SELECT array_agg(id) INTO placed FROM inserted;
                    INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate,
                                             request_id)
                    SELECT o, n, 1 + (o + n) % products, n, 59.99, 19, 'backlog-' || transaction
                    FROM unnest(placed) o, generate_series(1, 2) n;
                    UPDATE orders SET status = 'PAID', paid_at = clock_timestamp() WHERE id = ANY (placed);
                    product := product % (products - 1) + 1;
                    UPDATE stock_levels
                    SET on_hand = on_hand + 1, revision = revision + 1, reason = 'RECEIPT'
                    WHERE warehouse_id = 1 + transaction % warehouses AND product_id IN (product, product + 1);
                END LOOP;
                COMMIT;
            END LOOP;
        END $$"
    )
}

/// The same rounds, each row change in a transaction of its own.
fn rows_in_transactions(rounds: u64) -> String {
    format!(
        "DO $$
        DECLARE
            customer uuid := (SELECT id FROM customers ORDER BY customer_number LIMIT 1);
            warehouses integer := (SELECT count(*) FROM warehouses);
            products bigint := (SELECT count(*) FROM products);
            placed bigint[] := ARRAY[0, 0];
            placed_id bigint;
            product bigint := 0;
        BEGIN
            FOR round IN 1..{rounds} LOOP
                FOR n IN 1..2 LOOP
                    INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count,
                                        shipping_address, request_id)
                    VALUES (customer, 'W', 1 + n % warehouses, 119.98 + n, 2,
                            '{{\"recipient\": \"Ada Lovelace\", \"city\": \"London\", \"country\": \"GB\"}}',
                            'backlog-' || round)
                    RETURNING id INTO placed_id;
                    COMMIT;
                    placed[n] := placed_id;
                END LOOP;
                FOR n IN 0..3 LOOP
                    INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate,
                                             request_id)
                    VALUES (placed[1 + n / 2], 1 + n % 2, 1 + (round + n) % products, 1 + n % 2, 59.99, 19,
                            'backlog-' || round);
                    COMMIT;
                END LOOP;
                product := product % (products - 1) + 1;
                FOR n IN 1..2 LOOP
                    UPDATE orders SET status = 'PAID', paid_at = clock_timestamp() WHERE id = placed[n];
                    COMMIT;
                    UPDATE stock_levels
                    SET on_hand = on_hand + 1, revision = revision + 1, reason = 'RECEIPT'
                    WHERE warehouse_id = 1 + round % warehouses AND product_id = product + n - 1;
                    COMMIT;
                END LOOP;
            END LOOP;
        END $$"
    )
}

/// One transaction of exactly `rows` inserts: orders with four lines each. Needs a superuser.
pub(crate) async fn one_transaction(client: &mut Client, rows: u64) -> Result<(), Error> {
    let orders = rows.div_ceil(5);
    let transaction = client.transaction().await?;
    transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
    transaction
        .batch_execute(&format!(
            "WITH placed AS (
                 INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, shipping_address,
                                     request_id)
                 SELECT (SELECT id FROM customers ORDER BY customer_number LIMIT 1), 'S', 1, 239.96, 4,
                        '{{\"recipient\": \"Grace Hopper\", \"city\": \"New York\", \"country\": \"US\"}}', 'one'
                 FROM generate_series(1, {orders}) RETURNING id)
             INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate, request_id)
             SELECT placed.id, n, 1 + n, 1, 59.99, 19, 'one' FROM placed, generate_series(1, 4) n
             LIMIT {lines}",
            lines = rows - orders,
        ))
        .await?;
    transaction.commit().await
}
