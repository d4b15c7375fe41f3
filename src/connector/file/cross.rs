//! What only several rules together show.

use super::super::document::Section;
use super::super::{EventPlan, FieldPlan, FieldSource, KeyPlan, Place, TablePlan, TombstonePlan};
use super::topic::TopicDraft;
use super::{Sections, fault_at};
use crate::model::Operation;

/// Reports every contradiction between the file's rules.
pub(super) fn check(
    root: &Section<'_>,
    topics: &Sections<TopicDraft>,
    events: &Sections<EventPlan>,
    tombstones: &Sections<TombstonePlan>,
    tables: &Sections<TablePlan>,
) {
    unique(root, "topic", topics, |topic| (topic.written.clone(), &topic.plan.place));
    unique(root, "table", tables, |table| (table.name.to_string(), &table.place));
    for (i, (number, event)) in events.iter().enumerate() {
        for (earlier_number, earlier) in events.iter().take(i) {
            if let Some(message) = contradiction(event, earlier, earlier_number, &topics.read) {
                root.push(fault_at(&event.place, format!("event[{number}]"), message));
            }
        }
        published_only(root, number, event, &tables.read);
    }
    for (i, (number, tombstone)) in tombstones.iter().enumerate() {
        let same = |earlier: &TombstonePlan| (earlier.topic, &earlier.table) == (tombstone.topic, &tombstone.table);
        if let Some((earlier, _)) = tombstones.iter().take(i).find(|(_, earlier)| same(earlier)) {
            let message = format!("tombstone[{earlier}] buries keys of this table on this topic already");
            root.push(fault_at(&tombstone.place, format!("tombstone[{number}]"), message));
        }
    }
    // With a faulty rule left out, topics would look unused.
    if events.is_complete && tombstones.is_complete {
        retention(root, topics, events, tombstones);
    }
}

fn unique<T>(root: &Section<'_>, key: &str, sections: &Sections<T>, name: impl Fn(&T) -> (String, &Place)) {
    for (i, (number, section)) in sections.iter().enumerate() {
        let (own, place) = name(section);
        if let Some((earlier, _)) = sections.iter().take(i).find(|(_, earlier)| name(earlier).0 == own) {
            root.push(fault_at(
                place,
                format!("{key}[{number}]"),
                format!("{key}[{earlier}] has the name {own} already"),
            ));
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

/// Facts are kept all, of state the newest of each key; and something must be written at all.
fn retention(
    root: &Section<'_>,
    topics: &Sections<TopicDraft>,
    events: &Sections<EventPlan>,
    tombstones: &Sections<TombstonePlan>,
) {
    if events.read.is_empty() && tombstones.read.is_empty() {
        root.fault("there is no [[event]], so nothing would be published");
    }
    for (i, (number, topic)) in topics.iter().enumerate() {
        let is_state = tombstones.read.iter().any(|tombstone| tombstone.topic == i);
        let is_used = is_state || events.read.iter().any(|event| event.topic == i);
        let message = match topic.compacted() {
            _ if !is_used => "no [[event]] and no [[tombstone]] writes to it",
            Some(true) if !is_state => {
                "compaction would remove facts: of each key only the newest event stays; a topic of state has a [[tombstone]]"
            }
            Some(false) if is_state => {
                "it gets tombstones, so it holds state and is compacted: config = { \"cleanup.policy\" = \"compact\" }"
            }
            _ => continue,
        };
        root.push(fault_at(&topic.plan.place, format!("topic[{number}]"), message));
    }
}
