//! An order's way: placed, paid, shipped; or cancelled; or sent back.

use tokio_postgres::Error;

use super::{memory::Effect, operation::Step};

/// What a customer puts into the basket, column by column, by product.
struct Basket {
    numbers: Vec<i16>,
    products: Vec<i64>,
    quantities: Vec<i32>,
    prices: Vec<String>,
    total: String,
}

impl Step<'_> {
    pub(super) async fn place(&mut self) -> Result<Effect, Error> {
        let Some(customer) = self.memory.any_customer(self.random) else { return Ok(Effect::Nothing) };
        let warehouse = self.warehouse();
        let basket = self.basket();
        let order = self.insert_order(&self.memory.customers[customer].id, warehouse, &basket).await?;
        let lines = self
            .session
            .execute(
                "INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate, request_id)
                 SELECT $1, line.number, line.product, line.quantity, line.price::numeric, 19, $6
                 FROM unnest($2::smallint[], $3::bigint[], $4::integer[], $5::text[])
                      AS line (number, product, quantity, price)",
                &[&order, &basket.numbers, &basket.products, &basket.quantities, &basket.prices, &self.request],
            )
            .await?;
        self.due("oms.OrderPlaced", 1);
        self.due("oms.OrderLineAdded", lines);
        self.reserve_stock(order, 1).await?;
        let paid = self.random.percent(15);
        if paid {
            self.pay_order(order).await?;
        }
        Ok(Effect::Placed { order, customer, paid })
    }

    fn basket(&mut self) -> Basket {
        let lines = 1 + self.random.below(4);
        let first = self.product();
        let mut basket = Basket {
            numbers: (1..=lines as i16).collect(),
            // Apart by 50, so that no product comes twice.
            products: (0..lines as i64).map(|line| (first + 50 * line - 1) % 200 + 1).collect(),
            quantities: (0..lines).map(|_| 1 + self.random.below(5) as i32).collect(),
            prices: Vec::new(),
            total: String::new(),
        };
        let mut total_cents = 0;
        for quantity in &basket.quantities {
            let cents = 1 + self.random.below(99_999);
            total_cents += cents * u64::from(quantity.unsigned_abs());
            basket.prices.push(money(cents));
        }
        basket.total = money(total_cents);
        basket
    }

    async fn insert_order(&mut self, customer_id: &str, warehouse: i32, basket: &Basket) -> Result<i64, Error> {
        let channel = *self.random.pick(&["W", "W", "W", "S", "P"]);
        let note = self.customer_note();
        let row = self
            .session
            .execute_returning(
                "INSERT INTO orders (customer_id, channel, warehouse_id, total_amount, line_count, gift,
                                     shipping_address, requested_delivery_date, customer_note, request_id)
                 VALUES ($1::text::uuid, $2::text, $3, $4::text::numeric, $5, $6,
                         jsonb_build_object('recipient', 'Ada \"L\"', 'street', 'Hauptstraße 7', 'city', 'Köln',
                                            'postcode', '50667', 'country', 'DE'),
                         CASE WHEN $7 THEN current_date + 3 END, $8, $9)
                 RETURNING id",
                &[
                    &customer_id,
                    &channel,
                    &warehouse,
                    &basket.total,
                    &(basket.numbers.len() as i16),
                    &self.random.percent(5),
                    &self.random.percent(20),
                    &note,
                    &self.request,
                ],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Seldom one so long, and so hard to compress, that Postgres keeps it out of line (TOAST).
    fn customer_note(&mut self) -> Option<String> {
        match self.random.below(200) {
            0 => Some((0..400).map(|_| format!("{:016x}", self.random.next())).collect()),
            1..30 => Some("Bitte beim Nachbarn abgeben 🙏\n\"2. Stock\"".to_owned()),
            30..35 => Some(String::new()),
            _ => None,
        }
    }

    pub(super) async fn pay(&mut self) -> Result<Effect, Error> {
        let Some(&order) = self.memory.placed.front() else { return Ok(Effect::Nothing) };
        self.pay_order(order).await?;
        Ok(Effect::Paid)
    }

    async fn pay_order(&mut self, order: i64) -> Result<(), Error> {
        let method = *self.random.pick(&["CARD", "CARD", "TRANSFER", "INVOICE", "WALLET"]);
        let row = self
            .session
            .execute_returning(
                "INSERT INTO payments (order_id, method, amount, currency, provider_token, request_id)
                 SELECT id, $2::text::payment_method, total_amount, currency, md5($3::text), $3::text FROM orders WHERE id = $1
                 RETURNING id",
                &[&order, &method, &self.request],
            )
            .await?;
        let payment: i64 = row.get(0);
        let captured = self
            .session
            .execute(
                "UPDATE payments SET status = 'CAPTURED', captured_at = clock_timestamp() WHERE id = $1",
                &[&payment],
            )
            .await?;
        self.due("oms.PaymentCaptured", captured);
        let paid = self
            .session
            .execute(
                "UPDATE orders SET status = 'PAID', paid_at = clock_timestamp(), request_id = $2 WHERE id = $1",
                &[&order, &self.request],
            )
            .await?;
        self.due("oms.OrderPaid", paid);
        Ok(())
    }

    pub(super) async fn ship(&mut self) -> Result<Effect, Error> {
        let Some(&order) = self.memory.paid.front() else { return Ok(Effect::Nothing) };
        let carrier = *self.random.pick(&["DHL", "UPS", "GLS"]);
        let tracking = self.random.percent(80).then(|| format!("{:020}", self.random.next()));
        let shipped = self
            .session
            .execute(
                "INSERT INTO shipments (order_id, warehouse_id, carrier, tracking_number, parcels, weight_kg,
                                        pickup_time, label_digest, request_id)
                 SELECT id, warehouse_id, $2, $3, 1 + line_count / 3, line_count * 0.35::double precision,
                        CASE WHEN $4 THEN time '16:30:00.25' END, sha256(convert_to($5::text, 'UTF8')), $5::text
                 FROM orders WHERE id = $1",
                &[&order, &carrier, &tracking, &self.random.percent(50), &self.request],
            )
            .await?;
        self.due("oms.OrderShipped", shipped);
        self.session
            .execute(
                "UPDATE orders SET status = 'SHIPPED', shipped_at = clock_timestamp(), request_id = $2 WHERE id = $1",
                &[&order, &self.request],
            )
            .await?;
        self.move_stock(order, -1, "SHIPMENT").await?;
        Ok(Effect::Shipped)
    }

    pub(super) async fn cancel(&mut self) -> Result<Effect, Error> {
        let (order, effect) = match (self.memory.placed.front(), self.memory.paid.front()) {
            (Some(&order), None) => (order, Effect::CancelledPlaced),
            (Some(&order), Some(_)) if self.random.percent(60) => (order, Effect::CancelledPlaced),
            (_, Some(&order)) => (order, Effect::CancelledPaid),
            (None, None) => return Ok(Effect::Nothing),
        };
        let reason = self.random.percent(70).then_some("changed my mind");
        let cancelled = self
            .session
            .execute(
                "UPDATE orders SET status = 'CANCELLED', cancelled_at = clock_timestamp(), cancel_reason = $2,
                                   request_id = $3
                 WHERE id = $1",
                &[&order, &reason, &self.request],
            )
            .await?;
        self.due("oms.OrderCancelled", cancelled);
        self.reserve_stock(order, -1).await?;
        self.refund(order).await?;
        Ok(effect)
    }

    async fn refund(&mut self, order: i64) -> Result<(), Error> {
        let refunded = self
            .session
            .execute(
                "UPDATE payments SET status = 'REFUNDED', refunded_at = clock_timestamp(), refunded_amount = amount,
                                     request_id = $2
                 WHERE order_id = $1 AND status = 'CAPTURED'",
                &[&order, &self.request],
            )
            .await?;
        self.due("oms.PaymentRefunded", refunded);
        Ok(())
    }

    pub(super) async fn take_back(&mut self) -> Result<Effect, Error> {
        let Some(&order) = self.memory.shipped.front() else { return Ok(Effect::Nothing) };
        let restocked = self.random.percent(70);
        let row = self
            .session
            .execute_returning(
                "INSERT INTO returns (order_id, rma_number, reason, restocked, refund_amount, request_id)
                 SELECT id, 'RMA-' || id, $2, $3, total_amount, $4 FROM orders WHERE id = $1 RETURNING id",
                &[&order, &self.random.percent(60).then_some("too small"), &restocked, &self.request],
            )
            .await?;
        let taken: i64 = row.get(0);
        self.due("oms.ReturnReceived", 1);
        self.session
            .execute(
                "INSERT INTO return_lines (return_id, product_id, quantity)
                 SELECT $2, product_id, quantity FROM order_lines WHERE order_id = $1",
                &[&order, &taken],
            )
            .await?;
        if restocked {
            self.move_stock(order, 1, "RETURN").await?;
        }
        self.session
            .execute("UPDATE orders SET status = 'RETURNED', request_id = $2 WHERE id = $1", &[&order, &self.request])
            .await?;
        self.refund(order).await?;
        Ok(Effect::Returned)
    }
}

/// Cents as Postgres reads a numeric.
fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
