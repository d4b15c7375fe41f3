//! A position that is lost, and what it means to go on without it: `accept-gap` and `resync`, the operator's ways out of
//! such a halt. `resync` reads the rows of all tables again beside.
//!
//! What is accepted is shown first, then judged again behind the fence; only the same gap is accepted. The new checkpoint
//! has the next epoch, so that what comes after it has ids of its own, whatever its LSNs are.

use std::collections::BTreeMap;
use std::fmt;

use super::recovery::{SourceFacts, World};
use crate::checkpoint::audit::{Act, Audit, Signature};
use crate::checkpoint::judge::usable;
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, INTENT, State, TAKEOVER};
use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, TableName};
use crate::snapshot::{Entry, Snapshot};

/// A halt that accepting a gap ends.
#[derive(Debug)]
pub struct Gap {
    halt: Error,
    before: Checkpoint,
    slot_name: String,
    slot: Slot,
    shared: Shared,
    system_identifier: String,
    timeline: u32,
    flush_lsn: Lsn,
}

/// What becomes of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// It is used from where it stands.
    Keep(Lsn),
    Create,
    /// It is lost: dropped and created.
    Replace,
}

/// How much of what was published is the history of this server too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    All,
    UpTo(Lsn),
    Unknown,
}

impl Gap {
    /// What stands between this checkpoint and the source; None: nothing, the connector can start.
    ///
    /// # Errors
    /// A halt that accepting a gap does not end.
    pub(super) fn of(facts: &SourceFacts, state: &State) -> Result<Option<Gap>> {
        let (Some(before), Err(halt)) = (&state.checkpoint, facts.judge(state)) else { return Ok(None) };
        let shared = match halt.kind() {
            Kind::SlotAhead | Kind::SlotMissing | Kind::SlotLost => Shared::All,
            Kind::ServerBehind | Kind::SystemMismatch => Shared::Unknown,
            Kind::TimelineMismatch => {
                let left = facts.history.iter().find(|switch| switch.timeline == before.timeline);
                left.map_or(Shared::Unknown, |left| Shared::UpTo(left.switch_lsn))
            }
            _ => return Err(halt),
        };
        let slot = match &facts.slot {
            None => Slot::Create,
            Some(slot) => {
                usable(&facts.with(state), slot)?;
                if slot.lost.is_some() { Slot::Replace } else { Slot::Keep(facts.slot_position()?) }
            }
        };
        Ok(Some(Gap {
            halt,
            before: before.clone(),
            slot_name: facts.slot_name.clone(),
            slot,
            shared,
            system_identifier: facts.system_identifier.clone(),
            timeline: facts.timeline,
            flush_lsn: facts.flush_lsn,
        }))
    }

    /// The halt that it ends.
    pub fn halt(&self) -> &Error {
        &self.halt
    }

    fn is_still(&self, other: &Gap) -> bool {
        let of = |gap: &Gap| (gap.halt.kind(), gap.slot, gap.shared, gap.timeline);
        of(self) == of(other) && self.before == other.before && self.system_identifier == other.system_identifier
    }

    /// Where streaming begins on a slot that stands at `slot`. What both histories share was published already.
    fn next_lsn(&self, slot: Lsn) -> Lsn {
        match self.shared {
            Shared::All => slot.max(self.before.next_lsn),
            Shared::UpTo(switch) => slot.max(switch),
            Shared::Unknown => slot,
        }
    }

    fn after(&self, slot: Lsn) -> Checkpoint {
        Checkpoint {
            epoch: self.before.epoch.saturating_add(1),
            next_lsn: self.next_lsn(slot),
            timeline: self.timeline,
            system_identifier: self.system_identifier.clone(),
            partial: None,
            unseen: None,
            ..self.before.clone()
        }
    }

    /// The end of the gap, in words.
    fn end(&self) -> String {
        match self.slot {
            Slot::Keep(at) => self.next_lsn(at).to_string(),
            Slot::Create | Slot::Replace => "the new slot's consistent point".to_owned(),
        }
    }

    /// What will never be published.
    fn lost(&self) -> Option<String> {
        let end = self.end();
        let from = match self.shared {
            Shared::All => self.before.next_lsn,
            Shared::UpTo(switch) => switch,
            Shared::Unknown => return Some(format!("what this server committed before {end} and was not published")),
        };
        let nothing = matches!(self.slot, Slot::Keep(at) if self.next_lsn(at) <= from);
        (!nothing).then(|| format!("what was committed from {from} to {end}"))
    }

