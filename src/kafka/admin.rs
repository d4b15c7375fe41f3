//! Topics and brokers: asked about, created, never altered.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tracing::warn;

use super::client::left;
use super::read::serve;
use super::{Context, KafkaClient};
use crate::error::{At, Error, Kind, Result};

/// How often a question that stays unanswered is looked after.
const SLICE: Duration = Duration::from_secs(1);

/// A topic as the cluster has it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    /// The least replicated partition's number of replicas.
    pub replication: i32,
    /// Its effective settings; empty where the cluster does not let us read them.
    pub settings: BTreeMap<String, String>,
}

/// A topic to be created.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct Creation<'a> {
    pub name: &'a str,
    pub partitions: i32,
    pub replication: i32,
    /// Kafka's own topic settings.
    pub config: Vec<(&'a str, &'a str)>,
}

impl Creation<'_> {
    fn request(&self) -> NewTopic<'_> {
        let topic = NewTopic::new(self.name, self.partitions, TopicReplication::Fixed(self.replication));
        self.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
    }
}

/// What the brokers allow; None where the cluster does not let us read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerLimits {
    /// `transaction.max.timeout.ms`
    pub transaction_max_timeout_ms: Option<u64>,
}

/// Asks and creates; every call ends within the timeout given at the start.
pub struct Admin {
    client: AdminClient<Context>,
    metadata: BaseConsumer<Context>,
    brokers: String,
    timeout: Duration,
}

impl Admin {
    /// Builds the clients; no broker is asked yet.
    pub fn new(client: &KafkaClient, timeout: Duration) -> Result<Admin> {
        Ok(Admin {
            client: client.config(&[], &[]).create_with_context(Context::default())?,
            metadata: client.consumer(&[])?,
            brokers: client.brokers().to_owned(),
            timeout,
        })
    }

    /// The brokers' addresses, for messages.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// How many brokers are up.
    pub fn broker_count(&self) -> Result<usize> {
        Ok(self.metadata(None)?.brokers().len())
    }

    /// The topic, or None where there is none.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>> {
        Ok(self.topics(&[name])?.pop().flatten())
    }

    /// The topics in the order of their names, None for one that does not exist. Their settings are one question.
    pub fn topics(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        let layouts: Vec<_> = names.iter().map(|name| self.layout(name)).collect::<Result<_>>()?;
        let existing = names.iter().zip(&layouts).filter(|(_, layout)| layout.is_some());
        let existing: Vec<_> = existing.map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let mut settings = self.describe(&existing)?.into_iter();
        let topic = |(name, layout): (&&str, Option<(i32, i32)>)| {
            let (partitions, replication) = layout?;
            let settings = settings.next().unwrap_or_default();
            Some(Topic { name: (*name).to_owned(), partitions, replication, settings })
        };
        Ok(names.iter().zip(layouts).map(topic).collect())
    }

    /// Creates the topics by one request and waits until they can be used. One that exists is left as it is; where one is
    /// refused, the others may have been created.
    pub fn create(&self, topics: &[Creation<'_>]) -> Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        let new: Vec<_> = topics.iter().map(Creation::request).collect();
        let answer = block_on(self.client.create_topics(&new, &self.options()));
        let answer = answer.map_err(|error| self.explain("create topics", error))?;
        for result in answer {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let of = topics.iter().find(|topic| topic.name == name);
                    let with =
                        of.map(|of| format!(" with {} partitions and replication {}", of.partitions, of.replication));
                    let doing = format!("create topic {name}{}", with.unwrap_or_default());
                    return Err(self.explain(&doing, KafkaError::AdminOp(code)).at(At::topic(&name)));
                }
            }
        }
        topics.iter().try_for_each(|topic| self.await_topic(topic.name))
    }

    /// What the brokers allow, as the first of them says.
    pub fn limits(&self) -> Result<BrokerLimits> {
        let id = self.metadata(None)?.brokers().first().map(|broker| broker.id());
        let Some(id) = id else { return Ok(BrokerLimits::default()) };
        let settings = self.describe(&[ResourceSpecifier::Broker(id)])?.pop().unwrap_or_default();
        let number = |name: &str| settings.get(name).and_then(|value| value.parse().ok());
        Ok(BrokerLimits { transaction_max_timeout_ms: number("transaction.max.timeout.ms") })
    }

    /// Creation is answered by the controller; the brokers learn of it a moment later.
    fn await_topic(&self, name: &str) -> Result<()> {
        let until = Instant::now() + self.timeout;
        while self.layout(name)?.is_none() {
            if left(until).is_zero() {
                let detail = format!("topic {name} was created but does not appear on the brokers");
                return Err(Error::new(Kind::KafkaUnreachable, detail).at(At::topic(name)));
            }
            // Nothing is assigned: this only waits.
            drop(self.metadata.poll(Duration::from_millis(20)));
        }
        Ok(())
    }

    /// Partitions and replicas, None where the topic is unknown or has no leaders yet.
    fn layout(&self, name: &str) -> Result<Option<(i32, i32)>> {
        let metadata = self.metadata(Some(name))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) => return Ok(None),
            Some(code) => {
                let error = self.explain(&format!("look up topic {name}"), KafkaError::MetadataFetch(code));
                return Err(error.at(At::topic(name)));
            }
        }
        let partitions = topic.partitions();
        let replicas = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok((!partitions.is_empty()).then(|| (count(partitions.len()), count(replicas))))
    }

    /// The first question to the cluster: whoever is refused is told so at once, not when the time is up.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        let until = Instant::now() + self.timeout;
        loop {
            let error = match self.metadata.fetch_metadata(topic, left(until).min(SLICE)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => self.explain("ask for the cluster's metadata", error),
            };
            if error.kind() != Kind::KafkaUnreachable || left(until).is_zero() {
                return Err(error);
            }
            // Nothing is assigned: this only waits, should the client have answered at once.
            drop(self.metadata.poll(Duration::from_millis(20)));
        }
    }

    /// All settings of topics or brokers, in their order; empty, with a warning, where we may not read them.
    fn describe(&self, of: &[ResourceSpecifier<'_>]) -> Result<Vec<BTreeMap<String, String>>> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let doing = || format!("read the settings of {of:?}");
        let answer = block_on(self.client.describe_configs(of, &self.options()));
        let answer = answer.map_err(|error| self.explain(&doing(), error))?;
        let mut all = vec![BTreeMap::new(); of.len()];
        for resource in answer {
            let resource = resource.map_err(|code| self.explain(&doing(), KafkaError::AdminOp(code)))?;
            // The client library passes over a resource's own error: what has no settings at all may not be read.
            if resource.entries.is_empty() {
                warn!(resource = ?resource.specifier, "settings may not be read, so they are not checked");
            }
            let place = of.iter().position(|of| names(of, &resource.specifier));
            let Some(settings) = place.and_then(|place| all.get_mut(place)) else { continue };
            settings.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(all)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    fn explain(&self, doing: &str, error: KafkaError) -> Error {
        serve(&self.metadata);
        self.metadata.context().explain(doing, error)
    }
}

/// Whether an answer is about what was asked for.
fn names(asked: &ResourceSpecifier<'_>, answered: &OwnedResourceSpecifier) -> bool {
    match (asked, answered) {
        (ResourceSpecifier::Topic(asked), OwnedResourceSpecifier::Topic(answered)) => asked == answered,
        (ResourceSpecifier::Broker(asked), OwnedResourceSpecifier::Broker(answered)) => asked == answered,
        _ => false,
    }
}

/// Runs a future that other threads complete, on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
