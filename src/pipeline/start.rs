//! From nothing to a running stream: one path for start and recovery.
//!
//! Kafka first: while it is away there is no replication connection, so Postgres can shut down. Step by step: read the
//! checkpoint unfenced, identify the server, judge (nothing is created); wait for a held slot; fence; read the
//! checkpoint to its end; write the takeover record; judge again; create what the table says; start at `next_lsn`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assembler::Assembler;
use super::committer::CommitterSettings;
use super::connector::Connector;
use super::emit::Emitter;
use super::inflight::Inflight;
use super::monitor::Monitor;
use super::relations::{Enrich, Relations};
use super::session::Session;
use super::source::Source;
use super::task::Stop;
use super::{contracts, settings, topics};
use crate::checkpoint::judge::Verdict;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, Delivery, INTENT, Intent, State, TAKEOVER, Takeover};
use crate::checkpoint::store::Store;
use crate::connector::LargeTransactions;
use crate::error::{Error, Kind, Result};
use crate::kafka::{Admin, KafkaClient};
use crate::model::Lsn;
use crate::publish::{Fenced, Producer, fence};
use crate::source::{StreamSettings, preflight};

/// How long one step against Kafka may take before it counts as unreachable.
pub(super) const KAFKA_STEP: Duration = Duration::from_secs(20);

/// librdkafka's `batch.size` where nobody sets it.
const BATCH_BYTES: u64 = 1_000_000;

/// One attempt's way to Kafka.
pub(super) struct Kafka {
    pub(super) client: KafkaClient,
    pub(super) admin: Admin,
    pub(super) store: Store,
}

/// Starts one session; None: the stop came first.
pub(super) fn start(connector: &mut Connector, stop: &Stop) -> Result<Option<Session>> {
    let kafka = Kafka::open(connector)?;
    let stale = kafka.store.read_stable(step())?;
    connector.refuse_if_taken_over(stale.takeover.as_ref())?;
    let ids = contracts::ids(connector)?;
    let mut source = Source::open(connector)?;
    source.check_rules(&connector.plan)?;
    source.judge_unfenced(&stale)?;
    source.refuse_held_slot()?;
    if stop.is_set() {
        return Ok(None);
    }
    let (fenced, state) = take_over(connector, &kafka)?;
    let verdict = source.judge(&state)?;
    source.refuse_held_slot()?;
    let Some((checkpoint, fenced)) = position(connector, verdict, &mut source, &kafka, fenced, state, stop)? else {
        return Ok(None);
    };
    connector.metrics().checkpoint(checkpoint.next_lsn);
    let producer = match checkpoint.delivery {
        Delivery::ExactlyOnce => fenced.data,
        Delivery::AtLeastOnce => Producer::idempotent(&kafka.client)?,
    };
    session(connector, source, &kafka, producer, ids, checkpoint).map(Some)
}

fn step() -> Instant {
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
        store.ensure_topic(&admin)?;
        Ok(Kafka { client, admin, store })
    }
}

/// Fences all producers that published for this connector, reads what they left, and writes who owns it now.
fn take_over(connector: &mut Connector, kafka: &Kafka) -> Result<(Fenced, State)> {
    let settings = &connector.process.kafka;
    let timeout_ms = settings.transaction_timeout_ms;
    crate::publish::topics::check_limits(kafka.admin.limits()?, timeout_ms)?;
    let mut fenced = fence(&kafka.client, &settings.transactional_id_prefix, connector.name(), timeout_ms, step())?;
    let state = kafka.store.read_fenced(step())?;
    connector.claim(state.takeover.as_ref())?;
    let takeover = Takeover::new(&connector.instance).to_json()?;
    fenced.control.commit_records(kafka.store.topic(), &[(TAKEOVER, Some(&takeover))], step())?;
    Ok((fenced, state))
}

