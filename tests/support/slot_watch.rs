//! The invariant watchdog: the slot never passes what Kafka has committed.
//!
//! About twenty times a second it reads the slot's `confirmed_flush_lsn` first and the newest committed checkpoint
//! second, so that what it compares can only be more lenient than the truth. A commit becomes visible to readers a
//! moment after the broker has decided and answered (its markers are written later), so a slot that seems ahead is
//! looked at again for a while, of which only the time counts in which the broker answers. Servers may be down.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio_postgres::Client;
use walwright::model::Lsn;

use super::{Context, Result, runtime, sql};

const PERIOD: Duration = Duration::from_millis(50);
/// A server that does not answer so long is down for this sample.
const ANSWER: Duration = Duration::from_secs(2);
/// Pause between two looks at a slot that seems ahead.
const AGAIN: Duration = Duration::from_millis(10);
/// How long the end waits for servers before it gives a suspicion up unresolved.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// libpq's key words.
    pub(crate) postgres: String,
    pub(crate) slot: String,
    /// `bootstrap.servers`
    pub(crate) brokers: String,
    pub(crate) checkpoint_topic: String,
    /// How long a commit may take to become visible while the broker answers.
    pub(crate) settle: Duration,
}

impl Watched {
    pub(crate) const SETTLE: Duration = Duration::from_secs(10);
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Comparisons of a slot with a checkpoint.
    pub(crate) samples: u64,
    /// Positions of the slot that no committed checkpoint covered.
    pub(crate) slot_ahead: u64,
    /// The first of them.
    pub(crate) first: Option<String>,
    /// The longest that a slot seemed ahead and was not.
    pub(crate) settled_after: Duration,
}

impl Report {
    /// A fault if the slot was ever ahead, or if nothing was compared.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.first {
            Some(first) => {
                Err(format!("the slot passed the checkpoint {} times, first: {first}", self.slot_ahead).into())
            }
            None if self.samples == 0 => Err("the watchdog of the slot compared nothing".into()),
            None => Ok(()),
        }
    }
}

pub(crate) struct SlotWatch {
    stop: Sender<()>,
    thread: JoinHandle<Report>,
}

impl SlotWatch {
    pub(crate) fn start(watched: Watched) -> Result<Self> {
        let (stop, stopped) = channel();
        let mut watch = Watch::new(watched)?;
        let thread = Builder::new().name("slot-watch".to_owned()).spawn(move || watch.run(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Looks once more and says what was seen.
    pub(crate) fn finish(self) -> Result<Report> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the watchdog of the slot panicked".into())
    }
}

/// The watchdog of one test: whatever it finds fails the test, at the latest when it is dropped.
#[derive(Default)]
pub(crate) struct Watchdog {
    watch: RefCell<Option<SlotWatch>>,
    off: Cell<bool>,
}

impl Watchdog {
    /// Watches from now on, unless it does already or was told not to.
    pub(crate) fn begin(&self, watched: impl FnOnce() -> Watched) -> Result<()> {
        if self.watch.borrow().is_none() && !self.off.get() {
            self.watch.replace(Some(SlotWatch::start(watched())?));
        }
        Ok(())
    }

    /// Ends the watch, which must have compared something.
    pub(crate) fn end(&self) -> Result<()> {
        self.watch.take().map_or(Ok(()), |watch| watch.finish()?.check())
    }

    /// For a test that puts slot and checkpoint at odds itself.
    pub(crate) fn turn_off(&self) {
        self.off.set(true);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        if std::thread::panicking() {
            return;
        }
        // A connector that halts before its first checkpoint leaves nothing to compare.
        match watch.finish() {
            Ok(report) if report.slot_ahead == 0 => {}
            Ok(report) => panic!("the slot passed the checkpoint: {report:?}"),
            Err(fault) => panic!("{fault}"),
        }
    }
}

struct Watch {
    watched: Watched,
    confirmed: LsnQuery,
    checkpoints: Checkpoints,
    report: Report,
    /// The slot's last position found ahead: said once.
    ahead: Lsn,
}

impl Watch {
    fn new(watched: Watched) -> Result<Self> {
        let slot = &watched.slot;
        let query = format!("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'");
        let confirmed = LsnQuery::new(&watched.postgres, query);
        let checkpoints = Checkpoints::new(&watched)?;
        Ok(Self { watched, confirmed, checkpoints, report: Report::default(), ahead: Lsn(0) })
    }

    fn run(&mut self, stop: &Receiver<()>) -> Report {
        loop {
            let last = !matches!(stop.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout));
            self.sample(stop);
            if last {
                return self.report.clone();
            }
        }
    }

    fn sample(&mut self, stop: &Receiver<()>) {
        let Some(confirmed) = self.confirmed.ask() else { return };
        // Before the first checkpoint there is nothing to compare with.
        let Some(next_lsn) = self.checkpoints.newest() else { return };
        self.report.samples += 1;
        if confirmed > next_lsn && confirmed > self.ahead {
            self.settle(confirmed, stop);
        }
    }

    fn settle(&mut self, confirmed: Lsn, stop: &Receiver<()>) {
        let (begun, mut answered) = (Instant::now(), Duration::ZERO);
        loop {
            let asked = Instant::now();
            let newest = self.checkpoints.newest();
            if newest.is_some_and(|next_lsn| confirmed <= next_lsn) {
                self.report.settled_after = self.report.settled_after.max(begun.elapsed());
                return;
            }
            let ended = matches!(stop.recv_timeout(AGAIN), Err(RecvTimeoutError::Disconnected));
            match newest {
                Some(next_lsn) => {
                    answered += asked.elapsed();
                    if answered > self.watched.settle {
                        return self.found(confirmed, next_lsn);
                    }
                }
                None if ended && begun.elapsed() > PATIENCE => return,
                None => {}
            }
        }
    }

    fn found(&mut self, confirmed: Lsn, next_lsn: Lsn) {
        self.report.slot_ahead += 1;
        self.ahead = confirmed;
        let what = || format!("confirmed_flush_lsn {confirmed}, newest checkpoint {next_lsn}");
        self.report.first.get_or_insert_with(what);
    }
}

/// An LSN by SQL, over a connection that is made again when it is lost.
pub(crate) struct LsnQuery {
    connection: String,
    query: String,
    client: Option<Client>,
}

impl LsnQuery {
    /// `query` gives one text or no row.
    pub(crate) fn new(connection: &str, query: String) -> Self {
        Self { connection: connection.to_owned(), query, client: None }
    }

