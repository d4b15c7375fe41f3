//! Stock: reserved, shipped, sent back, delivered and counted.
//!
//! Rows are locked in the order of their key, so that two writers seldom meet in a deadlock. The revision goes up by one
//! with each change of `on_hand`, and only then.

use tokio_postgres::Error;

use super::{memory::Effect, operation::Step};

const ADJUSTED: &str = "oms.InventoryAdjusted";

impl Step<'_> {
    /// Reserves what the order's lines ask for (1), or sets it free (-1).
    pub(super) async fn reserve_stock(&mut self, order: i64, direction: i32) -> Result<(), Error> {
        self.session
            .execute(
                "WITH held AS (
                     SELECT s.warehouse_id, s.product_id, l.quantity
                     FROM order_lines l JOIN orders o ON o.id = l.order_id
                     JOIN stock_levels s ON s.warehouse_id = o.warehouse_id AND s.product_id = l.product_id
                     WHERE l.order_id = $1 ORDER BY s.product_id FOR UPDATE OF s)
                 UPDATE stock_levels s SET reserved = s.reserved + $2::integer * held.quantity, request_id = $3
                 FROM held WHERE s.warehouse_id = held.warehouse_id AND s.product_id = held.product_id",
                &[&order, &direction, &self.request],
            )
            .await?;
        Ok(())
    }

    /// Takes an order's goods off the shelf and its reservation with them (-1), or puts them back (1).
    pub(super) async fn move_stock(&mut self, order: i64, direction: i32, reason: &str) -> Result<(), Error> {
        let moved = self
            .session
            .execute(
                "WITH held AS (
                     SELECT s.warehouse_id, s.product_id, l.quantity
                     FROM order_lines l JOIN orders o ON o.id = l.order_id
                     JOIN stock_levels s ON s.warehouse_id = o.warehouse_id AND s.product_id = l.product_id
                     WHERE l.order_id = $1 ORDER BY s.product_id FOR UPDATE OF s)
                 UPDATE stock_levels s
                 SET on_hand = s.on_hand + $2::integer * held.quantity, revision = s.revision + 1,
                     reserved = s.reserved - CASE WHEN $2 < 0 THEN held.quantity ELSE 0 END,
                     reason = $3::text::stock_reason, request_id = $4
                 FROM held WHERE s.warehouse_id = held.warehouse_id AND s.product_id = held.product_id",
                &[&order, &direction, &reason, &self.request],
            )
            .await?;
        self.due(ADJUSTED, moved);
        self.session
            .execute(
                "INSERT INTO stock_movements (warehouse_id, product_id, quantity, reason, request_id)
                 SELECT o.warehouse_id, l.product_id, $2::integer * l.quantity, $3::text::stock_reason, $4
                 FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE l.order_id = $1 ORDER BY l.line_number",
                &[&order, &direction, &reason, &self.request],
            )
            .await?;
        Ok(())
    }

    pub(super) fn warehouse(&mut self) -> i32 {
        1 + self.random.below(4) as i32
    }

    /// Three neighbours on the shelf are counted; for about half of them the count finds what was expected.
    pub(super) async fn count_stock(&mut self) -> Result<Effect, Error> {
        let differences: Vec<i32> = (0..3).map(|_| *self.random.pick(&[0, 0, -1, 2])).collect();
        self.adjust_stock(&differences, "COUNT").await
    }

    pub(super) async fn restock(&mut self) -> Result<Effect, Error> {
        self.adjust_stock(&[100, 100], "RECEIPT").await
    }

    /// Adds the quantities to neighbouring products of one warehouse; the revision counts those that changed.
    async fn adjust_stock(&mut self, quantities: &[i32], reason: &str) -> Result<Effect, Error> {
        let warehouse = self.warehouse();
        let first = self.product().min(200 - quantities.len() as i64);
        self.session
            .execute(
                "WITH held AS (
                     SELECT s.product_id, q.quantity
                     FROM unnest($3::integer[]) WITH ORDINALITY AS q (quantity, place)
                     JOIN stock_levels s ON s.warehouse_id = $1 AND s.product_id = $2 + q.place
                     ORDER BY s.product_id FOR UPDATE OF s)
                 UPDATE stock_levels s
                 SET on_hand = s.on_hand + held.quantity, revision = s.revision + (held.quantity <> 0)::integer,
                     reason = $4::text::stock_reason, counted_at = clock_timestamp(), request_id = $5
                 FROM held WHERE s.warehouse_id = $1 AND s.product_id = held.product_id",
                &[&warehouse, &first, &quantities, &reason, &self.request],
            )
            .await?;
        self.due(ADJUSTED, quantities.iter().filter(|quantity| **quantity != 0).count() as u64);
        self.session
            .execute(
                "INSERT INTO stock_movements (warehouse_id, product_id, quantity, reason, request_id)
                 SELECT $1, $2 + q.place, q.quantity, $4::text::stock_reason, $5
                 FROM unnest($3::integer[]) WITH ORDINALITY AS q (quantity, place)",
                &[&warehouse, &first, &quantities, &reason, &self.request],
            )
            .await?;
        Ok(Effect::Nothing)
    }

    pub(super) async fn reprice(&mut self) -> Result<Effect, Error> {
        let product = self.product();
        self.session.execute("UPDATE products SET list_price = list_price + 0.01 WHERE id = $1", &[&product]).await?;
        Ok(Effect::Nothing)
    }
}
