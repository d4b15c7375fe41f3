//! The real world of a start: Kafka and Postgres behind the steps of `recovery`, and the session that comes of it.
//!
//! Kafka first: while it is away there is no replication connection, so Postgres can shut down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::assembler::{Assembler, LARGE_BYTES};
use super::committer::CommitterSettings;
use super::connector::Connector;
use super::emit::Emitter;
use super::inflight::Inflight;
use super::lane::KafkaLane;
use super::monitor::Monitor;
use super::ownership::Owner;
use super::recovery::{self, SourceFacts, Started, World};
use super::relations::{Enrich, Relations};
use super::replay::{AllBounds, Recognition};
use super::session::{Session, UNITS};
use super::snapshot::{Gate, GateSettings, WorkerSettings};
use super::source::Source;
use super::task::{Stop, Task};
use super::{contracts, settings, topics};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::record::{Checkpoint, Delivery, State};
use crate::checkpoint::repeats::Repeats;
use crate::checkpoint::store::Store;
use crate::connector::LargeTransactions;
use crate::encode::headers::HeaderMode;
use crate::error::Result;
use crate::kafka::{self, Admin, Found, KafkaClient, Tail};
use crate::model::Lsn;
use crate::publish::{Fenced, Others, Producer, Turns, control_id, fence};
use crate::source::{SourceSettings, Sql, Stream, StreamSettings, next_xid, preflight};

/// How long one step against Kafka may take before it counts as unreachable.
pub(super) const KAFKA_STEP: Duration = Duration::from_secs(20);

/// librdkafka's `batch.size` where nobody sets it.
const BATCH_BYTES: u64 = 1_000_000;

/// One attempt's way to Kafka.
pub(super) struct Kafka {
    client: KafkaClient,
    pub(super) admin: Admin,
    pub(super) store: Store,
}

/// One attempt of a connector, as the steps of a start see the world.
pub(super) struct Attempt<'a> {
    pub(super) connector: &'a mut Connector,
    pub(super) kafka: Kafka,
    stop: &'a Stop,
}

/// A stream that runs, and the connection by which its slot is looked at.
pub(super) struct Streaming {
    stream: Stream,
    sql: Arc<Sql>,
    settings: SourceSettings,
}

/// Starts one session; None: the stop came first. With it comes what is still closing the clients that the start has used.
pub(super) fn start(connector: &mut Connector, stop: &Stop) -> Result<Option<(Session, Task<()>)>> {
    let mut attempt = Attempt::new(connector, stop)?;
    attempt.kafka.store.ensure_topic(&attempt.kafka.admin)?;
    let Some(started) = recovery::start(&mut attempt)? else { return Ok(None) };
    let (session, control) = attempt.session(started)?;
    // Closing lasts some 200 ms, for which the stream need not wait.
    let Attempt { kafka, .. } = attempt;
    let closing = Task::spawn("close", move || {
        drop((control, kafka));
        Ok(())
    })?;
    Ok(Some((session, closing)))
}

/// Microseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "when something was asked for is said to people")]
pub(super) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn step() -> Instant {
    Instant::now() + KAFKA_STEP
}

impl Kafka {
    fn open(connector: &Connector) -> Result<Kafka> {
        let settings = &connector.process.kafka;
        let mut client = settings.client()?;
        let admin = Admin::new(&client, KAFKA_STEP)?;
        let batch_bytes = topics::batch_bytes_max(&connector.plan, &admin)?.filter(|bytes| *bytes < BATCH_BYTES);
        // Ahead of the user's options, which win.
        client.options.splice(0..0, batch_bytes.map(|bytes| ("batch.size".to_owned(), bytes.to_string())));
        let store = Store::new(&client, &settings.topic_prefix, connector.name());
        Ok(Kafka { client, admin, store })
    }
}