    /// What subscribers see that this server's history does not bear out.
    fn doubtful(&self) -> Option<String> {
        let published = self.before.next_lsn;
        match (self.shared, self.slot) {
            (Shared::All, _) => None,
            (Shared::UpTo(switch), _) => Some(format!(
                "events of what was committed from {switch} to {published} stay; this server does not have it"
            )),
            (Shared::Unknown, Slot::Keep(at)) => Some(format!(
                "events up to {published} stay, whether this server has what they tell or not; what it committed from {at} on comes again, with other ids, where it was published before"
            )),
            (Shared::Unknown, Slot::Create | Slot::Replace) => {
                Some(format!("events up to {published} stay, whether this server has what they tell or not"))
            }
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, slot) = (&self.before, &self.slot_name);
        let epoch = before.epoch.saturating_add(1);
        writeln!(f, "halted: {}", self.halt)?;
        writeln!(f, "to do:")?;
        match self.slot {
            Slot::Keep(at) => writeln!(f, "  use slot {slot}, which stands at {at}")?,
            Slot::Create => writeln!(f, "  create slot {slot}; the server's WAL ends at {} now", self.flush_lsn)?,
            Slot::Replace => writeln!(f, "  drop slot {slot}, which is lost, and create it anew")?,
        }
        writeln!(
            f,
            "  go on from {} instead of {}, epoch {epoch} instead of {}",
            self.end(),
            before.next_lsn,
            before.epoch
        )?;
        if before.system_identifier != self.system_identifier {
            let (old, new) = (&before.system_identifier, &self.system_identifier);
            writeln!(f, "  take this server, system identifier {new}, for the source; it was {old}")?;
        }
        if before.timeline != self.timeline {
            writeln!(f, "  take timeline {} for the source's; it was {}", self.timeline, before.timeline)?;
        }
        writeln!(f, "never published: {}", self.lost().as_deref().unwrap_or("nothing is lost"))?;
        if let Some(doubtful) = self.doubtful() {
            writeln!(f, "published already: {doubtful}")?;
        }
        write!(f, "ids: events from here on carry epoch {epoch} in ce_id")
    }
}

/// How a gap is left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// What is gone is gone.
    Accept,
    /// The rows of these tables are read again, and published for those who fold them.
    Resync {
        /// Those that a rule on `read` names.
        tables: Vec<TableName>,
        /// When, microseconds since 1970.
        asked_us: i64,
    },
}

impl Way {
    fn act(&self) -> Act {
        match self {
            Way::Accept => Act::AcceptGap,
            Way::Resync { .. } => Act::Resync,
        }
    }

    /// What was being read begins anew in any case: what was visible to its snapshots was so on another history.
    fn progress(&self, state: &State) -> Result<Vec<Entry>> {
        let records = state.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let mut snapshot = Snapshot::load(records, &BTreeMap::new(), Lsn(0), 0)?;
        match self {
            Way::Accept => snapshot.begin_anew(&[], 0),
            Way::Resync { tables, asked_us } => snapshot.begin_anew(tables, *asked_us),
        }
    }
}

/// The gap as it shows without a fence.
pub(super) fn look<W: World>(world: &mut W) -> Result<Option<Gap>> {
    let state = world.read_stable()?;
    let mut source = world.open_source()?;
    let facts = world.facts(&mut source)?;
    facts.refuse_held_slot()?;
    Gap::of(&facts, &state)
}

/// Accepts the gap behind the fence, in one transaction with its record, and returns the new checkpoint. None: what was
/// to be accepted has changed meanwhile, nothing was done.
pub(super) fn accept<W: World>(world: &mut W, gap: &Gap, way: &Way, signed: Signature) -> Result<Option<Checkpoint>> {
    let mut source = world.open_source()?;
    let mut fenced = world.fence()?;
    let state = world.read_fenced()?;
    world.owner().claim(state.takeover.as_ref())?;
    let facts = world.facts(&mut source)?;
    facts.refuse_held_slot()?;
    if !Gap::of(&facts, &state)?.is_some_and(|now| now.is_still(gap)) {
        return Ok(None);
    }
    let takeover = world.owner().takeover().to_json()?;
    world.write(&mut fenced, &[(TAKEOVER, Some(&takeover))])?;
    let slot = match gap.slot {
        Slot::Keep(at) => at,
        Slot::Create | Slot::Replace => {
            if gap.slot == Slot::Replace {
                world.drop_slot(&mut source)?;
            }
            let created = world.create_slot(&mut source)?;
            created.ok_or_else(|| Error::new(Kind::Bug, "the creation of the slot was stopped"))?
        }
    };
    let progress = way.progress(&state)?;
    let mut after = gap.after(slot);
    after.unseen = (!progress.is_empty()).then(BTreeMap::new);
    let audit = Audit::accept_gap(signed, way.act(), gap.halt.to_string(), gap.before.clone(), after.clone());
    let (key, checkpoint, audit) = (audit.key(), after.to_json()?, audit.to_json()?);
    let mut records = vec![(CHECKPOINT, Some(checkpoint.as_slice())), (&key, Some(&audit)), (INTENT, None)];
    records.extend(progress.iter().map(|entry| (entry.key.as_str(), entry.value.as_deref())));
    world.write(&mut fenced, &records)?;
    Ok(Some(after))
}

#[cfg(test)]
mod tests;
