//! A change to the events that it yields, by the worked example's rules on orders.

use divan::{Bencher, black_box};
use walwright::map::{TableRules, Yields};

use crate::support::order::Order;

#[divan::bench]
fn insert(bencher: Bencher<'_, '_>) {
    let mut order = Order::new().unwrap();
    let message = std::mem::take(&mut order.insert);
    route(bencher, order, &message)
}

/// Two conditions that compare the old row with the new one.
#[divan::bench]
fn update_full(bencher: Bencher<'_, '_>) {
    let mut order = Order::new().unwrap();
    let message = std::mem::take(&mut order.update);
    route(bencher, order, &message)
}

fn route(bencher: Bencher<'_, '_>, order: Order, message: &[u8]) {
    let Order { plan, mut decoder, .. } = order;
    let rules = TableRules::compile(&plan, decoder.relation(0).unwrap()).unwrap();
    let change = Order::change(&mut decoder, message).unwrap();
    let mut yields = Yields::default();
    rules.route(&change, &mut yields).unwrap();
    bencher.bench_local(|| rules.route(black_box(&change), &mut yields).is_ok());
}
