//! One event alone: an order of fifteen fields from tuple bytes, beside the same by apache-avro's `Value`.

use std::hint::black_box;
use std::time::Instant;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::Bench;
use crate::report::Row;
use crate::support::Result;
use crate::support::order::{META, Order};

const EVENTS: u32 = 100_000;
/// Of which the best counts: what disturbs only makes slower.
const TRIES: u32 = 10;
/// Magic byte and schema id.
const WIRE_HEADER: usize = 5;

pub(crate) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let mut order = Order::new()?;
    let (program, schema) = (order.program()?, Schema::parse_str(&order.event.contract.schema)?);
    let change = Order::change(&mut order.decoder, &order.insert)?;
    let mut out = Vec::with_capacity(1 << 20);
    program.value(&change, &META, &mut out)?;
    let bytes = out.get(WIRE_HEADER..).ok_or("the event has no header")?.to_vec();
    // The value tree is cloned where a row would have to be put into one.
    let value = GenericDatumReader::builder(&schema).build()?.read_value(&mut &*bytes)?;
    let writer = GenericDatumWriter::builder(&schema).build()?;
    if writer.write_value_to_vec(value.clone())? != bytes {
        return Err("apache-avro writes other bytes".into());
    }
    Row::print_head();
    for round in 1..=bench.sizes.rounds {
        let own = best(|| {
            out.clear();
            program.value(black_box(&change), &META, &mut out).is_ok()
        })?;
        let avro = best(|| writer.write_value_to_vec(black_box(&value).clone()).is_ok())?;
        for (runner, microseconds) in [("walwright", own), ("avro_value", avro)] {
            let (workload, runner, microseconds) = (bench.call.clone(), runner.to_owned(), Some(microseconds));
            bench.take(Row { workload, runner, round, changes: EVENTS.into(), microseconds, ..Row::default() });
        }
    }
    Ok(())
}

/// Microseconds of one.
fn best(mut one: impl FnMut() -> bool) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..TRIES {
        let begun = Instant::now();
        for _ in 0..EVENTS {
            if !one() {
                return Err("an event cannot be encoded".into());
            }
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS));
    }
    Ok(best)
}
