//! The connector's topics: that they exist and are as they must be, before the first record is sent.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::error::{At, Error, Kind, Result};
use crate::kafka::{Admin, BrokerLimits, Creation, Topic};

/// What a connector needs of a topic.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    /// Partitions and replicas to create it with; None: it must exist.
    pub create: Option<(i32, i32)>,
    /// Kafka's own topic settings, for creation and comparison.
    pub config: BTreeMap<String, String>,
    /// It carries facts: each record counts, so compaction would lose some.
    pub facts: bool,
    /// The partition count in the checkpoint.
    pub recorded: Option<i32>,
}

/// Looks the topics up, creates those where that is asked for, and checks them; in their order. The number of partitions to
/// use is that of `partitions_to_use`.
pub fn ensure(admin: &Admin, wanted: &[Wanted]) -> Result<Vec<Topic>> {
    let found = look_up(admin, &wanted.iter().collect::<Vec<_>>())?;
    let lacks = |(wanted, topic): (_, &Option<Topic>)| topic.is_none().then_some(wanted);
    let lacking: Vec<&Wanted> = wanted.iter().zip(&found).filter_map(lacks).collect();
    create(admin, &lacking)?;
    let mut created = look_up(admin, &lacking)?.into_iter();
    let topics = wanted.iter().zip(found).map(|(wanted, topic)| {
        let topic = topic.or_else(|| created.next().flatten());
        topic.ok_or_else(|| missing(admin.brokers(), wanted))
    });
    topics.collect()
}

/// Looks the topics up, checks those that exist, and warns of what is unwise.
fn look_up(admin: &Admin, wanted: &[&Wanted]) -> Result<Vec<Option<Topic>>> {
    let names: Vec<_> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let topics = admin.topics(&names)?;
    for (topic, wanted) in topics.iter().zip(wanted) {
        let Some(topic) = topic else { continue };
        check(topic, wanted)?;
        for finding in findings(topic, wanted) {
            warn!(topic = wanted.name, "{finding}");
        }
    }
    Ok(topics)
}

fn create(admin: &Admin, wanted: &[&Wanted]) -> Result<()> {
    let creations = wanted.iter().map(|wanted| creation(wanted).ok_or_else(|| missing(admin.brokers(), wanted)));
    let creations = creations.collect::<Result<Vec<_>>>()?;
    admin.create(&creations)?;
    for Creation { name, partitions, replication, .. } in creations {
        info!(topic = name, partitions, replication, "created topic");
    }
    Ok(())
}

fn creation(wanted: &Wanted) -> Option<Creation<'_>> {
    let (partitions, replication) = wanted.create?;
    let config = wanted.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Some(Creation { name: &wanted.name, partitions, replication, config })
}

/// Looks the topic up and checks it; None where it does not exist. Changes nothing.
pub fn inspect(admin: &Admin, wanted: &Wanted) -> Result<Option<Topic>> {
    Ok(look_up(admin, &[wanted])?.pop().flatten())
}

/// The partition count that keys are spread over: the recorded one, so that a key stays in its partition when someone
/// adds partitions; without a record the topic's own.
pub fn partitions_to_use(topic: &Topic, wanted: &Wanted) -> i32 {
    wanted.recorded.unwrap_or(topic.partitions)
}

/// That a transaction may last as long as ours; one that the brokers refuse cannot be opened at all.
pub fn check_limits(limits: BrokerLimits, transaction_timeout_ms: u32) -> Result<()> {
    let Some(max) = limits.transaction_max_timeout_ms else { return Ok(()) };
    if u64::from(transaction_timeout_ms) <= max {
        return Ok(());
    }
    let detail = format!(
        "transaction.timeout.ms is {transaction_timeout_ms}, the brokers' transaction.max.timeout.ms is {max}: lower the one or raise the other"
    );
    Err(Error::new(Kind::KafkaSetting, detail))
}

/// Whether a topic that does not exist is to be created, and there are as many brokers as it shall have replicas.
///
/// # Errors
/// `TopicMissing`, `KafkaSetting`
pub fn creatable(addresses: &str, brokers: usize, wanted: &Wanted) -> Result<()> {
    let Some((_, replication)) = wanted.create else { return Err(missing(addresses, wanted)) };
    if usize::try_from(replication).is_ok_and(|replicas| replicas <= brokers) {
        return Ok(());
    }
    let name = &wanted.name;
    let detail = format!("topic {name} cannot be created with {replication} replicas: {brokers} brokers are up");
    Err(Error::new(Kind::KafkaSetting, detail).at(At::topic(name)))
}

/// The error for a topic that does not exist, with the line that creates it.
pub fn missing(brokers: &str, wanted: &Wanted) -> Error {
    let (partitions, replication) = wanted.create.unwrap_or((12, 3));
    let config: String = wanted.config.iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
    let detail = format!(
        "topic {name} does not exist; create it: kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions {partitions} --replication-factor {replication}{config}",
        name = wanted.name
    );
    Error::new(Kind::TopicMissing, detail).at(At::topic(&wanted.name))
}

