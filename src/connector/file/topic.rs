//! `[[topic]]`

use std::collections::BTreeMap;

use super::super::document::{Entry, Section};
use super::super::{KeyKind, TopicCreate, TopicPlan};
use super::contract;
use crate::contract::{Contract, FieldType, Nullability, Repository};

/// Topics of this name hold checkpoints.
const RESERVED: &str = "walwright.checkpoint.";

/// A topic that rules can name, also where something about it is faulty.
pub(super) struct TopicDraft {
    /// The name as rules write it, without the prefix.
    pub(super) written: String,
    /// None: faulty, and reported.
    pub(super) key: Option<KeyKind>,
    pub(super) plan: TopicPlan,
}

impl TopicDraft {
    pub(super) fn finish(self) -> Option<TopicPlan> {
        Some(TopicPlan { key: self.key?, ..self.plan })
    }

    /// Whether only the newest record of a key stays: True, False, or None where the file does not say.
    pub(super) fn compacted(&self) -> Option<bool> {
        match self.plan.config.get("cleanup.policy") {
            Some(policies) => Some(policies.split(',').any(|policy| policy.trim() == "compact")),
            // A topic that is created gets the broker's default, which is to delete.
            None => self.plan.create.map(|_| false),
        }
    }
}

pub(super) fn read(section: &mut Section<'_>, repository: &Repository, prefix: &str) -> Option<TopicDraft> {
    let place = section.place();
    let name = section.need("name", "\"oms.orders\"").and_then(|entry| topic_name(&entry, prefix));
    let key = key_kind(section, repository);
    let create = section.get("create").and_then(topic_create);
    let config = section.get("config").and_then(Entry::into_section).as_ref().map(topic_config).unwrap_or_default();
    if let (Some(create), Some(least)) = (create, config.get("min.insync.replicas").and_then(|text| text.parse().ok()))
        && create.replication < least
    {
        section.fault(format!("min.insync.replicas is {least}, but create gives it {} replicas", create.replication));
    }
    let written = name?;
    let plan = TopicPlan { name: format!("{prefix}{written}"), key: KeyKind::String, create, config, place };
    Some(TopicDraft { written, key, plan })
}

/// Kafka's rule for names (`org.apache.kafka.common.internals.Topic`).
fn topic_name(entry: &Entry<'_>, prefix: &str) -> Option<String> {
    let name = entry.name()?;
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if !name.chars().all(fits) || prefix.len() + name.len() > 249 || name == "." || name == ".." {
        entry.fault("must be a topic's name: up to 249 letters, digits, dots, underscores and dashes");
        return None;
    }
    if name.starts_with(RESERVED) {
        entry.fault(format!("topics that begin with {RESERVED} hold checkpoints"));
        return None;
    }
    Some(name.to_owned())
}

fn key_kind(section: &mut Section<'_>, repository: &Repository) -> Option<KeyKind> {
    let is_avro = match section.get("key") {
        Some(entry) => entry.choice(&[("string", false), ("avro", true)])?,
        None => false,
    };
    if is_avro {
        let entry = section.need("key_contract", "\"oms/OrderKey/v1\"")?;
        let contract = contract(&entry, repository)?;
        return key_contract(&entry, &contract).then_some(KeyKind::Avro(contract));
    }
    if let Some(entry) = section.get("key_contract") {
        entry.fault("belongs to key = \"avro\"");
        return None;
    }
    Some(KeyKind::String)
}

fn key_contract(entry: &Entry<'_>, contract: &Contract) -> bool {
    let mut sound = true;
    for field in &contract.fields {
        let unfit = match field.kind {
            _ if field.nullable != Nullability::Never => "is nullable, and a key is never null",
            FieldType::Meta(_) => "is common.EventMeta, which differs from event to event",
            FieldType::Float | FieldType::Double => "is a floating-point number, of which equal ones can differ",
            _ => continue,
        };
        sound = false;
        entry.fault(format!("{} is no key: its field `{}` {unfit}", contract.path, field.name));
    }
    if contract.fields.is_empty() {
        sound = false;
        entry.fault(format!("{} is no key: it has no fields", contract.path));
    }
    sound
}

fn topic_create(entry: Entry<'_>) -> Option<TopicCreate> {
    let mut section = entry.into_section()?;
    let partitions = section.need("partitions", "12").and_then(|entry| entry.integer(&(1..=100_000)));
    let replication = section.need("replication", "3").and_then(|entry| entry.integer(&(1..=i64::from(i16::MAX))));
    section.report_unknown();
    let number = |number: i64| i32::try_from(number).ok();
    Some(TopicCreate { partitions: number(partitions?)?, replication: number(replication?)? })
}

fn topic_config(section: &Section<'_>) -> BTreeMap<String, String> {
    section.entries().into_iter().filter_map(|(name, entry)| Some((name, entry.scalar()?))).collect()
}
