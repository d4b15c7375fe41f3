//! The end of a connector: its slot is dropped and its state on Kafka is gone, and what stays is named.

use std::fmt;

use super::recovery::{SourceFacts, World};
use super::source::Source;
use super::start::{Attempt, step};
use crate::checkpoint::audit::{AUDIT, Audit, Signature};
use crate::checkpoint::judge::Verdict;
use crate::checkpoint::record::State;
use crate::error::{Kind, Result};

/// What a removal does, and what it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    slot_name: String,
    slot: Slot,
    topic: String,
    keys: Vec<String>,
    publication: String,
    topics: Vec<String>,
}

/// What becomes of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Drop,
    None,
    /// It is not known to be this connector's, and why.
    Leave(String),
}

impl Slot {
    /// A slot is dropped only where the start table would use it, or would if it were not lost.
    fn of(facts: &SourceFacts, state: &State) -> Slot {
        let ours = state.checkpoint.is_some() || facts.intended(state);
        match facts.judge(state) {
            _ if facts.slot.is_none() => Slot::None,
            Ok(Verdict::Stream | Verdict::StartOver | Verdict::Adopt) if ours => Slot::Drop,
            Err(error) if error.kind() == Kind::SlotLost && ours => Slot::Drop,
            Ok(_) => Slot::Leave("this connector has no checkpoint and did not create it".to_owned()),
            Err(error) => Slot::Leave(error.detail().to_owned()),
        }
    }
}

impl Removal {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.slot != Slot::Drop && self.keys.is_empty()
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removal { slot_name, topic, .. } = self;
        if self.is_empty() {
            writeln!(f, "nothing to remove")?;
        } else {
            writeln!(f, "to do:")?;
        }
        if self.slot == Slot::Drop {
            writeln!(f, "  drop slot {slot_name}: what it has not sent yet is never published")?;
        }
        if !self.keys.is_empty() {
            writeln!(f, "  write tombstones for {} in {topic}", self.keys.join(", "))?;
        }
        writeln!(f, "left:")?;
        if let Slot::Leave(why) = &self.slot {
            let sql = crate::source::preflight::drop_slot_sql(slot_name);
            writeln!(f, "  slot {slot_name}: {why}; if nobody needs it: {sql};")?;
        }
        writeln!(f, "  publication {}", self.publication)?;
        write!(f, "  topics {}, and {topic} with the record of this", self.topics.join(", "))
    }
}

/// A state that cannot be understood tells of no slot; it can be removed all the same.
fn understood(state: Result<State>) -> Result<State> {
    match state {
        Err(error) if error.kind() == Kind::CheckpointUnreadable => Ok(State::default()),
        state => state,
    }
}

/// What a removal would do now.
pub(super) fn look(attempt: &mut Attempt<'_>, has_state: bool) -> Result<Removal> {
    let state = if has_state { understood(attempt.read_stable())? } else { State::default() };
    let mut source = Source::open(attempt.connector)?;
    plan(attempt, &mut source, &state, has_state)
}

fn plan(attempt: &Attempt<'_>, source: &mut Source, state: &State, has_state: bool) -> Result<Removal> {
    let facts = source.facts()?;
    let slot = Slot::of(&facts, state);
    if slot == Slot::Drop {
        facts.refuse_held_slot()?;
    }
    let store = &attempt.kafka.store;
    let keys = if has_state { store.keys(step())? } else { Default::default() };
    Ok(Removal {
        slot,
        topic: store.topic().to_owned(),
        keys: keys.into_iter().filter(|key| !key.starts_with(AUDIT)).collect(),
        publication: source.settings.publication.clone(),
        topics: attempt.connector.plan.topics.iter().map(|topic| topic.name.clone()).collect(),
        slot_name: facts.slot_name,
    })
}

/// Removes, behind the fence: the slot first, since without state nobody knows whose it is. False: what was to be removed
/// has changed meanwhile, nothing was done.
pub(super) fn remove(attempt: &mut Attempt<'_>, removal: &Removal, signed: Signature) -> Result<bool> {
    if removal.is_empty() {
        return Ok(true);
    }
    let mut source = Source::open(attempt.connector)?;
    let mut fenced = attempt.fence()?;
    let state = understood(attempt.read_fenced())?;
    attempt.connector.owner.claim(state.takeover.as_ref())?;
    if plan(attempt, &mut source, &state, true)? != *removal {
        return Ok(false);
    }
    if removal.slot == Slot::Drop {
        match source.drop_slot() {
            Err(error) if error.kind() == Kind::SlotMissing => {}
            dropped => dropped?,
        }
    }
    let audit = Audit::remove(signed, state.checkpoint);
    let (key, audit) = (audit.key(), audit.to_json()?);
    let tombstones = removal.keys.iter().map(|key| (key.as_str(), None));
    let records: Vec<_> = tombstones.chain([(key.as_str(), Some(audit.as_slice()))]).collect();
    attempt.write(&mut fenced, &records)?;
    Ok(true)
}
