//! Bytes of the stream to a change.

use divan::{Bencher, black_box};

use crate::support::order::Order;

#[divan::bench]
fn insert(bencher: Bencher<'_, '_>) {
    let Order { mut decoder, insert, .. } = Order::new().unwrap();
    // The first row makes the room that all others find.
    Order::change(&mut decoder, &insert).unwrap();
    bencher.bench_local(|| Order::change(&mut decoder, black_box(&insert)).is_ok());
}

/// With the whole old row.
#[divan::bench]
fn update_full(bencher: Bencher<'_, '_>) {
    let Order { mut decoder, update, .. } = Order::new().unwrap();
    Order::change(&mut decoder, &update).unwrap();
    bencher.bench_local(|| Order::change(&mut decoder, black_box(&update)).is_ok());
}
