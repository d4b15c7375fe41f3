//! Writers of the table, each on a connection of its own, until they are told to stop.
//!
//! Every version of a row gets a mark of its own, by which the judge knows it again.

use std::fmt::Write;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::support::oms::workload::random::Random;
use crate::support::{Context, Result, runtime};

/// A writer that is late by more than this does not catch up.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Ids of the transaction that is too long to be gathered; about half of them exist.
const LONG_IDS: u64 = 20_000;
/// The first writer makes such a one now and then.
const LONG_EVERY: u64 = 1_000;
const LONG_FIRST: u64 = 200;

/// Who writes, how fast, and to which ids.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connection: Config,
    pub(super) seed: u64,
    pub(super) writers: u16,
    /// Rows per second of all writers together.
    pub(super) rate: f64,
    pub(super) keys: u64,
}

/// What was written, roughly: a statement may find no row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) transactions: u64,
    /// Transactions that rolled back, by themselves or as losers of a deadlock or of a race for a key.
    pub(super) aborted: u64,
    pub(super) lasted: Duration,
}

pub(super) struct Writers {
    begun: Instant,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<Written>>,
}

impl Writers {
    pub(super) fn start(settings: Settings) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let running = runtime()?.spawn(async move {
            let mut running = JoinSet::new();
            for number in 1..=u64::from(settings.writers) {
                running.spawn(Writer::new(&settings, number).run(settings.clone(), stopped.clone()));
            }
            let mut sum = Written::default();
            while let Some(ended) = running.join_next().await {
                let Written { transactions, aborted, .. } = ended??;
                sum.transactions += transactions;
                sum.aborted += aborted;
            }
            Ok(sum)
        });
        Ok(Self { begun: Instant::now(), stop, running })
    }

    /// Every transaction under way is finished first.
    pub(super) fn stop(self) -> Result<Written> {
        self.stop.send_replace(true);
        let written = runtime()?.block_on(self.running).context("the writers")??;
        Ok(Written { lasted: self.begun.elapsed(), ..written })
    }
}

struct Writer {
    random: Random,
    number: u64,
    writers: u64,
    keys: u64,
    mark: u64,
    written: Written,
}

/// A transaction as it is sent, and the rows that it is about.
struct Transaction {
    sql: String,
    rows: u64,
    aborts: bool,
}

impl Writer {
    fn new(settings: &Settings, number: u64) -> Self {
        let (random, writers) = (Random::new(settings.seed, number), u64::from(settings.writers));
        Self { random, number, writers, keys: settings.keys, mark: number, written: Written::default() }
    }

