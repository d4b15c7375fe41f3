//! Writers that run the business on a database, each on a connection of its own, until they are told to stop.
//!
//! Each transaction begins with its witness, a row of `requests` with its request id. A writer that loses its connection
//! during a commit reconnects, asks whether the witness is there, and hears what `txid_status` says of the transaction.
//! The witness decides: a crashed server may hand out an xid that it never wrote down a second time, so `txid_status`
//! alone could call a lost transaction committed; but it must confirm each commit. So the journal knows of every
//! transaction whether it committed; unsure is left only where the database did not come back before the end.

pub(crate) mod journal;
mod memory;
pub(crate) mod operation;
mod order;
pub(crate) mod random;
mod session;
mod stock;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};
use tokio_postgres::Config;

use self::{journal::Journal, writer::Writer};

/// How fast and how long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Transactions per second of all writers together; flat out without.
    pub(crate) rate: Option<f64>,
    /// Transactions of each writer, after which it ends by itself.
    pub(crate) transactions_per_writer: Option<u64>,
}

/// Totals while a run lasts.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    transactions: AtomicU64,
    rows: AtomicU64,
}

impl Progress {
    /// Transactions known to have committed.
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Row changes of these.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    fn add(&self, rows: u64) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Writers with their memories; runs any number of times on one database, going on where it stopped.
pub(crate) struct Workload {
    config: Config,
    writers: Vec<Writer>,
    progress: Arc<Progress>,
}

impl Workload {
    /// Request ids contain the seed: a seed serves one workload in one database.
    pub(crate) fn new(config: &Config, seed: u64, writers: u16) -> Self {
        let progress = Arc::new(Progress::default());
        let writers = (1..=writers).map(|number| Writer::new(seed, number, Arc::clone(&progress))).collect();
        Self { config: config.clone(), writers, progress }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Runs until `stop` is true, or its sender is gone, or each writer has made its transactions; every transaction
    /// under way is finished first. Lost connections are made again. Panics when the server refuses a statement for any
    /// reason but a deadlock, a conflict, or its own shutdown: then the workload and the schema do not fit.
    pub(crate) async fn run(&mut self, stop: &watch::Receiver<bool>, pace: Pace) -> Journal {
        let interval = pace.rate.map(|rate| Duration::from_secs_f64(self.writers.len() as f64 / rate));
        let mut running = JoinSet::new();
        for writer in self.writers.drain(..) {
            running.spawn(writer.run(self.config.clone(), stop.clone(), interval, pace.transactions_per_writer));
        }
        self.writers = running.join_all().await;
        self.writers.sort_by_key(Writer::number);
        let entries = self.writers.iter_mut().flat_map(Writer::take_entries).collect();
        Journal { entries }
    }
}
