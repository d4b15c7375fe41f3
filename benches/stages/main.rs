//! Each stage alone, on one order of the worked example, with its allocations: `cargo bench --bench stages`.
//!
//! Divan counts what the benchmarked code allocates; that a row allocates nothing is held by a test
//! (`pipeline::assembler`), since a benchmark fails nobody.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run ends")]

mod decode;
mod encode;
mod ledger;
mod map;

#[path = "../../tests/support/mod.rs"]
mod support;

use divan::AllocProfiler;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}
