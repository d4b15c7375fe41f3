//! What to do at a start, from what the source and the checkpoint say. Pure: facts in, verdict out.
//!
//! Judged in this order, the first that does not fit ends it: system identifier, timeline, flush position, slot. A lost
//! position is never healed: each error names what is missing, and a person decides.

use super::record::{Checkpoint, Intent};
use crate::error::{Error, Kind, Result};
use crate::faults::{Mutation, mutated};
use crate::model::Lsn;

/// A replication slot as `pg_replication_slots` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFacts {
    /// `confirmed_flush_lsn`
    pub confirmed_flush: Lsn,
    /// Why it can no longer be read (`wal_status = 'lost'`, `invalidation_reason`); None where it can.
    pub lost: Option<String>,
    /// Why it is none of ours (other plugin, other database, physical); None where it fits.
    pub mismatch: Option<String>,
}

/// Where a timeline ended: a line of TIMELINE_HISTORY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The timeline that was left.
    pub timeline: u32,
    /// Where it was left.
    pub switch_lsn: Lsn,
}

/// All that is judged.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The slot's name in `[source]`.
    pub slot_name: &'a str,
    /// The slot of that name; None where there is none.
    pub slot: Option<&'a SlotFacts>,
    /// The newest checkpoint.
    pub checkpoint: Option<&'a Checkpoint>,
    /// The newest intent.
    pub intent: Option<&'a Intent>,
    /// IDENTIFY_SYSTEM's `systemid`.
    pub system_identifier: &'a str,
    /// IDENTIFY_SYSTEM's `timeline`.
    pub timeline: u32,
    /// IDENTIFY_SYSTEM's `xlogpos`: the flush position.
    pub flush_lsn: Lsn,
    /// TIMELINE_HISTORY of the present timeline.
    pub history: &'a [TimelineSwitch],
    /// `[source] adopt_slot`
    pub adopt_slot: bool,
    /// The end of the WAL that rows were read at last whose snapshot still decides about changes to come.
    pub read_lsn: Option<Lsn>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write an intent, create the slot, write its consistent point as the first checkpoint.
    FirstStart,
    /// A slot of ours that never got its first checkpoint is lost: drop it, then as at a first start.
    StartOver,
    /// Use the slot that is there, from its confirmed position: someone made it for us, or a crash came between creating
    /// it and the first checkpoint. (To drop it in the second case would be a danger to whoever takes over meanwhile:
    /// Postgres knows no fence.)
    Adopt,
    /// Stream from the checkpoint.
    Stream,
}

/// Judges a start. Every error is a halt and says in its detail which positions or identifiers do not fit.
pub fn judge(facts: &Facts<'_>) -> Result<Verdict> {
    match facts.checkpoint {
        None => judge_new(facts),
        Some(_) if facts.slot.is_none() && mutated(Mutation::SlotRecreated) => Ok(Verdict::FirstStart),
        Some(checkpoint) => {
            judge_system(facts, checkpoint)?;
            judge_timeline(facts, checkpoint)?;
            judge_flush(facts, checkpoint)?;
            judge_slot(facts, checkpoint)?;
            Ok(Verdict::Stream)
        }
    }
}

fn judge_new(facts: &Facts<'_>) -> Result<Verdict> {
    let Some(slot) = facts.slot else { return Ok(Verdict::FirstStart) };
    usable(facts, slot)?;
    let ours = intended(facts);
    if ours && !facts.adopt_slot && slot.lost.is_some() {
        return Ok(Verdict::StartOver);
    }
    if ours || facts.adopt_slot || mutated(Mutation::ForeignSlotAdopted) {
        present(facts, slot)?;
        return Ok(Verdict::Adopt);
    }
    let detail = format!("slot {} exists, but this connector has no checkpoint and did not create it", facts.slot_name);
    Err(Error::new(Kind::SlotForeign, detail))
}

/// Whether this connector set out to create the slot.
pub fn intended(facts: &Facts<'_>) -> bool {
    let ours = |intent: &Intent| intent.slot == facts.slot_name && intent.system_identifier == facts.system_identifier;
    facts.intent.is_some_and(ours)
}

