//! What an event says about itself, and its encoding as the `common.EventMeta` record.

use super::avro;
use super::reason::Reason;
use super::step::{Branch, TextStep};
use crate::contract::{MetaField, Nullability};
use crate::model::{Change, Operation};

/// How a row reached the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The change as it was committed.
    Stream,
    /// A row that a snapshot found.
    Snapshot,
    /// A row of a table that already had subscribers, read again.
    Backfill,
    /// An event of the past, published again.
    Replay,
}

/// What the pipeline knows about an event beyond its rows. Correlation id and traceparent are not here: the program
/// takes them from the rule's headers of these names.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// The event's id, `ce_id`.
    pub id: &'a [u8],
    /// The commit time, Unix microseconds; None where the source does not know it (reads).
    pub occurred_at: Option<i64>,
    /// The connector's `[source] id`.
    pub source: &'a str,
    /// The position as fixed-width text.
    pub sequence: &'a [u8],
    /// As map judged it, so that a rekey is told from an update.
    pub operation: Operation,
    /// How the row was captured.
    pub capture: Capture,
}

/// The fields of the record in the contract's order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MetaStep {
    branch: Branch,
    fields: Vec<(MetaField, Branch)>,
    correlation_id: Option<TextStep>,
    traceparent: Option<TextStep>,
}

impl MetaStep {
    /// `nullable` is that of the event's field; correlation id and traceparent are the rule's headers of these names.
    pub(super) fn new(
        nullable: Nullability,
        fields: &[(MetaField, Nullability)],
        correlation_id: Option<TextStep>,
        traceparent: Option<TextStep>,
    ) -> MetaStep {
        let fields = fields.iter().map(|(field, nullable)| (*field, Branch::new(*nullable))).collect();
        MetaStep { branch: Branch::new(nullable), fields, correlation_id, traceparent }
    }

    pub(super) fn write(&self, change: &Change<'_>, meta: &Meta<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
        self.branch.value(out);
        for (field, branch) in &self.fields {
            match field {
                MetaField::Id => text(meta.id, *branch, out),
                MetaField::Source => text(meta.source.as_bytes(), *branch, out),
                MetaField::Sequence => text(meta.sequence, *branch, out),
                MetaField::OccurredAt => number(meta.occurred_at, *branch, out)?,
                MetaField::Operation => number(Some(operation(meta.operation)), *branch, out)?,
                MetaField::Capture => number(Some(capture(meta.capture)), *branch, out)?,
                MetaField::CorrelationId => header(self.correlation_id.as_ref(), change, *branch, out)?,
                MetaField::Traceparent => header(self.traceparent.as_ref(), change, *branch, out)?,
            }
        }
        Ok(())
    }
}

#[inline]
fn text(value: &[u8], branch: Branch, out: &mut Vec<u8>) {
    branch.value(out);
    avro::bytes(value, out);
}

#[inline]
fn number(value: Option<i64>, branch: Branch, out: &mut Vec<u8>) -> Result<(), Reason> {
    let Some(value) = value else { return branch.null(out) };
    branch.value(out);
    avro::long(value, out);
    Ok(())
}

#[inline]
fn header(step: Option<&TextStep>, change: &Change<'_>, branch: Branch, out: &mut Vec<u8>) -> Result<(), Reason> {
    match step {
        Some(step) => step.write_string(change, branch, out),
        None => branch.null(out),
    }
}

/// The symbol's number in `common.Operation`: INSERT UPDATE REKEY DELETE TRUNCATE READ.
fn operation(operation: Operation) -> i64 {
    match operation {
        Operation::Insert => 0,
        Operation::Update => 1,
        Operation::Rekey => 2,
        Operation::Delete => 3,
        Operation::Truncate => 4,
        Operation::Read => 5,
    }
}

/// The symbol's number in `common.Capture`: STREAM SNAPSHOT BACKFILL REPLAY.
fn capture(capture: Capture) -> i64 {
    match capture {
        Capture::Stream => 0,
        Capture::Snapshot => 1,
        Capture::Backfill => 2,
        Capture::Replay => 3,
    }
}
