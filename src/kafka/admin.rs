//! Topics and brokers: asked about, created, never altered.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
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
        let Some((partitions, replication)) = self.layout(name)? else { return Ok(None) };
        let settings = self.describe(&ResourceSpecifier::Topic(name))?;
        Ok(Some(Topic { name: name.to_owned(), partitions, replication, settings }))
    }

    /// Creates the topic and waits until it can be used. One that exists is left as it is.
    pub fn create(&self, name: &str, partitions: i32, replication: i32, config: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        topic.config.extend_from_slice(config);
        let answer = block_on(self.client.create_topics([&topic], &self.options()));
        let answer = answer.map_err(|error| self.explain("create topics", error))?;
        for result in answer {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    let detail =
                        format!("create topic {name} with {partitions} partitions and replication {replication}");
                    return Err(self.explain(&detail, KafkaError::AdminOp(code)).at(At::topic(name)));
                }
            }
        }
        self.await_topic(name)
    }

    /// What the brokers allow, as the first of them says.
    pub fn limits(&self) -> Result<BrokerLimits> {
        let id = self.metadata(None)?.brokers().first().map(|broker| broker.id());
        let Some(id) = id else { return Ok(BrokerLimits::default()) };
        let settings = self.describe(&ResourceSpecifier::Broker(id))?;
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

    /// All settings of a topic or a broker; empty, with a warning, where we may not read them.
    fn describe(&self, of: &ResourceSpecifier<'_>) -> Result<BTreeMap<String, String>> {
        let answer = block_on(self.client.describe_configs([of], &self.options()));
        let answer = answer.map_err(|error| self.explain(&format!("read the settings of {of:?}"), error))?;
        let mut settings = BTreeMap::new();
        for resource in answer {
            let resource = resource
                .map_err(|code| self.explain(&format!("read the settings of {of:?}"), KafkaError::AdminOp(code)))?;
            // The client library passes over a resource's own error: what has no settings at all may not be read.
            if resource.entries.is_empty() {
                warn!(resource = ?of, "settings may not be read, so they are not checked");
            }
            settings.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(settings)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    fn explain(&self, doing: &str, error: KafkaError) -> Error {
        serve(&self.metadata);
        self.metadata.context().explain(doing, error)
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
