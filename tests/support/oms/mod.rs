//! The order management system of the worked example: its schema, a workload on it, and what that must yield.
//!
//! ```text
//! create() -> seed_reference_data() -> [slot exists] -> expected_counts() -> Workload::run() -> expected_counts()
//! ```
//!
//! The difference of the two counts is what a subscriber must have seen of each event type. Both are taken while nobody
//! writes. Where rows that exist already are read, the first count is taken when they have been, and `read_counts()` at
//! that time is due as well.
#![allow(dead_code, reason = "each test target uses a part of this module")]

pub(crate) mod backlog;
pub(crate) mod expected;
pub(crate) mod history;
pub(crate) mod site;
pub(crate) mod workload;

use tokio_postgres::{Client, Error};

/// The DDL and the publication.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");

/// The role that the daemon logs in with.
pub(crate) const ROLE: &str = "walwright";

/// Creates the schema in an empty database, as a superuser.
pub(crate) async fn create(client: &Client) -> Result<(), Error> {
    client.batch_execute(SCHEMA).await
}

/// Rows that the workload takes for granted: 4 warehouses, 200 products, stock of each in each, 20 customers.
pub(crate) async fn seed_reference_data(client: &Client) -> Result<(), Error> {
    client.batch_execute(REFERENCE_DATA).await
}

const REFERENCE_DATA: &str = "
    BEGIN;
    INSERT INTO warehouses (code, name, country)
    SELECT 'WH' || n, 'Warehouse ' || n, (ARRAY['DE', 'NL', 'PL', 'IT'])[n] FROM generate_series(1, 4) n;
    INSERT INTO products (sku, name, list_price, weight_kg, attributes)
    SELECT format('SKU-%s', to_char(n, 'FM00000')), 'Product ' || n, (n * 37 % 9973) / 100.0, n / 8.0,
           jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[1 + n % 3], 'fragile', n % 7 = 0)
    FROM generate_series(1, 200) n;
    INSERT INTO stock_levels (warehouse_id, product_id, on_hand)
    SELECT w.id, p.id, 1000000 FROM warehouses w, products p;
    INSERT INTO customers (customer_number, name, email, billing_address, password_hash)
    SELECT 'C-' || n, 'Customer ' || n, format('customer%s@example.com', n),
           jsonb_build_object('city', 'Hamburg', 'country', 'DE'), md5(n::text)
    FROM generate_series(1, 20) n;
    COMMIT;";

/// The text of `connectors/oms.toml`, without the rows that exist before the slot.
pub(crate) fn stream_only() -> String {
    include_str!("../../../connectors/oms.toml").replace("mode = \"initial\"", "mode = \"none\"")
}

/// The same under another source id and slot, for several of them in one cluster.
pub(crate) fn connector_file(source_id: &str, slot: &str) -> String {
    stream_only()
        .replace("\"/oms/demo\"", &format!("{source_id:?}"))
        .replace("slot = \"walwright_oms\"", &format!("slot = {slot:?}"))
}