impl World for Attempt<'_> {
    type Source = Source;
    type Fenced = Fenced;
    type Stream = Streaming;

    fn owner(&mut self) -> &mut Owner {
        &mut self.connector.owner
    }

    fn stopped(&self) -> bool {
        self.stop.is_set()
    }

    fn read_stable(&mut self) -> Result<State> {
        self.kafka.store.read_stable(step())
    }

    fn open_source(&mut self) -> Result<Source> {
        contracts::ids(self.connector)?;
        let source = Source::open(self.connector)?;
        let warnings = source.check_rules(&self.connector.plan)?;
        self.connector.warn(warnings);
        Ok(source)
    }

    fn facts(&mut self, source: &mut Source) -> Result<SourceFacts> {
        source.facts()
    }

    fn fence(&mut self) -> Result<Fenced> {
        let settings = &self.connector.process.kafka;
        let (prefix, timeout_ms) = (&settings.transactional_id_prefix, settings.transaction_timeout_ms);
        crate::publish::topics::check_limits(self.kafka.admin.limits()?, timeout_ms)?;
        let topic = self.kafka.store.topic();
        fence(&self.kafka.client, prefix, self.connector.name(), topic, timeout_ms, step())
    }

    fn read_fenced(&mut self) -> Result<State> {
        self.kafka.store.read_fenced(step())
    }

    fn write(&mut self, fenced: &mut Fenced, records: &[(&str, Option<&[u8]>)]) -> Result<()> {
        fenced.control.commit_records(self.kafka.store.topic(), records, step())
    }

    fn base(&mut self, facts: &SourceFacts, recorded: Option<&Checkpoint>) -> Result<Checkpoint> {
        let base = Checkpoint {
            version: Checkpoint::VERSION,
            epoch: 0,
            next_lsn: Lsn(0),
            timeline: facts.timeline,
            system_identifier: facts.system_identifier.clone(),
            delivery: settings::delivery(self.connector.process.kafka.delivery),
            partitions: topics::prepare(self.connector, &self.kafka.admin, recorded)?,
            mapping: self.connector.plan.mapping_hash.clone(),
            partial: None,
            unseen: None,
            acknowledged: None,
        };
        note_changes(self.connector.name(), recorded, &base);
        Ok(base)
    }

    fn create_slot(&mut self, source: &mut Source) -> Result<Option<Lsn>> {
        source.create_slot(self.stop)
    }

    fn drop_slot(&mut self, source: &mut Source) -> Result<()> {
        source.drop_slot()
    }

    fn stream(&mut self, source: Source, from: Lsn) -> Result<Streaming> {
        let Source { settings, sql, server, replication, .. } = source;
        let stream_settings = StreamSettings::for_wal_sender_timeout(server.wal_sender_timeout());
        let stream = replication.start(&settings.slot, from, &settings.publication, &stream_settings)?;
        Ok(Streaming { stream, sql, settings })
    }

    fn confirmed(&mut self, stream: &mut Streaming) -> Result<Option<Lsn>> {
        let slot = preflight::slot(&stream.sql, &stream.settings.slot);
        Ok(self.connector.handle.block_on(slot)?.and_then(|slot| slot.confirmed_flush_lsn))
    }

    fn writes_ids(&self) -> bool {
        settings::headers(self.connector.process.kafka.headers) != HeaderMode::None
    }

    fn bounds(&mut self, checkpoint: &Checkpoint) -> Result<AllBounds> {
        kafka::bounds(&self.kafka.client, &checkpoint.partitions, step())
    }

    fn read_behind(
        &mut self,
        tails: &[Tail],
        checkpoint: &Checkpoint,
        forked: bool,
        repeats: &mut Repeats,
    ) -> Result<bool> {
        let ours = Recognition::new(&self.connector.plan, checkpoint, forked);
        let note = |found: &Found<'_>| ours.note_found(found, repeats);
        kafka::read_tails(&self.kafka.client, tails, KAFKA_STEP, || self.stop.is_set(), note)
    }
}

/// Says what differs from the session that wrote the checkpoint.
fn note_changes(connector: &str, recorded: Option<&Checkpoint>, base: &Checkpoint) {
    let Some(old) = recorded else { return };
    if old.mapping != base.mapping {
        tracing::info!(
            connector,
            "the mapping has changed since the checkpoint: it holds for what is published from here on"
        );
    }
    if old.delivery != base.delivery {
        tracing::info!(connector, "the delivery mode has changed since the checkpoint");
    }
}

