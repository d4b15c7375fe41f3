//! A change to an event's bytes: an order of fifteen fields; and the same by apache-avro's `Value`.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use divan::{Bencher, black_box};

use crate::support::order::{META, Order};

#[divan::bench]
fn value(bencher: Bencher<'_, '_>) {
    let mut order = Order::new().unwrap();
    let program = order.program().unwrap();
    let change = Order::change(&mut order.decoder, &order.insert).unwrap();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        program.value(black_box(&change), &META, &mut out).is_ok()
    });
}

#[divan::bench]
fn key(bencher: Bencher<'_, '_>) {
    let mut order = Order::new().unwrap();
    let program = order.program().unwrap();
    let change = Order::change(&mut order.decoder, &order.insert).unwrap();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        program.key(black_box(&change), &mut out).is_ok()
    });
}

/// The value tree is cloned where a row would have to be put into one.
#[divan::bench]
fn avro_value(bencher: Bencher<'_, '_>) {
    let mut order = Order::new().unwrap();
    let (program, schema) = (order.program().unwrap(), Schema::parse_str(&order.event.contract.schema).unwrap());
    let mut bytes = Vec::new();
    program.value(&Order::change(&mut order.decoder, &order.insert).unwrap(), &META, &mut bytes).unwrap();
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut &bytes[5..]).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    bencher.bench_local(|| writer.write_value_to_vec(black_box(&value).clone()).is_ok());
}