/// Does what the start table says and returns where to stream from; None: the stop came first.
fn position(
    connector: &Connector,
    verdict: Verdict,
    source: &mut Source,
    kafka: &Kafka,
    mut fenced: Fenced,
    state: State,
    stop: &Stop,
) -> Result<Option<(Checkpoint, Fenced)>> {
    let base = Checkpoint {
        version: Checkpoint::VERSION,
        epoch: 0,
        next_lsn: Lsn(0),
        timeline: source.identity.timeline,
        system_identifier: source.identity.system_identifier.clone(),
        delivery: settings::delivery(connector.process.kafka.delivery),
        partitions: topics::prepare(connector, &kafka.admin, state.checkpoint.as_ref())?,
        mapping: connector.plan.mapping_hash.clone(),
        partial: None,
    };
    let topic = kafka.store.topic();
    match (verdict, state.checkpoint) {
        (Verdict::Stream, Some(old)) => {
            note_changes(connector, &old);
            let (epoch, next_lsn, partial) = (old.epoch, old.next_lsn, old.partial);
            return Ok(Some((Checkpoint { epoch, next_lsn, partial, ..base }, fenced)));
        }
        (Verdict::Stream, None) => return Err(Error::new(Kind::Bug, "the start table streams without a checkpoint")),
        (Verdict::Adopt, _) => {
            let checkpoint = Checkpoint { next_lsn: source.slot_position()?, ..base };
            let value = checkpoint.to_json()?;
            fenced.control.commit_records(topic, &[(CHECKPOINT, Some(&value))], step())?;
            return Ok(Some((checkpoint, fenced)));
        }
        (Verdict::StartOver, _) => source.drop_slot()?,
        (Verdict::FirstStart, _) => {}
    }
    let intent = Intent::new(&source.settings.slot, &source.identity.system_identifier).to_json()?;
    fenced.control.commit_records(topic, &[(INTENT, Some(&intent))], step())?;
    let Some(next_lsn) = source.create_slot(stop)? else { return Ok(None) };
    let checkpoint = Checkpoint { next_lsn, ..base };
    let value = checkpoint.to_json()?;
    fenced.control.commit_records(topic, &[(CHECKPOINT, Some(&value)), (INTENT, None)], step())?;
    Ok(Some((checkpoint, fenced)))
}

/// Says what differs from the session that wrote the checkpoint.
fn note_changes(connector: &Connector, old: &Checkpoint) {
    if old.mapping != connector.plan.mapping_hash {
        tracing::info!(
            connector = connector.name(),
            "the mapping has changed since the checkpoint: it holds for what is published from here on"
        );
    }
    if old.delivery != settings::delivery(connector.process.kafka.delivery) {
        tracing::info!(connector = connector.name(), "the delivery mode has changed since the checkpoint");
    }
}

fn session(
    connector: &Connector,
    source: Source,
    kafka: &Kafka,
    producer: Producer,
    ids: contracts::Ids,
    checkpoint: Checkpoint,
) -> Result<Session> {
    let Source { settings, sql, server, replication, .. } = source;
    let (plan, metrics, handle) = (&connector.plan, connector.metrics(), &connector.handle);
    let stream_settings = StreamSettings::for_wal_sender_timeout(server.wal_sender_timeout());
    let stream = replication.start(&settings.slot, checkpoint.next_lsn, &settings.publication, &stream_settings)?;
    let slot = handle.block_on(preflight::slot(&sql, &settings.slot))?;
    refuse_slot_ahead(slot.and_then(|slot| slot.confirmed_flush_lsn), checkpoint.next_lsn, &settings.slot)?;

    let enrich: Enrich = super::source::enrich(handle.clone(), sql.clone());
    let relations = Relations::new(plan.clone(), ids.ids, checkpoint.epoch, enrich, metrics.clone());
    let partitions = plan.topics.iter().map(|topic| checkpoint.partitions[&topic.name]).collect();
    let emitter =
        Emitter::new(plan.clone(), settings::headers(connector.process.kafka.headers), &ids.schema_uris, partitions);
    let headers = emitter.header_names();
    let partial = checkpoint.partial.map(|partial| (partial.commit_lsn, partial.changes));
    let ledger = Ledger::new(checkpoint.next_lsn, partial);
    let inflight = Inflight::new(metrics.clone(), connector.health().clone());
    Ok(Session {
        assembler: Assembler::new(plan, checkpoint.epoch, ledger, relations, emitter),
        committer: CommitterSettings {
            producer,
            topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
            headers,
            checkpoint_topic: kafka.store.topic().to_owned(),
            transactional: checkpoint.delivery == Delivery::ExactlyOnce,
            split: plan.large_transactions == LargeTransactions::Split,
            transaction_timeout: Duration::from_millis(connector.process.kafka.transaction_timeout_ms.into()),
            checkpoint,
            metrics: metrics.clone(),
            inflight: inflight.clone(),
        },
        monitor: Monitor {
            handle: handle.clone(),
            sql,
            plan: plan.clone(),
            source: settings,
            metrics: metrics.clone(),
            inflight: inflight.clone(),
            server_end: Lsn(0),
        },
        silenced: connector.silenced.clone(),
        stream: Arc::new(stream),
        inflight,
    })
}

/// START_REPLICATION moves forward in silence to where the slot stands, so the slot is read once more behind it.
fn refuse_slot_ahead(confirmed: Option<Lsn>, next_lsn: Lsn, slot: &str) -> Result<()> {
    match confirmed {
        Some(confirmed) if confirmed > next_lsn => {
            let detail = format!(
                "slot {slot} was moved to {confirmed} while the stream started: changes from {next_lsn} on were not published"
            );
            Err(Error::new(Kind::SlotAhead, detail))
        }
        _ => Ok(()),
    }
}