    async fn run(mut self, settings: Settings, mut stop: watch::Receiver<bool>) -> Result<Written> {
        let (client, connection) = settings.connection.connect(NoTls).await?;
        let mut connection = std::pin::pin!(connection);
        let interval = Duration::from_secs_f64(self.writers as f64 / settings.rate);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(self.written),
                ended = &mut connection => return Err(format!("a writer lost its connection: {ended:?}").into()),
            }
            let transaction = self.draw();
            let ended = tokio::select! {
                ended = client.batch_execute(&transaction.sql) => ended,
                ended = &mut connection => return Err(format!("a writer lost its connection: {ended:?}").into()),
            };
            self.written.transactions += 1;
            self.written.aborted += u64::from(transaction.aborts || ended.is_err());
            if let Err(error) = ended {
                if !lost(&error) {
                    return Err(error).context(transaction.sql);
                }
                tokio::select! {
                    ended = client.batch_execute("ROLLBACK") => ended?,
                    ended = &mut connection => return Err(format!("a writer lost its connection: {ended:?}").into()),
                }
            }
            let rows = u32::try_from(transaction.rows).unwrap_or(u32::MAX);
            due = (due + interval * rows).max(Instant::now() - LATE_MAX);
        }
    }

    fn draw(&mut self) -> Transaction {
        if self.number == 1 && self.written.transactions % LONG_EVERY == LONG_FIRST {
            return self.long();
        }
        let mut aborts = false;
        let statements = match self.random.below(1_000) {
            0..620 => vec![self.update()],
            620..700 => self.several(),
            700..730 => {
                let first = self.any();
                let mark = self.mark();
                vec![format!("UPDATE orders SET mark = {mark} WHERE id BETWEEN {first} AND {}", first + 20)]
            }
            730..800 => vec![self.insert()],
            800..850 => vec![format!("DELETE FROM orders WHERE id = {}", self.known())],
            850..880 => {
                let id = self.known();
                vec![format!("DELETE FROM orders WHERE id = {id}"), self.insert_as(id)]
            }
            880..930 => vec![self.moved()],
            930..950 => vec![self.moved(), self.update(), self.moved()],
            950..998 => {
                aborts = true;
                vec![
                    self.insert(),
                    self.update(),
                    self.moved(),
                    format!("DELETE FROM orders WHERE id = {}", self.known()),
                ]
            }
            _ => vec![self.update(), format!("SELECT pg_sleep(0.{})", 1 + self.random.below(4)), self.update()],
        };
        let rows = statements.len() as u64;
        let end = if aborts { "ROLLBACK" } else { "COMMIT" };
        let sql = if rows == 1 { statements.concat() } else { format!("BEGIN; {}; {end}", statements.join("; ")) };
        Transaction { sql, rows, aborts }
    }

    fn long(&mut self) -> Transaction {
        let first = 1 + self.random.below(self.keys.saturating_sub(LONG_IDS).max(1));
        let mark = self.mark();
        let sql = format!("UPDATE orders SET mark = {mark} WHERE id BETWEEN {first} AND {}", first + LONG_IDS);
        Transaction { sql, rows: LONG_IDS / 2, aborts: false }
    }

    /// Updates of several rows, some in a savepoint that is released or taken back.
    fn several(&mut self) -> Vec<String> {
        let mut statements: Vec<String> = (0..2 + self.random.below(6)).map(|_| self.update()).collect();
        if self.random.percent(50) {
            statements.insert(1, "SAVEPOINT part".to_owned());
            let end = *self.random.pick(&["RELEASE SAVEPOINT part", "ROLLBACK TO SAVEPOINT part"]);
            statements.push(end.to_owned());
            statements.push(self.update());
        }
        statements
    }

    /// A mark that no other version of any row has, but for those of the same statement.
    fn mark(&mut self) -> u64 {
        self.mark += self.writers;
        self.mark
    }

    fn any(&mut self) -> u64 {
        1 + self.random.below(self.keys)
    }

    /// An id that most probably exists.
    fn known(&mut self) -> u64 {
        let id = self.any();
        if self.random.percent(85) { id + id % 2 } else { id }
    }

    fn update(&mut self) -> String {
        let (id, mark) = (self.known(), self.mark());
        let mut sql = format!("UPDATE orders SET mark = {mark}, status = 'S{}'", mark % 7);
        // Writing to a string cannot fail.
        let _written =
            write!(sql, ", amount = {}.{:02}, note = {} WHERE id = {id}", mark % 99_991, mark % 100, self.note());
        sql
    }

    fn insert(&mut self) -> String {
        let id = self.any();
        self.insert_as(id)
    }

    fn insert_as(&mut self, id: u64) -> String {
        let (mark, note) = (self.mark(), self.note());
        let columns = "INSERT INTO orders (id, mark, status, amount, note)";
        format!("{columns} VALUES ({id}, {mark}, 'NEW', {}.50, {note}) ON CONFLICT DO NOTHING", mark % 99_991)
    }

    fn note(&mut self) -> String {
        match self.random.below(10) {
            0 => "NULL".to_owned(),
            _ => format!("'note {:016x}{:016x}'", self.random.next(), self.random.next()),
        }
    }

    /// A row gets another key, where that is free.
    fn moved(&mut self) -> String {
        let (id, to, mark) = (self.known(), self.any(), self.mark());
        format!(
            "UPDATE orders SET id = {to}, mark = {mark} WHERE id = {id} AND id <> {to}
             AND NOT EXISTS (SELECT FROM orders WHERE id = {to})"
        )
    }
}

/// Two writers wanted the same rows, or the same key.
fn lost(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::T_R_DEADLOCK_DETECTED, SqlState::UNIQUE_VIOLATION].contains(code))
}