    /// None where the server does not answer or the query gives no LSN.
    pub(crate) fn ask(&mut self) -> Option<Lsn> {
        let answer = runtime().ok()?.block_on(async { tokio::time::timeout(ANSWER, self.answer()).await });
        match answer {
            Ok(Ok(lsn)) => lsn,
            Ok(Err(_)) | Err(_) => {
                self.client = None;
                None
            }
        }
    }

    async fn answer(&mut self) -> Result<Option<Lsn>> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(sql::connect(&self.connection).await?),
        };
        let row = client.query_opt(&self.query, &[]).await?;
        let Some(text) = row.and_then(|row| row.get::<_, Option<String>>(0)) else { return Ok(None) };
        text.parse().map(Some).context(&self.query)
    }
}

/// The newest committed checkpoint, read on from where the last reading ended.
pub(crate) struct Checkpoints {
    consumer: BaseConsumer,
    topic: String,
    next_offset: i64,
    next_lsn: Option<Lsn>,
}

impl Checkpoints {
    pub(crate) fn new(watched: &Watched) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &watched.brokers);
        // A name without a meaning: nothing is committed, no group is joined.
        config.set("group.id", "slot-watch").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error").set("allow.auto.create.topics", "false");
        config.set("fetch.wait.max.ms", "5").set("fetch.error.backoff.ms", "20");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100").set("log_level", "0");
        Ok(Self { consumer: config.create()?, topic: watched.checkpoint_topic.clone(), next_offset: 0, next_lsn: None })
    }

    /// Every reading asks the broker anew, so it covers all that was visible when it was called. None where the broker
    /// does not answer or there is no checkpoint.
    pub(crate) fn newest(&mut self) -> Option<Lsn> {
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.topic, 0, Offset::Offset(self.next_offset)).ok()?;
        self.consumer.assign(&from).ok()?;
        let end = Instant::now() + ANSWER;
        let at_end = self.read_to_end(end);
        self.consumer.unassign().ok()?;
        if at_end { self.next_lsn } else { None }
    }

    fn read_to_end(&mut self, end: Instant) -> bool {
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    self.next_offset = message.offset() + 1;
                    if message.key() == Some(b"checkpoint") {
                        self.next_lsn = message.payload().and_then(next_lsn);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return true,
                Some(Err(_)) | None => {}
            }
        }
        false
    }
}

fn next_lsn(checkpoint: &[u8]) -> Option<Lsn> {
    let checkpoint: serde_json::Value = serde_json::from_slice(checkpoint).ok()?;
    checkpoint.get("next_lsn")?.as_str()?.parse().ok()
}
