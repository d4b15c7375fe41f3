//! Programs: one rule compiled against one relation version and the registry's schema ids.

use super::avro::wire_header;
use super::bind::Binder;
use super::meta::{Meta, MetaStep};
use super::reason::Reason;
use super::step::{Label, Step, StepKind, TextStep};
use crate::connector::{EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, Side, TombstonePlan, TopicPlan};
use crate::contract::{ContractField, FieldType};
use crate::error::{At, Error, Kind, Result};
use crate::model::{Change, Operation, Relation};

/// The header that fills `EventMeta.correlation_id`.
pub(super) const CORRELATION_ID: &str = "correlation_id";
/// The header that fills `EventMeta.traceparent` (W3C Trace Context).
pub(super) const TRACEPARENT: &str = "traceparent";

/// The registry's ids of the schemas that a rule writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaIds {
    /// Of the event's contract.
    pub value: u32,
    /// Of the topic's key contract, where keys are Avro.
    pub key: Option<u32>,
}

/// An `[[event]]`, compiled: writes keys, values and headers straight from tuple bytes, without allocating.
#[derive(Clone, Debug)]
pub struct EventProgram {
    key: KeyProgram,
    value: RecordProgram,
    headers: Vec<TextStep>,
    at: At,
}

impl EventProgram {
    /// Binds the rule to the relation's columns.
    ///
    /// # Errors
    /// `SchemaMismatch` with all faults of the rule at once (missing columns, types that do not fit), each with the
    /// rule's line; `ReplicaIdentity` where a wider replica identity would mend them all; `Bug` where the id of a key's
    /// schema is wanting.
    pub fn compile(event: &EventPlan, topic: &TopicPlan, relation: &Relation, ids: SchemaIds) -> Result<EventProgram> {
        let at = At { topic: Some(topic.name.clone()), ..At::contract(&event.contract.path) };
        let mut binder = Binder::new(relation, event.on);
        let headers: Vec<TextStep> =
            event.headers.iter().filter_map(|(name, plan)| binder.text(plan, &format!("header {name}"))).collect();
        let meta = |field: &ContractField| meta_step(field, event, &headers);
        let steps = binder.record(&event.contract, &event.fields, &event.place, &meta);
        let key = KeyProgram::bind(&mut binder, &event.key, topic, ids.key);
        binder.finish(at.clone())?;
        let at = At { table: Some(relation.name.clone()), ..at };
        let key = key.ok_or_else(|| key_missing(&at))?;
        Ok(EventProgram { key, value: RecordProgram { header: wire_header(ids.value), steps }, headers, at })
    }

    /// Appends the record's key. After an error `out` is as it was.
    ///
    /// # Errors
    /// Facts about the row: `NullValue`, `UnchangedToast`, `UnlistedCode`, `ValueOutOfRange`; `Protocol`
    /// where bytes are not of the column's type.
    pub fn key(&self, change: &Change<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.key.write(change, out).map_err(|failure| failure.error(&self.at))
    }

    /// Appends the record's value in Confluent's wire format. After an error `out` is as it was.
    ///
    /// # Errors
    /// As for `key`.
    pub fn value(&self, change: &Change<'_>, meta: &Meta<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.value.write(change, Some(meta), out).map_err(|failure| failure.error(&self.at))
    }

    /// Appends the text of the rule's header `index` (as in `EventPlan::headers`); false: it is NULL or there is no such
    /// header, and nothing was appended.
    ///
    /// # Errors
    /// As for `key`.
    pub fn header(&self, index: usize, change: &Change<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let Some(step) = self.headers.get(index) else { return Ok(false) };
        let start = out.len();
        step.write(change, out).map_err(|reason| {
            out.truncate(start);
            Failure { reason, label: &step.label }.error(&self.at)
        })
    }

    /// Whether keys are text, which `ce_subject` and `ce_partitionkey` then repeat.
    pub fn key_is_text(&self) -> bool {
        matches!(self.key, KeyProgram::Text(_))
    }
}

fn meta_step(field: &ContractField, event: &EventPlan, headers: &[TextStep]) -> Option<StepKind> {
    let FieldType::Meta(fields) = &field.kind else { return None };
    let named = |wanted: &str| {
        let index = event.headers.iter().position(|(name, _)| name == wanted)?;
        headers.get(index).cloned()
    };
    let step = MetaStep::new(field.nullable, fields, named(CORRELATION_ID), named(TRACEPARENT));
    Some(StepKind::Meta(Box::new(step)))
}

/// A `[[tombstone]]`, compiled: the key of the old row.
#[derive(Clone, Debug)]
pub struct TombstoneProgram {
    key: KeyProgram,
    at: At,
}

