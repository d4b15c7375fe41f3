//! One writer: connects, makes transactions, and finds out what became of the one that a lost connection cut off.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_postgres::{Config, Error, NoTls, error::SqlState};

use super::{
    Progress,
    journal::{Entry, Outcome},
    memory::{Effect, Memory},
    operation::{Operation, Step, draw},
    random::Random,
    session::{Session, Tally},
};

const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// How often a writer that was told to stop tries to learn the outcome of its last transaction: 10 s in all.
const LAST_ATTEMPTS_MAX: u32 = 200;

/// The witness comes first: whoever inserts the same id later waits until this transaction has ended.
const WITNESS: &str = "INSERT INTO requests (id, operation) VALUES ($1, $2) RETURNING txid_current()";
const WITNESS_AGAIN: &str = "INSERT INTO requests (id, operation) VALUES ($1, $2) ON CONFLICT DO NOTHING";
/// NULL for an xid that the server, after a crash, does not know to have handed out.
const STATUS: &str = "SELECT CASE WHEN $1 < txid_snapshot_xmax(txid_current_snapshot()) THEN txid_status($1) END";

pub(super) struct Writer {
    seed: u64,
    number: u16,
    random: Random,
    memory: Memory,
    sequence: u64,
    pending: Option<Pending>,
    entries: Vec<Entry>,
    progress: Arc<Progress>,
}

/// A transaction whose end is not known yet.
struct Pending {
    operation: Operation,
    effect: Effect,
    tally: Tally,
    /// Once the commit is sent.
    xid: Option<i64>,
}

impl Pending {
    fn new(operation: Operation) -> Self {
        Self { operation, effect: Effect::Nothing, tally: Tally::default(), xid: None }
    }
}

/// How a transaction meets its end, and what happens on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Plain,
    /// The work is done in a savepoint that is released.
    Released,
    /// Other work is done first, in a savepoint, and taken back.
    Detour,
    /// A statement fails in a savepoint, and the transaction goes on.
    Stumble,
    /// All work is taken back.
    RolledBack,
}