fn judge_system(facts: &Facts<'_>, checkpoint: &Checkpoint) -> Result<()> {
    if checkpoint.system_identifier == facts.system_identifier {
        return Ok(());
    }
    let detail = format!(
        "the checkpoint is of the cluster with system identifier {}, this server has {}",
        checkpoint.system_identifier, facts.system_identifier
    );
    Err(Error::new(Kind::SystemMismatch, detail))
}

fn judge_timeline(facts: &Facts<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let (was, is, next_lsn) = (checkpoint.timeline, facts.timeline, checkpoint.next_lsn);
    let refuse = |detail: String| Err(Error::new(Kind::TimelineMismatch, detail));
    if is == was {
        return Ok(());
    }
    if is < was {
        return refuse(format!(
            "the checkpoint is on timeline {was}, this server on {is}: it was left behind by a promotion"
        ));
    }
    let Some(left) = facts.history.iter().find(|switch| switch.timeline == was) else {
        return refuse(format!(
            "the checkpoint is on timeline {was}, which is not in the history of this server's timeline {is}"
        ));
    };
    if let Some(read) = facts.read_lsn.filter(|read| *read > left.switch_lsn.max(next_lsn)) {
        return refuse(format!(
            "timeline {was} was left at {}, but rows were read at {read}: what they show may not be on this server (timeline {is})",
            left.switch_lsn
        ));
    }
    if checkpoint.reaches() <= left.switch_lsn {
        return Ok(());
    }
    refuse(format!(
        "timeline {was} was left at {}, but {}: what lies between was published and is not on this server (timeline {is})",
        left.switch_lsn,
        published(checkpoint)
    ))
}

/// How far the checkpoint reaches, in words.
fn published(checkpoint: &Checkpoint) -> String {
    match checkpoint.partial {
        Some(partial) => format!("a part of the transaction committed at {} is on Kafka", partial.commit_lsn),
        None => format!("the checkpoint is at {}", checkpoint.next_lsn),
    }
}

fn judge_flush(facts: &Facts<'_>, checkpoint: &Checkpoint) -> Result<()> {
    if let Some(read) = facts.read_lsn.filter(|read| *read > facts.flush_lsn.max(checkpoint.next_lsn)) {
        let detail = format!(
            "rows were read at {read}, the server's WAL ends at {}: it was restored or forked from an earlier state",
            facts.flush_lsn
        );
        return Err(Error::new(Kind::ServerBehind, detail));
    }
    if checkpoint.reaches() <= facts.flush_lsn {
        return Ok(());
    }
    let detail = format!(
        "{}, the server's WAL ends at {}: it was restored or forked from an earlier state",
        published(checkpoint),
        facts.flush_lsn
    );
    Err(Error::new(Kind::ServerBehind, detail))
}

fn judge_slot(facts: &Facts<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let (name, next_lsn) = (facts.slot_name, checkpoint.next_lsn);
    let Some(slot) = facts.slot else {
        let detail = format!("slot {name} does not exist, but the checkpoint is at {next_lsn}");
        return Err(Error::new(Kind::SlotMissing, detail));
    };
    usable(facts, slot)?;
    present(facts, slot)?;
    if slot.confirmed_flush > next_lsn && !mutated(Mutation::SlotAheadIgnored) {
        let detail = format!(
            "slot {name} stands ahead of the checkpoint: changes from {next_lsn} to {} were not published",
            slot.confirmed_flush
        );
        return Err(Error::new(Kind::SlotAhead, detail));
    }
    Ok(())
}

/// Whether the slot is one that this connector could read.
pub fn usable(facts: &Facts<'_>, slot: &SlotFacts) -> Result<()> {
    let Some(why) = &slot.mismatch else { return Ok(()) };
    Err(Error::new(Kind::SlotMismatch, format!("slot {} cannot be used: {why}", facts.slot_name)))
}

fn present(facts: &Facts<'_>, slot: &SlotFacts) -> Result<()> {
    let Some(why) = &slot.lost else { return Ok(()) };
    let from = facts.checkpoint.map_or(slot.confirmed_flush, |checkpoint| checkpoint.next_lsn);
    let detail = format!("slot {} is lost ({why}): changes from {from} on may be gone", facts.slot_name);
    Err(Error::new(Kind::SlotLost, detail))
}

#[cfg(test)]
mod tests;
