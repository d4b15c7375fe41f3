//! What is to be published of a transaction: its begin and its commit.

use divan::{Bencher, black_box};
use walwright::checkpoint::ledger::Ledger;
use walwright::model::Lsn;

#[divan::bench]
fn transaction(bencher: Bencher<'_, '_>) {
    let mut ledger = Ledger::new(Lsn(1), None);
    let mut lsn = 2;
    bencher.bench_local(|| {
        lsn += 2;
        black_box(ledger.begin(Lsn(lsn)).is_ok() && ledger.commit(Lsn(lsn), Lsn(lsn + 1)).is_ok())
    });
}