impl Writer {
    pub(super) fn new(seed: u64, number: u16, progress: Arc<Progress>) -> Self {
        Self {
            seed,
            number,
            random: Random::new(seed, u64::from(number)),
            memory: Memory::default(),
            sequence: 0,
            pending: None,
            entries: Vec::new(),
            progress,
        }
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    pub(super) async fn run(
        mut self,
        config: Config,
        stop: watch::Receiver<bool>,
        interval: Option<Duration>,
        transactions: Option<u64>,
    ) -> Self {
        let mut schedule = Schedule::new(stop, interval, transactions);
        let mut last_attempts = 0;
        while self.pending.is_some() || !schedule.ended() {
            if schedule.ended() {
                last_attempts += 1;
            }
            if last_attempts > LAST_ATTEMPTS_MAX {
                self.end(Outcome::Unsure);
                break;
            }
            match config.connect(NoTls).await {
                Ok((client, connection)) => {
                    let mut session = Session::new(client);
                    tokio::select! {
                        _ = self.work(&mut session, &mut schedule) => {}
                        _ = connection => {}
                    }
                    self.end_if_certain();
                }
                Err(error) => {
                    fail_unless_transient(&error);
                    sleep(RECONNECT_PAUSE).await;
                }
            }
        }
        self
    }

    /// Makes transactions until the schedule ends or the connection fails.
    async fn work(&mut self, session: &mut Session, schedule: &mut Schedule) -> Result<(), Error> {
        // Prepared plans are made while the tables may still be empty, and kept while they grow.
        session.control("SET enable_seqscan = off").await?;
        self.resolve(session).await?;
        while schedule.next().await {
            if let Err(error) = self.transaction(session).await {
                fail_unless_transient(&error);
                if self.pending.as_ref().is_some_and(|pending| pending.xid.is_some()) {
                    return Err(error);
                }
                session.control("ROLLBACK").await?;
                self.end(Outcome::Aborted);
            }
        }
        Ok(())
    }

    async fn transaction(&mut self, session: &mut Session) -> Result<(), Error> {
        self.sequence += 1;
        let operation = draw(&mut self.random, &self.memory);
        self.pending = Some(Pending::new(operation));
        let request = self.request();
        let xid = session.begin(WITNESS, &[&request, &format!("{operation:?}")]).await?.get(0);
        let course = self.course();
        let effect = self.follow(session, &request, operation, course).await?;
        if course == Course::RolledBack {
            session.control("ROLLBACK").await?;
            self.end(Outcome::Aborted);
            return Ok(());
        }
        self.pending = Some(Pending { operation, effect, tally: session.tally.clone(), xid: Some(xid) });
        session.control("COMMIT").await?;
        self.end(Outcome::Committed);
        Ok(())
    }

    fn course(&mut self) -> Course {
        match self.random.below(100) {
            0..5 => Course::RolledBack,
            5..10 => Course::Detour,
            10..15 => Course::Released,
            15..17 => Course::Stumble,
            _ => Course::Plain,
        }
    }

    async fn follow(
        &mut self,
        session: &mut Session,
        request: &str,
        operation: Operation,
        course: Course,
    ) -> Result<Effect, Error> {
        let other = draw(&mut self.random, &self.memory);
        let mut step = Step { session, random: &mut self.random, memory: &self.memory, request };
        match course {
            Course::Plain | Course::RolledBack => {}
            Course::Released => step.session.control("SAVEPOINT work").await?,
            Course::Detour => {
                step.session.control("SAVEPOINT detour").await?;
                let tally = step.session.tally.clone();
                step.perform(other).await?;
                step.session.tally = tally;
                step.session.control("ROLLBACK TO SAVEPOINT detour").await?;
            }
            Course::Stumble => {
                step.session.control("SAVEPOINT stumble").await?;
                let refused = step.session.execute(WITNESS, &[&request, &"stumble"]).await;
                assert!(refused.is_err(), "the witness {request} could be inserted twice");
                step.session.control("ROLLBACK TO SAVEPOINT stumble").await?;
            }
        }
        let effect = step.perform(operation).await?;
        if course == Course::Released {
            step.session.control("RELEASE SAVEPOINT work").await?;
        }
        Ok(effect)
    }

    /// Looks for the witness of a transaction whose commit was not answered, once that transaction has ended.
    async fn resolve(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(Pending { xid, .. }) = self.pending else { return Ok(()) };
        let request = self.request();
        session.control("BEGIN").await?;
        let inserted = session.execute(WITNESS_AGAIN, &[&request, &"resolve"]).await?;
        let status: Option<String> = session.execute_returning(STATUS, &[&xid]).await?.get(0);
        session.control("ROLLBACK").await?;
        let committed = inserted == 0;
        assert!(!committed || status.as_deref() == Some("committed"), "{request} is there, but {xid:?} is {status:?}");
        self.end(if committed { Outcome::Committed } else { Outcome::Aborted });
        Ok(())
    }

    /// The request id of the latest transaction.
    fn request(&self) -> String {
        format!("s{:x}w{}-{}", self.seed, self.number, self.sequence)
    }

    /// A server that never saw the COMMIT rolls back when its client is gone.
    fn end_if_certain(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| pending.xid.is_none()) {
            self.end(Outcome::Aborted);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(pending) = self.pending.take() else { return };
        let committed = outcome == Outcome::Committed;
        let Tally { rows, due } = if outcome == Outcome::Aborted { Tally::default() } else { pending.tally };
        self.entries.push(Entry {
            request: self.request(),
            writer: self.number,
            sequence: self.sequence,
            operation: pending.operation,
            outcome,
            rows,
            due,
        });
        if committed {
            self.progress.add(rows);
            self.memory.apply(pending.effect);
        }
    }
}

/// When the next transaction is due, and whether there is one.
struct Schedule {
    stop: watch::Receiver<bool>,
    interval: Option<Duration>,
    due: Instant,
    left: Option<u64>,
}

impl Schedule {
    fn new(stop: watch::Receiver<bool>, interval: Option<Duration>, left: Option<u64>) -> Self {
        Self { stop, interval, due: Instant::now(), left }
    }

    fn ended(&self) -> bool {
        self.left == Some(0) || *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Waits until a transaction is due; false if there is none any more. Who is late catches up.
    async fn next(&mut self) -> bool {
        if let Some(interval) = self.interval {
            tokio::select! {
                () = sleep_until(self.due) => self.due += interval,
                _ = self.stop.wait_for(|stop| *stop) => {}
            }
        }
        if self.ended() {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }
}

/// A deadlock, a lost connection, and a server that stops or starts are part of life; anything else is a mistake here.
fn fail_unless_transient(error: &Error) {
    let Some(code) = error.code() else { return };
    let transient = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    assert!(transient.contains(code), "the workload was refused a statement: {error:?}");
}