impl<'a> Attempt<'a> {
    /// Builds the clients; nobody is asked for anything yet but the limits of the topics.
    pub(super) fn new(connector: &'a mut Connector, stop: &'a Stop) -> Result<Attempt<'a>> {
        let kafka = Kafka::open(connector)?;
        Ok(Attempt { connector, kafka, stop })
    }

    /// The session, and the producer of the control id, which has done its part.
    fn session(&mut self, started: Started<Self>) -> Result<(Session, Producer)> {
        let Started { checkpoint, fenced, stream: Streaming { stream, sql, settings }, replay, progress } = started;
        let ids = contracts::ids(self.connector)?;
        let connector = &*self.connector;
        let (plan, metrics, handle) = (&connector.plan, connector.metrics(), &connector.handle);
        metrics.checkpoint(checkpoint.next_lsn);
        let producer = match checkpoint.delivery {
            Delivery::ExactlyOnce => fenced.data,
            Delivery::AtLeastOnce => Producer::idempotent(&self.kafka.client, replay.ends_by(plan))?,
        };
        let kafka = &connector.process.kafka;
        let control_id = control_id(&kafka.transactional_id_prefix, connector.name());
        let topics: Vec<String> = plan.topics.iter().map(|topic| topic.name.clone()).collect();
        let checkpoint_topic = self.kafka.store.topic().to_owned();
        let all_topics = [&topics[..], std::slice::from_ref(&checkpoint_topic)].concat();
        let others = Others::new(self.kafka.client.clone(), control_id, kafka.transaction_timeout_ms, all_topics);
        let enrich: Enrich = super::source::enrich(handle.clone(), sql.clone());
        let relations = Relations::new(plan.clone(), ids.ids, checkpoint.epoch, enrich, metrics.clone());
        let partitions = plan.topics.iter().map(|topic| checkpoint.partitions[&topic.name]).collect();
        let repeats_to = replay.repeats.last();
        let mut emitter = Emitter::new(plan.clone(), settings::headers(kafka.headers), &ids.schema_uris, partitions);
        emitter.leave_out(replay.repeats);
        let header_names = emitter.header_names();
        let partial = checkpoint.partial.map(|partial| (partial.commit_lsn, partial.changes));
        let ledger = Ledger::new(checkpoint.next_lsn, partial);
        let inflight = Inflight::new(metrics.clone(), connector.health().clone());
        let (units, gathered) = bounded(UNITS);
        let (room, room_made) = bounded(1);
        let stream = Arc::new(stream);
        // The server of the stream, also where a failover comes between.
        let settings = SourceSettings { hosts: vec![sql.host().to_owned()], ..settings };
        let (gate, workers) = readers(connector, &checkpoint, progress, &sql, &settings)?;
        let mut assembler = Assembler::new(checkpoint.epoch, ledger, relations, emitter, LARGE_BYTES);
        assembler.set_gate(gate);
        let session = Session {
            units,
            room: room_made,
            lane: KafkaLane {
                units: gathered,
                room,
                turns: Turns::new(producer),
                others,
                stream: stream.clone(),
                topics,
                headers: header_names,
                checkpoint_topic,
                metrics: metrics.clone(),
                inflight: inflight.clone(),
            },
            assembler,
            workers,
            committer: committing(connector, checkpoint, repeats_to),
            monitor: Monitor {
                handle: handle.clone(),
                source: settings,
                sql,
                plan: plan.clone(),
                metrics: metrics.clone(),
                inflight: inflight.clone(),
                server_end: Lsn(0),
            },
            stream,
            inflight,
            silenced: connector.silenced.clone(),
            commands: connector.commands.clone(),
        };
        Ok((session, fenced.control))
    }
}

fn committing(connector: &Connector, checkpoint: Checkpoint, repeats_to: Option<Lsn>) -> CommitterSettings {
    CommitterSettings {
        repeats_to,
        transactional: checkpoint.delivery == Delivery::ExactlyOnce,
        split: connector.plan.large_transactions == LargeTransactions::Split,
        transaction_timeout: Duration::from_millis(connector.process.kafka.transaction_timeout_ms.into()),
        chunk_divisor: connector.chunk_divisor,
        checkpoint,
    }
}

/// The gate and the workers of a session that has rows to read.
fn readers(
    connector: &Connector,
    checkpoint: &Checkpoint,
    progress: BTreeMap<String, Vec<u8>>,
    sql: &Arc<Sql>,
    source: &SourceSettings,
) -> Result<(Option<Gate>, Vec<WorkerSettings>)> {
    let (plan, handle) = (&connector.plan, &connector.handle);
    let commands = connector.commands.take();
    if plan.readable_tables().is_empty() && progress.is_empty() && commands.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (asks, asked) = bounded(plan.snapshot.workers);
    let gate = Gate::open(GateSettings {
        handle: handle.clone(),
        sql: sql.clone(),
        asks: asked,
        plan: plan.clone(),
        commands,
        report: connector.progress.clone(),
        progress,
        unseen: checkpoint.unseen.clone().unwrap_or_default(),
        next_lsn: checkpoint.next_lsn,
        now_us: now_us(),
        xid: handle.block_on(next_xid(sql))?,
    })?;
    let Some(gate) = gate else { return Ok((None, Vec::new())) };
    let (source, gate_alive, chunk_divisor) = (source.clone(), gate.alive(), connector.chunk_divisor);
    let worker = WorkerSettings { source, plan: plan.clone(), asks, gate: gate_alive, chunk_divisor };
    let workers = if gate.is_idle() { 0 } else { plan.snapshot.workers };
    Ok((Some(gate), vec![worker; workers]))
}
