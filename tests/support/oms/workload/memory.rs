//! What a writer remembers of its own rows, so that it can go on with them.

use std::collections::VecDeque;

use super::random::Random;

/// A customer of this writer.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    pub(super) number: String,
    pub(super) id: String,
    /// One with orders cannot be deleted.
    pub(super) ordered: bool,
}

/// Orders by where they stand, oldest first, and customers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) placed: VecDeque<i64>,
    pub(super) paid: VecDeque<i64>,
    pub(super) shipped: VecDeque<i64>,
    pub(super) customers: Vec<Customer>,
}

/// What becomes true with the commit, and only then.
#[derive(Clone, Debug, Default)]
pub(super) enum Effect {
    #[default]
    Nothing,
    Placed {
        order: i64,
        customer: usize,
        paid: bool,
    },
    Paid,
    Shipped,
    CancelledPlaced,
    CancelledPaid,
    Returned,
    CustomerCreated(Customer),
    Renumbered {
        customer: usize,
        number: String,
    },
    CustomerDeleted(usize),
}

impl Memory {
    pub(super) fn any_customer(&self, random: &mut Random) -> Option<usize> {
        let count = self.customers.len() as u64;
        (count > 0).then(|| random.below(count) as usize)
    }

    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Placed { order, customer, paid } => {
                self.customers[customer].ordered = true;
                if paid { &mut self.paid } else { &mut self.placed }.push_back(order);
            }
            Effect::Paid => self.paid.extend(self.placed.pop_front()),
            Effect::Shipped => self.shipped.extend(self.paid.pop_front()),
            Effect::CancelledPlaced => drop(self.placed.pop_front()),
            Effect::CancelledPaid => drop(self.paid.pop_front()),
            Effect::Returned => drop(self.shipped.pop_front()),
            Effect::CustomerCreated(customer) => self.customers.push(customer),
            Effect::Renumbered { customer, number } => self.customers[customer].number = number,
            Effect::CustomerDeleted(customer) => drop(self.customers.swap_remove(customer)),
        }
    }
}
