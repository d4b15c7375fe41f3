//! The steps of the business, each the body of one transaction.

use serde::Serialize;
use tokio_postgres::Error;

use super::{
    journal::Due,
    memory::{Customer, Effect, Memory},
    random::Random,
    session::Session,
};

/// What a transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Operation {
    /// An order with its lines, stock reserved, all in one transaction; now and then paid at once.
    Place,
    /// A line more for an order that is not paid yet.
    Extend,
    /// Payment authorised and captured, order paid: two updates of one payment's life in one transaction.
    Pay,
    Ship,
    Cancel,
    Return,
    CountStock,
    Restock,
    /// A new price: a table that no rule names.
    Reprice,
    /// Several updates of one row in one transaction.
    Annotate,
    /// Updates that change nothing.
    Touch,
    CreateCustomer,
    ChangeCustomer,
    /// The primary key changes.
    RenumberCustomer,
    DeleteCustomer,
}

/// How often each is drawn, in percent.
const SHARES: &[(u64, Operation)] = &[
    (25, Operation::Place),
    (3, Operation::Extend),
    (20, Operation::Pay),
    (17, Operation::Ship),
    (5, Operation::Cancel),
    (4, Operation::Return),
    (7, Operation::CountStock),
    (3, Operation::Restock),
    (1, Operation::Reprice),
    (4, Operation::Annotate),
    (3, Operation::Touch),
    (3, Operation::CreateCustomer),
    (3, Operation::ChangeCustomer),
    (1, Operation::RenumberCustomer),
    (1, Operation::DeleteCustomer),
];

const CUSTOMER_CHANGED: &str = "oms.CustomerChanged";
const TOMBSTONE: &str = "walwright.Tombstone";

/// Beyond this a writer changes the customers that it has.
const CUSTOMERS_MAX: usize = 200;

/// Draws an operation that the writer's rows allow.
pub(super) fn draw(random: &mut Random, memory: &Memory) -> Operation {
    let mut at = random.below(SHARES.iter().map(|(share, _)| share).sum());
    let mut drawn = Operation::Place;
    for &(share, operation) in SHARES {
        if at < share {
            drawn = operation;
            break;
        }
        at -= share;
    }
    possible(drawn, memory)
}

fn possible(drawn: Operation, memory: &Memory) -> Operation {
    use Operation::{Cancel, ChangeCustomer, CreateCustomer, Extend, Pay, Place, Return, Ship};
    let nothing_open = memory.placed.is_empty();
    match drawn {
        _ if memory.customers.is_empty() => CreateCustomer,
        Extend | Pay if nothing_open => Place,
        Ship if memory.paid.is_empty() => Place,
        Cancel if nothing_open && memory.paid.is_empty() => Place,
        Return if memory.shipped.is_empty() => Place,
        CreateCustomer if memory.customers.len() >= CUSTOMERS_MAX => ChangeCustomer,
        other => other,
    }
}

/// A transaction under way: where it runs, whose rows it knows, and the id that it puts into each row.
pub(super) struct Step<'a> {
    pub(super) session: &'a mut Session,
    pub(super) random: &'a mut Random,
    pub(super) memory: &'a Memory,
    pub(super) request: &'a str,
}