fn check(topic: &Topic, wanted: &Wanted) -> Result<()> {
    let refuse = |detail: String| Err(Error::new(Kind::KafkaSetting, detail).at(At::topic(&wanted.name)));
    let name = &wanted.name;
    if wanted.facts && compacted(topic) {
        return refuse(format!(
            "topic {name} has cleanup.policy={}, but carries facts: compaction would remove all but the last of a key; set cleanup.policy=delete",
            setting(topic, "cleanup.policy")
        ));
    }
    if let Some(recorded) = wanted.recorded
        && topic.partitions < recorded
    {
        return refuse(format!(
            "topic {name} has {} partitions, the checkpoint has {recorded}: it was deleted and made anew, or is another",
            topic.partitions
        ));
    }
    let insync: i32 = topic.settings.get("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    if insync > topic.replication {
        return refuse(format!(
            "topic {name} has min.insync.replicas={insync} and {} replicas: no record can be acknowledged",
            topic.replication
        ));
    }
    Ok(())
}

/// What is unwise or not as the connector file has it, but no reason to stop.
fn findings(topic: &Topic, wanted: &Wanted) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(recorded) = wanted.recorded.filter(|recorded| *recorded < topic.partitions) {
        found.push(format!(
            "the topic has {} partitions; the recorded {recorded} stay in use, so that keys stay where they are",
            topic.partitions
        ));
    }
    if let Some((partitions, _)) = wanted.create.filter(|(partitions, _)| *partitions != topic.partitions) {
        found.push(format!("the connector file has {partitions} partitions, the topic {}", topic.partitions));
    }
    for (name, value) in &wanted.config {
        let actual = setting(topic, name);
        if !topic.settings.is_empty() && actual != value {
            found.push(format!("the connector file has {name}={value}, the topic {name}={actual}"));
        }
    }
    if topic.replication > 1 && setting(topic, "min.insync.replicas") == "1" {
        found.push("min.insync.replicas=1: an acknowledged record can be lost with one broker".to_owned());
    }
    found
}

fn compacted(topic: &Topic) -> bool {
    setting(topic, "cleanup.policy").split(',').any(|policy| policy.trim() == "compact")
}

fn setting<'a>(topic: &'a Topic, name: &str) -> &'a str {
    topic.settings.get(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Topic { name: "oms.orders".to_owned(), partitions, replication: 3, settings }
    }

    fn wanted() -> Wanted {
        let config = BTreeMap::from([("retention.ms".to_owned(), "604800000".to_owned())]);
        Wanted { name: "oms.orders".to_owned(), create: Some((12, 3)), config, facts: true, recorded: None }
    }

    #[test]
    fn a_fact_topic_must_not_be_compacted() {
        for policy in ["compact", "compact,delete", "delete, compact"] {
            let topic = topic(12, &[("cleanup.policy", policy)]);
            let error = check(&topic, &wanted()).unwrap_err();
            assert_eq!(error.kind(), Kind::KafkaSetting);
            assert!(error.detail().contains(policy), "{error}");
            check(&topic, &Wanted { facts: false, ..wanted() }).unwrap();
        }
        check(&topic(12, &[("cleanup.policy", "delete")]), &wanted()).unwrap();
    }

    #[test]
    fn the_recorded_partition_count_stays_in_use() {
        let recorded = Wanted { recorded: Some(12), ..wanted() };
        let grown = topic(16, &[]);
        check(&grown, &recorded).unwrap();
        assert_eq!(partitions_to_use(&grown, &recorded), 12);
        assert_eq!(partitions_to_use(&grown, &wanted()), 16);
        assert!(findings(&grown, &recorded).iter().any(|finding| finding.contains("the recorded 12 stay in use")));
        let error = check(&topic(6, &[]), &recorded).unwrap_err();
        assert_eq!(
            error.detail(),
            "topic oms.orders has 6 partitions, the checkpoint has 12: it was deleted and made anew, or is another"
        );
    }

    #[test]
    fn replicas_that_can_never_suffice_are_refused() {
        let error = check(&topic(12, &[("min.insync.replicas", "4")]), &wanted()).unwrap_err();
        assert_eq!(error.kind(), Kind::KafkaSetting);
    }

    #[test]
    fn differences_from_the_file_are_findings() {
        let topic = topic(12, &[("retention.ms", "1000"), ("min.insync.replicas", "2")]);
        assert_eq!(
            findings(&topic, &wanted()),
            ["the connector file has retention.ms=604800000, the topic retention.ms=1000"]
        );
    }

    #[test]
    fn a_missing_topic_comes_with_the_line_that_creates_it() {
        let error = missing("h:9092", &wanted());
        assert_eq!(error.kind(), Kind::TopicMissing);
        assert_eq!(
            error.detail(),
            "topic oms.orders does not exist; create it: kafka-topics.sh --bootstrap-server h:9092 --create --topic oms.orders --partitions 12 --replication-factor 3 --config retention.ms=604800000"
        );
    }

    #[test]
    fn a_transaction_may_not_outlast_the_brokers_limit() {
        let limits = BrokerLimits { transaction_max_timeout_ms: Some(900_000) };
        check_limits(limits, 900_000).unwrap();
        check_limits(BrokerLimits::default(), u32::MAX).unwrap();
        let error = check_limits(limits, 900_001).unwrap_err();
        assert_eq!(error.kind(), Kind::KafkaSetting);
        assert!(error.detail().contains("900001") && error.detail().contains("900000"), "{error}");
    }
}
