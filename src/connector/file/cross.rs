//! What only several rules together show.

use super::super::document::Section;
use super::super::{EventPlan, FieldPlan, FieldSource, KeyPlan, TablePlan, TombstonePlan};
use super::topic::{TopicDraft, place};
use super::{Numbered, fault_at};
use crate::model::Operation;

/// Reports every contradiction between the file's rules.
pub(super) fn check(
    root: &Section<'_>,
    topics: &[TopicDraft],
    events: &[Numbered<EventPlan>],
    tombstones: &[Numbered<TombstonePlan>],
    tables: &[TablePlan],
) {
    unique_names(root, topics, tables);
    for (i, (number, event)) in events.iter().enumerate() {
        for (earlier_number, earlier) in events.iter().take(i) {
            if let Some(message) = contradiction(event, earlier, *earlier_number, topics) {
                root.push(fault_at(&event.place, format!("event[{number}]"), message));
            }
        }
        published_only(root, *number, event, tables);
    }
    for (i, (number, tombstone)) in tombstones.iter().enumerate() {
        let same = |(_, earlier): &Numbered<TombstonePlan>| {
            (earlier.topic, &earlier.table) == (tombstone.topic, &tombstone.table)
        };
        if let Some((earlier, _)) = tombstones.iter().take(i).find(|earlier| same(earlier)) {
            let message = format!("tombstone[{earlier}] writes the same key to the same topic");
            root.push(fault_at(&tombstone.place, format!("tombstone[{number}]"), message));
        }
    }
    for (i, topic) in topics.iter().enumerate() {
        let is_state = tombstones.iter().any(|(_, tombstone)| tombstone.topic == i);
        let is_used = is_state || events.iter().any(|(_, event)| event.topic == i);
        retention(root, i, topic, is_state, is_used);
    }
}

fn unique_names(root: &Section<'_>, topics: &[TopicDraft], tables: &[TablePlan]) {
    for (i, topic) in topics.iter().enumerate() {
        if topics.iter().take(i).any(|earlier| earlier.written == topic.written) {
            let message = format!("there is a [[topic]] {:?} above already", topic.written);
            root.push(fault_at(place(topic), format!("topic[{}]", i + 1), message));
        }
    }
    for (i, table) in tables.iter().enumerate() {
        if tables.iter().take(i).any(|earlier| earlier.name == table.name) {
            let message = format!("there is a [[table]] {} above already", table.name);
            root.push(fault_at(&table.place, format!("table[{}]", i + 1), message));
        }
    }
}

/// Why two events cannot stand beside each other.
fn contradiction(event: &EventPlan, earlier: &EventPlan, number: usize, topics: &[TopicDraft]) -> Option<String> {
    let (contract, other) = (&event.contract, &earlier.contract);
    if contract.path == other.path && event.table == earlier.table {
        let both = event.on.iter().find(|operation| earlier.on.contains(*operation)).map(Operation::name)?;
        return Some(format!(
            "event[{number}] makes {} of `{both}` on {} already: one change makes one event of a contract",
            contract.path, event.table
        ));
    }
    let versions_meet = contract.full_name == other.full_name && contract.version != other.version;
    (versions_meet && event.topic == earlier.topic).then(|| {
        let topic = topics.get(event.topic).map_or("", |topic| topic.written.as_str());
        format!(
            "event[{number}] sends {} to {topic}, so subscribers would get the fact twice: two versions go to two topics",
            other.path
        )
    })
}

/// A column that is said to stay inside must not be published.
fn published_only(root: &Section<'_>, number: usize, event: &EventPlan, tables: &[TablePlan]) {
    let Some(table) = tables.iter().find(|table| table.name == event.table) else { return };
    let key = match &event.key {
        KeyPlan::String(field) => std::slice::from_ref(field),
        KeyPlan::Avro(fields) => fields,
    };
    let headers = event.headers.iter().map(|(_, plan)| ("headers.", plan));
    let all = key.iter().map(|plan| ("", plan)).chain(event.fields.iter().map(|plan| ("fields.", plan))).chain(headers);
    for (under, plan) in all {
        if let Some(column) = column(plan)
            && table.unpublished.contains(column)
        {
            let message = format!("publishes `{column}`, which [[table]] {} lists as unpublished", table.name);
            root.push(fault_at(&plan.place, format!("event[{number}].{under}{}", plan.name), message));
        }
    }
}

fn column(plan: &FieldPlan) -> Option<&str> {
    match &plan.source {
        FieldSource::Column { column, .. } | FieldSource::Map { column, .. } => Some(&column.name),
        FieldSource::Literal(_) | FieldSource::Default | FieldSource::Meta => None,
    }
}

/// Facts are kept all, of state the newest of each key.
fn retention(root: &Section<'_>, i: usize, topic: &TopicDraft, is_state: bool, is_used: bool) {
    let message = match topic.compacted() {
        _ if !is_used => "no [[event]] and no [[tombstone]] writes to it",
        Some(true) if !is_state => {
            "compaction would remove facts: of each key only the newest event stays; a topic of state has a [[tombstone]]"
        }
        Some(false) if is_state => {
            "it gets tombstones, so it holds state and is compacted: config = { \"cleanup.policy\" = \"compact\" }"
        }
        _ => return,
    };
    root.push(fault_at(place(topic), format!("topic[{}]", i + 1), message));
}
