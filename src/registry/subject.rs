//! Under which subject a schema is registered: Confluent's strategies by their own names.

use std::sync::Arc;

use crate::connector::{KeyKind, Plan};
use crate::contract::Contract;

/// Confluent's subject name strategies for values; keys are always under `<topic>-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectNameStrategy {
    /// `<topic>-value`: one contract a topic.
    TopicName,
    /// `<full name>`: one history of the contract over all topics.
    RecordName,
    /// `<topic>-<full name>`: several contracts a topic, each with a history of its own there.
    TopicRecordName,
}

impl SubjectNameStrategy {
    /// All of them.
    pub const ALL: [SubjectNameStrategy; 3] =
        [SubjectNameStrategy::TopicName, SubjectNameStrategy::RecordName, SubjectNameStrategy::TopicRecordName];

    /// Confluent's name, as settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            SubjectNameStrategy::TopicName => "TopicNameStrategy",
            SubjectNameStrategy::RecordName => "RecordNameStrategy",
            SubjectNameStrategy::TopicRecordName => "TopicRecordNameStrategy",
        }
    }

    /// The strategy with this name.
    pub fn of_name(name: &str) -> Option<SubjectNameStrategy> {
        SubjectNameStrategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    /// The subject of a value's schema.
    pub fn value(self, topic: &str, contract: &Contract) -> String {
        match self {
            SubjectNameStrategy::TopicName => format!("{topic}-value"),
            SubjectNameStrategy::RecordName => contract.full_name.clone(),
            SubjectNameStrategy::TopicRecordName => format!("{topic}-{}", contract.full_name),
        }
    }

    /// The subject of a key's schema, under every strategy.
    pub fn key(topic: &str) -> String {
        format!("{topic}-key")
    }
}

/// A contract and the subject under which it is registered.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub contract: Arc<Contract>,
}

/// The subjects of all contracts that the connectors' events and keys use, each once: by name, older versions first, so
/// that a registry sees them in the order in which they were released.
pub fn subjects<'a>(plans: impl IntoIterator<Item = &'a Plan>, strategy: SubjectNameStrategy) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for plan in plans {
        for event in &plan.events {
            let Some(topic) = plan.topics.get(event.topic) else { continue };
            let name = strategy.value(&topic.name, &event.contract);
            subjects.push(Subject { name, contract: Arc::clone(&event.contract) });
        }
        for topic in &plan.topics {
            if let KeyKind::Avro(contract) = &topic.key {
                let name = SubjectNameStrategy::key(&topic.name);
                subjects.push(Subject { name, contract: Arc::clone(contract) });
            }
        }
    }
    subjects.sort_by(|a, b| (&a.name, a.contract.version).cmp(&(&b.name, b.contract.version)));
    subjects.dedup_by(|a, b| a.name == b.name && a.contract.path == b.contract.path);
    subjects
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn subjects_are_those_of_the_page() {
        let contract = Contract {
            path: "oms/OrderPlaced/v1".to_owned(),
            full_name: "oms.OrderPlaced".to_owned(),
            version: 1,
            file: PathBuf::new(),
            fields: Vec::new(),
            schema: String::new(),
        };
        let page = include_str!("../../docs/wire.md");
        for strategy in SubjectNameStrategy::ALL {
            let line = format!("| {} | `{}` |\n", strategy.name(), strategy.value("oms.orders", &contract));
            assert!(page.contains(&line), "docs/wire.md lacks {line}");
            assert_eq!(SubjectNameStrategy::of_name(strategy.name()), Some(strategy));
        }
        assert_eq!(SubjectNameStrategy::key("oms.orders"), "oms.orders-key");
        assert_eq!(SubjectNameStrategy::of_name("topicnamestrategy"), None);
    }
}