impl TombstoneProgram {
    /// Binds the rule to the relation's columns. A bare name means the old row here: on a rekey that is the key given up.
    ///
    /// # Errors
    /// As for `EventProgram::compile`.
    pub fn compile(
        tombstone: &TombstonePlan,
        topic: &TopicPlan,
        relation: &Relation,
        key_id: Option<u32>,
    ) -> Result<TombstoneProgram> {
        let at = At::topic(&topic.name);
        let mut binder = Binder::new(relation, [Operation::Rekey, Operation::Delete].into_iter().collect());
        let key = KeyProgram::bind(&mut binder, &of_old_row(&tombstone.key), topic, key_id);
        binder.finish(at.clone())?;
        let at = At { table: Some(relation.name.clone()), ..at };
        Ok(TombstoneProgram { key: key.ok_or_else(|| key_missing(&at))?, at })
    }

    /// Appends the key of the change's old row. After an error `out` is as it was.
    ///
    /// # Errors
    /// As for `EventProgram::key`.
    pub fn key(&self, change: &Change<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.key.write(change, out).map_err(|failure| failure.error(&self.at))
    }

    /// Whether keys are text, which `ce_subject` and `ce_partitionkey` then repeat.
    pub fn key_is_text(&self) -> bool {
        matches!(self.key, KeyProgram::Text(_))
    }
}

fn of_old_row(key: &KeyPlan) -> KeyPlan {
    let old = |plan: &FieldPlan| {
        let mut plan = plan.clone();
        if let FieldSource::Column { column, .. } | FieldSource::Map { column, .. } = &mut plan.source
            && column.side == Side::Row
        {
            column.side = Side::Old;
        }
        plan
    };
    match key {
        KeyPlan::String(plan) => KeyPlan::String(old(plan)),
        KeyPlan::Avro(plans) => KeyPlan::Avro(plans.iter().map(old).collect()),
    }
}

fn key_missing(at: &At) -> Error {
    Error::new(Kind::Bug, "a topic's key kind, a rule's key and the key's schema id do not agree").at(at.clone())
}

#[derive(Clone, Debug)]
enum KeyProgram {
    Text(TextStep),
    Avro(RecordProgram),
}

impl KeyProgram {
    /// None: a fault was noted, or kind and plan do not agree.
    fn bind(binder: &mut Binder<'_>, key: &KeyPlan, topic: &TopicPlan, id: Option<u32>) -> Option<KeyProgram> {
        match (key, &topic.key) {
            (KeyPlan::String(plan), KeyKind::String) => binder.text(plan, "the key").map(KeyProgram::Text),
            (KeyPlan::Avro(plans), KeyKind::Avro(contract)) => {
                let steps = binder.record(contract, plans, &topic.place, &|_| None);
                Some(KeyProgram::Avro(RecordProgram { header: wire_header(id?), steps }))
            }
            _ => None,
        }
    }

    #[inline]
    fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) -> std::result::Result<(), Failure<'_>> {
        match self {
            KeyProgram::Avro(record) => record.write(change, None, out),
            KeyProgram::Text(step) => {
                let start = out.len();
                let reason = match step.write(change, out) {
                    Ok(true) => return Ok(()),
                    Ok(false) => Reason::Null,
                    Err(reason) => reason,
                };
                out.truncate(start);
                Err(Failure { reason, label: &step.label })
            }
        }
    }
}

#[derive(Clone, Debug)]
struct RecordProgram {
    header: [u8; 5],
    steps: Vec<Step>,
}

impl RecordProgram {
    #[inline]
    fn write(
        &self,
        change: &Change<'_>,
        meta: Option<&Meta<'_>>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Failure<'_>> {
        let start = out.len();
        out.extend_from_slice(&self.header);
        for step in &self.steps {
            if let Err(reason) = step.write(change, meta, out) {
                out.truncate(start);
                return Err(Failure { reason, label: &step.label });
            }
        }
        Ok(())
    }
}

/// A value that could not be written, and what it was for.
struct Failure<'a> {
    reason: Reason,
    label: &'a Label,
}

impl Failure<'_> {
    #[cold]
    fn error(&self, at: &At) -> Error {
        let Label { column, target, place } = self.label;
        let subject = match column {
            Some(column) => format!("column {column} for {target}"),
            None => target.clone(),
        };
        let rule = format!("{}:{}:{}", place.file.display(), place.line, place.column);
        let at = At { column: column.clone(), ..at.clone() };
        Error::new(self.reason.kind(), format!("{subject} {}, by the rule at {rule}", self.reason.text())).at(at)
    }
}

#[cfg(test)]
mod tests;
