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
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::connector::{ByTable, EventPlan, KeyPlan, LargeTransactions, Place, TopicPlan, Unhandled};
    use crate::model::{OperationSet, TableName};

    fn contract(version: u32) -> Contract {
        Contract {
            path: format!("oms/OrderPlaced/v{version}"),
            full_name: "oms.OrderPlaced".to_owned(),
            version,
            file: PathBuf::new(),
            fields: Vec::new(),
            schema: String::new(),
        }
    }

    fn plan(events: &[(u32, usize)]) -> Plan {
        let topic = |(name, key): (&str, KeyKind)| TopicPlan {
            name: name.to_owned(),
            key,
            create: None,
            config: BTreeMap::new(),
            place: Place::default(),
        };
        let event = |(version, topic): &(u32, usize)| EventPlan {
            contract: Arc::new(contract(*version)),
            table: TableName::new("public", "orders"),
            on: OperationSet::default(),
            when: None,
            topic: *topic,
            key: KeyPlan::Avro(Vec::new()),
            fields: Vec::new(),
            headers: Vec::new(),
            place: Place::default(),
        };
        Plan {
            name: "oms".to_owned(),
            source_id: "/oms".to_owned(),
            topics: vec![topic(("a", KeyKind::Avro(Arc::new(contract(1))))), topic(("b", KeyKind::String))],
            events: events.iter().map(event).collect(),
            tombstones: Vec::new(),
            tables: Vec::new(),
            unnamed: Unhandled::Filter,
            large_transactions: LargeTransactions::Whole,
            snapshot: crate::connector::SnapshotPlan {
                mode: crate::connector::SnapshotMode::None,
                workers: 1,
                rows_per_second: None,
                bytes_per_second: None,
            },
            mapping_hash: String::new(),
            by_table: ByTable::default(),
        }
    }

    #[test]
    fn each_subject_comes_once_with_older_versions_first() {
        let plans = [plan(&[(2, 0), (1, 0), (2, 0)]), plan(&[(2, 1), (1, 0)])];
        let of = |strategy| {
            let subjects = subjects(&plans, strategy);
            subjects.into_iter().map(|subject| (subject.name, subject.contract.version)).collect::<Vec<_>>()
        };
        let pairs = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, v)| ((*name).to_owned(), *v)).collect::<Vec<_>>();
        assert_eq!(
            of(SubjectNameStrategy::TopicName),
            pairs(&[("a-key", 1), ("a-value", 1), ("a-value", 2), ("b-value", 2)])
        );
        assert_eq!(
            of(SubjectNameStrategy::RecordName),
            pairs(&[("a-key", 1), ("oms.OrderPlaced", 1), ("oms.OrderPlaced", 2)])
        );
    }

    #[test]
    fn subjects_are_those_of_the_page() {
        let page = include_str!("../../docs/wire.md");
        for strategy in SubjectNameStrategy::ALL {
            let line = format!("| {} | `{}` |\n", strategy.name(), strategy.value("oms.orders", &contract(1)));
            assert!(page.contains(&line), "docs/wire.md lacks {line}");
            assert_eq!(SubjectNameStrategy::of_name(strategy.name()), Some(strategy));
        }
        assert_eq!(SubjectNameStrategy::key("oms.orders"), "oms.orders-key");
        assert_eq!(SubjectNameStrategy::of_name("topicnamestrategy"), None);
    }
}