impl Step<'_> {
    pub(super) async fn perform(&mut self, operation: Operation) -> Result<Effect, Error> {
        match operation {
            Operation::Place => self.place().await,
            Operation::Extend => self.extend().await,
            Operation::Pay => self.pay().await,
            Operation::Ship => self.ship().await,
            Operation::Cancel => self.cancel().await,
            Operation::Return => self.take_back().await,
            Operation::CountStock => self.count_stock().await,
            Operation::Restock => self.restock().await,
            Operation::Reprice => self.reprice().await,
            Operation::Annotate => self.annotate().await,
            Operation::Touch => self.touch().await,
            Operation::CreateCustomer => self.create_customer().await,
            Operation::ChangeCustomer => self.change_customer().await,
            Operation::RenumberCustomer => self.renumber_customer().await,
            Operation::DeleteCustomer => self.delete_customer().await,
        }
    }

    /// The transaction calls for so many events, which show its request id.
    pub(super) fn due(&mut self, event: &'static str, count: u64) {
        self.due_with_mark(event, count, self.request.to_owned());
    }

    fn due_with_mark(&mut self, event: &'static str, count: u64, mark: String) {
        self.session.tally.due.push(Due { event, count, mark });
    }

    async fn extend(&mut self) -> Result<Effect, Error> {
        let Some(&order) = self.memory.placed.front() else { return Ok(Effect::Nothing) };
        let lines = self
            .session
            .execute(
                "INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price, tax_rate,
                                          gift_text, request_id)
                 SELECT o.id, o.line_count + 1, p.id, 1, 4.99, 7, 'with love', $2
                 FROM orders o, products p
                 WHERE o.id = $1
                   AND NOT EXISTS (SELECT FROM order_lines l WHERE l.order_id = o.id AND l.product_id = p.id)
                 ORDER BY p.id LIMIT 1",
                &[&order, &self.request],
            )
            .await?;
        self.due("oms.OrderLineAdded", lines);
        self.session
            .execute(
                "UPDATE orders SET line_count = line_count + 1, total_amount = total_amount + 4.99, request_id = $2
                 WHERE id = $1",
                &[&order, &self.request],
            )
            .await?;
        self.session
            .execute(
                "UPDATE stock_levels s SET reserved = reserved + 1, request_id = $2
                 FROM orders o JOIN order_lines l ON l.order_id = o.id AND l.line_number = o.line_count
                 WHERE o.id = $1 AND s.warehouse_id = o.warehouse_id AND s.product_id = l.product_id",
                &[&order, &self.request],
            )
            .await?;
        Ok(Effect::Nothing)
    }

    async fn annotate(&mut self) -> Result<Effect, Error> {
        let Some(&order) = self.memory.placed.back().or(self.memory.paid.back()) else { return Ok(Effect::Nothing) };
        for attempt in 1..=3_i32 {
            self.session
                .execute(
                    "UPDATE orders SET internal_note = format('call %s: nobody there', $2::integer), request_id = $3
                     WHERE id = $1",
                    &[&order, &attempt, &self.request],
                )
                .await?;
        }
        Ok(Effect::Nothing)
    }

    /// Some clients write all columns of a row that they did not change.
    async fn touch(&mut self) -> Result<Effect, Error> {
        if let Some(order) = self.memory.paid.back() {
            self.session.execute("UPDATE orders SET status = status WHERE id = $1", &[order]).await?;
            self.session.execute("UPDATE payments SET status = status WHERE order_id = $1", &[order]).await?;
        }
        let product = self.product();
        self.session
            .execute(
                "UPDATE stock_levels SET on_hand = on_hand WHERE warehouse_id = 1 AND product_id = $1",
                &[&product],
            )
            .await?;
        if let Some(customer) = self.memory.any_customer(self.random) {
            let number = &self.memory.customers[customer].number;
            let touch = "UPDATE customers SET name = name WHERE customer_number = $1 RETURNING request_id";
            let row = self.session.execute_returning(touch, &[number]).await?;
            self.due_with_mark(CUSTOMER_CHANGED, 1, row.get(0));
        }
        Ok(Effect::Nothing)
    }

    async fn create_customer(&mut self) -> Result<Effect, Error> {
        let number = format!("C-{}", self.request);
        let name =
            *self.random.pick(&["Ada Lovelace", "Zoë Müller", "Łukasz Żak", "李小龍", "O'Brien \"Bob\" \\ Ltd 🚚"]);
        let credit_limit = *self.random.pick(&[None, Some("0.00"), Some("2500.50"), Some("9999999999.99")]);
        let row = self
            .session
            .execute_returning(
                "INSERT INTO customers (customer_number, name, email, phone, tier, birth_date, newsletter,
                                        credit_limit, billing_address, password_hash, request_id)
                 VALUES ($1::text, $2::text, $1::text || '@example.com', $3, 'STANDARD', date '1950-01-01' + $4::integer, $5,
                         $6::text::numeric, jsonb_build_object('recipient', $2::text, 'country', 'DE'), md5($1::text), $7)
                 RETURNING id::text",
                &[
                    &number,
                    &name,
                    &self.random.percent(50).then_some("+49 40 1234567"),
                    &(self.random.below(20_000) as i32),
                    &self.random.percent(30),
                    &credit_limit,
                    &self.request,
                ],
            )
            .await?;
        self.due(CUSTOMER_CHANGED, 1);
        Ok(Effect::CustomerCreated(Customer { number, id: row.get(0), ordered: false }))
    }

    async fn change_customer(&mut self) -> Result<Effect, Error> {
        let Some(customer) = self.memory.any_customer(self.random) else { return Ok(Effect::Nothing) };
        let number = &self.memory.customers[customer].number;
        let tier = *self.random.pick(&["STANDARD", "SILVER", "GOLD"]);
        let changed = self
            .session
            .execute(
                "UPDATE customers SET tier = $2::text::customer_tier, newsletter = NOT newsletter, request_id = $3
                 WHERE customer_number = $1",
                &[number, &tier, &self.request],
            )
            .await?;
        self.due(CUSTOMER_CHANGED, changed);
        Ok(Effect::Nothing)
    }

    async fn renumber_customer(&mut self) -> Result<Effect, Error> {
        let Some(customer) = self.memory.any_customer(self.random) else { return Ok(Effect::Nothing) };
        let number = format!("R-{}", self.request);
        let old_number = &self.memory.customers[customer].number;
        let moved = self
            .session
            .execute(
                "UPDATE customers SET customer_number = $2, request_id = $3 WHERE customer_number = $1",
                &[old_number, &number, &self.request],
            )
            .await?;
        self.due_with_mark(TOMBSTONE, moved, old_number.clone());
        self.due(CUSTOMER_CHANGED, moved);
        Ok(Effect::Renumbered { customer, number })
    }

    async fn delete_customer(&mut self) -> Result<Effect, Error> {
        let Some(customer) = self.memory.customers.iter().rposition(|customer| !customer.ordered) else {
            return Ok(Effect::Nothing);
        };
        let number = &self.memory.customers[customer].number;
        let deleted = self.session.execute("DELETE FROM customers WHERE customer_number = $1", &[number]).await?;
        self.due_with_mark(TOMBSTONE, deleted, number.clone());
        Ok(Effect::CustomerDeleted(customer))
    }

    /// The key of a product; reference data has them from 1 to 200.
    pub(super) fn product(&mut self) -> i64 {
        1 + self.random.below(200) as i64
    }
}
