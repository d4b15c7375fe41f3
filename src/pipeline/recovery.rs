//! From nothing to a running stream: the steps of a start, which are those of a recovery too, in their order.
//!
//! What they need of the world is the trait `World`: `start` is the real one, the simulation has its own. So what is
//! simulated is what runs.

use crate::checkpoint::judge::{Facts, SlotFacts, TimelineSwitch, Verdict, intended, judge};
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, INTENT, Intent, State, TAKEOVER};
use crate::checkpoint::repeats::Repeats;
use crate::error::{Disposition, Error, Kind, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::kafka::Tail;
use crate::model::Lsn;
use crate::snapshot::Snapshot;

use std::collections::BTreeMap;

use super::ownership::Owner;
use super::replay::{self, AllBounds, Replay};

/// Kafka and Postgres, as far as a start needs them. Each call may last, fail, or take effect and fail all the same.
pub(super) trait World {
    /// Connections to the source.
    type Source;
    /// The producers that own the connector's transactional ids.
    type Fenced;
    /// The running stream.
    type Stream;

    fn owner(&mut self) -> &mut Owner;
    /// Whether the stop was asked for.
    fn stopped(&self) -> bool;
    /// The checkpoint topic up to its last stable offset: may be stale, waits for nobody.
    fn read_stable(&mut self) -> Result<State>;
    /// Connects and checks the rules; changes nothing.
    fn open_source(&mut self) -> Result<Self::Source>;
    /// What the source is now.
    fn facts(&mut self, source: &mut Self::Source) -> Result<SourceFacts>;
    /// Takes over all transactional ids of the connector: nobody else's transaction can commit any more.
    fn fence(&mut self) -> Result<Self::Fenced>;
    /// The checkpoint topic up to its high watermark.
    fn read_fenced(&mut self) -> Result<State>;
    /// Writes records to the checkpoint topic, in one transaction of the control id; None is a tombstone.
    fn write(&mut self, fenced: &mut Self::Fenced, records: &[(&str, Option<&[u8]>)]) -> Result<()>;
    /// Readies the topics. A checkpoint of this server with the settings of today, at no position yet.
    fn base(&mut self, facts: &SourceFacts, recorded: Option<&Checkpoint>) -> Result<Checkpoint>;
    /// The new slot's consistent point; None: the stop came first.
    fn create_slot(&mut self, source: &mut Self::Source) -> Result<Option<Lsn>>;
    fn drop_slot(&mut self, source: &mut Self::Source) -> Result<()>;
    /// START_REPLICATION at `from`.
    fn stream(&mut self, source: Self::Source, from: Lsn) -> Result<Self::Stream>;
    /// Where the slot stands now that the stream runs.
    fn confirmed(&mut self, stream: &mut Self::Stream) -> Result<Option<Lsn>>;
    /// Whether events carry their ids in a header.
    fn writes_ids(&self) -> bool;
    /// Where the partitions of the connector's topics begin and end.
    fn bounds(&mut self, checkpoint: &Checkpoint) -> Result<AllBounds>;
    /// Notes the connector's events in these stretches that the stream from the checkpoint on may repeat. `forked`: they may
    /// be of another timeline than the server's. False: the stop came first.
    fn read_behind(
        &mut self,
        tails: &[Tail],
        checkpoint: &Checkpoint,
        forked: bool,
        repeats: &mut Repeats,
    ) -> Result<bool>;
}

/// What a source says of itself.
#[derive(Clone, Debug)]
pub(super) struct SourceFacts {
    pub(super) slot_name: String,
    pub(super) slot: Option<SlotFacts>,
    /// The pid of the session that reads the slot.
    pub(super) holder: Option<i32>,
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    pub(super) flush_lsn: Lsn,
    pub(super) history: Vec<TimelineSwitch>,
    /// `[source] adopt_slot`
    pub(super) adopt_slot: bool,
}

/// What a start has brought about.
pub(super) struct Started<W: World> {
    pub(super) checkpoint: Checkpoint,
    pub(super) fenced: W::Fenced,
    pub(super) stream: W::Stream,
    /// What of the stream is on Kafka already.
    pub(super) replay: Replay,
    /// How far snapshots are.
    pub(super) progress: BTreeMap<String, Vec<u8>>,
}

/// Starts; None: the stop came first.
pub(super) fn start<W: World>(world: &mut W) -> Result<Option<Started<W>>> {
    let stale = world.read_stable()?;
    faults::pass(Failpoint::StateRead);
    world.owner().refuse_if_taken_over(stale.takeover.as_ref())?;
    let mut source = world.open_source()?;
    let facts = world.facts(&mut source)?;
    faults::pass(Failpoint::ServerIdentified);
    facts.judge_unfenced(&stale)?;
    faults::pass(Failpoint::JudgedUnfenced);
    facts.refuse_held_slot()?;
    if world.stopped() {
        return Ok(None);
    }
    let mut fenced = world.fence()?;
    let state = world.read_fenced()?;
    faults::pass(Failpoint::FencedRead);
    let state = if mutated(Mutation::FenceAfterRead) { stale } else { state };
    world.owner().claim(state.takeover.as_ref())?;
    let takeover = world.owner().takeover().to_json()?;
    world.write(&mut fenced, &[(TAKEOVER, Some(&takeover))])?;
    faults::pass(Failpoint::TakeoverWritten);
    match behind_the_fence(world, source, &mut fenced, &state) {
        Ok(streaming) => Ok(streaming.map(|(checkpoint, stream, replay)| {
            let progress = state.progress;
            Started { checkpoint, fenced, stream, replay, progress }
        })),
        Err(error) if error.disposition() == Disposition::Halt => {
            // An instance that took over meanwhile may have moved what was looked at: then this is refused.
            world.write(&mut fenced, &[(TAKEOVER, Some(&takeover))])?;
            // So may one that publishes without transactions, which no fence stops.
            if world.read_fenced()?.checkpoint != state.checkpoint {
                let detail = format!("the checkpoint has moved while it was judged ({error})");
                return Err(Error::new(Kind::KafkaTransaction, detail));
            }
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Judges again, does what the start table says, and streams.
fn behind_the_fence<W: World>(
    world: &mut W,
    mut source: W::Source,
    fenced: &mut W::Fenced,
    state: &State,
) -> Result<Option<(Checkpoint, W::Stream, Replay)>> {
    let facts = world.facts(&mut source)?;
    let verdict = facts.judge(state)?;
    faults::pass(Failpoint::Judged);
    facts.refuse_held_slot()?;
    let base = world.base(&facts, state.checkpoint.as_ref())?;
    faults::pass(Failpoint::TopicsPrepared);
    let mut checkpoint = match (verdict, &state.checkpoint) {
        (Verdict::Stream, Some(old)) => {
            let (epoch, mut next_lsn, partial) = (old.epoch, old.next_lsn, old.partial);
            if mutated(Mutation::StartAtConfirmed) {
                next_lsn = facts.slot_position()?;
            }
            Checkpoint { epoch, next_lsn, partial, unseen: old.unseen.clone(), ..base }
        }
        (Verdict::Stream, None) => return Err(Error::new(Kind::Bug, "the start table streams without a checkpoint")),
        (Verdict::Adopt, _) => first_checkpoint(world, fenced, base, facts.slot_position()?)?,
        (Verdict::FirstStart | Verdict::StartOver, _) => {
            if verdict == Verdict::StartOver {
                world.drop_slot(&mut source)?;
            }
            let Some(next_lsn) = create_slot(world, &facts, &mut source, fenced, state)? else { return Ok(None) };
            faults::pass(Failpoint::SlotCreated);
            first_checkpoint(world, fenced, base, next_lsn)?
        }
    };
    let mut stream = world.stream(source, checkpoint.next_lsn)?;
    faults::pass(Failpoint::StreamStarted);
    refuse_slot_ahead(world.confirmed(&mut stream)?, checkpoint.next_lsn, &facts.slot_name)?;
    faults::pass(Failpoint::SlotRead);
    let replay = replay::prepare(world, fenced, state.checkpoint.as_ref(), &mut checkpoint)?;
    Ok(replay.map(|replay| (checkpoint, stream, replay)))
}

/// Creates the slot, behind an intent that says whose it is. None: the stop came first.
fn create_slot<W: World>(
    world: &mut W,
    facts: &SourceFacts,
    source: &mut W::Source,
    fenced: &mut W::Fenced,
    state: &State,
) -> Result<Option<Lsn>> {
    let intent = Intent::new(&facts.slot_name, &facts.system_identifier).to_json()?;
    world.write(fenced, &[(INTENT, Some(&intent))])?;
    faults::pass(Failpoint::IntentWritten);
    match world.create_slot(source) {
        // The request of an earlier owner has come late: the slot is as good as one of our own.
        Err(error) if error.kind() == Kind::SlotForeign && facts.intended(state) => {
            let facts = world.facts(source)?;
            facts.refuse_held_slot()?;
            facts.slot_position().map(Some)
        }
        // The server has refused: a slot of that name that appears later is someone else's.
        Err(error) if !matches!(error.kind(), Kind::PostgresUnreachable | Kind::PostgresNotReady) => {
            world.write(fenced, &[(INTENT, None)])?;
            Err(error)
        }
        created => created,
    }
}

fn first_checkpoint<W: World>(
    world: &mut W,
    fenced: &mut W::Fenced,
    base: Checkpoint,
    next_lsn: Lsn,
) -> Result<Checkpoint> {
    let checkpoint = Checkpoint { next_lsn, ..base };
    world.write(fenced, &[(CHECKPOINT, Some(&checkpoint.to_json()?)), (INTENT, None)])?;
    faults::pass(Failpoint::CheckpointWritten);
    Ok(checkpoint)
}

impl SourceFacts {
    /// Judges by the start table.
    pub(super) fn judge(&self, state: &State) -> Result<Verdict> {
        let records = state.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let read_lsn = Snapshot::load(records, &BTreeMap::new(), Lsn(0), 0)?.remembered_max();
        judge(&Facts { read_lsn, ..self.with(state) })
    }

    /// Whether this connector had set out to create the slot.
    pub(super) fn intended(&self, state: &State) -> bool {
        intended(&self.with(state))
    }

    /// What is judged.
    pub(super) fn with<'a>(&'a self, state: &'a State) -> Facts<'a> {
        Facts {
            slot_name: &self.slot_name,
            slot: self.slot.as_ref(),
            checkpoint: state.checkpoint.as_ref(),
            intent: state.intent.as_ref(),
            system_identifier: &self.system_identifier,
            timeline: self.timeline,
            flush_lsn: self.flush_lsn,
            history: &self.history,
            adopt_slot: self.adopt_slot,
            read_lsn: None,
        }
    }

    /// Where the slot stands.
    pub(super) fn slot_position(&self) -> Result<Lsn> {
        let slot = self.slot.as_ref().filter(|slot| slot.confirmed_flush > Lsn(0));
        let unready =
            || Error::new(Kind::SlotHeld, format!("slot {} is not ready: someone creates it", self.slot_name));
        slot.map(|slot| slot.confirmed_flush).ok_or_else(unready)
    }

    /// The same before the fence, so that a daemon pointed at the wrong server does not fence the right one. The state is
    /// then that up to the last stable offset: a commit that the slot already knows may still wait for its marker, so a
    /// slot that seems ahead, or foreign, is judged behind the fence.
    fn judge_unfenced(&self, stale: &State) -> Result<()> {
        match self.judge(stale) {
            Err(error) if !matches!(error.kind(), Kind::SlotAhead | Kind::SlotForeign) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A slot that someone reads is waited for; the holder is never killed.
    pub(super) fn refuse_held_slot(&self) -> Result<()> {
        match self.holder {
            Some(pid) => Err(Error::new(Kind::SlotHeld, format!("slot {} held by pid {pid}", self.slot_name))),
            None => Ok(()),
        }
    }
}

/// START_REPLICATION moves forward in silence to where the slot stands, so the slot is read once more behind it.
fn refuse_slot_ahead(confirmed: Option<Lsn>, next_lsn: Lsn, slot: &str) -> Result<()> {
    match confirmed {
        Some(confirmed) if confirmed > next_lsn && !mutated(Mutation::SlotAheadIgnored) => {
            let detail = format!(
                "slot {slot} was moved to {confirmed} while the stream started: changes from {next_lsn} on were not published"
            );
            Err(Error::new(Kind::SlotAhead, detail))
        }
        _ => Ok(()),
    }
}
