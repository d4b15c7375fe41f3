//! The checked process settings.

use std::path::PathBuf;

use crate::connector::Reference;
use crate::error::{Faults, Result};
use crate::kafka::KafkaClient;
use crate::registry::SubjectNameStrategy;

/// `walwright.toml`, checked.
#[derive(Clone, Debug)]
pub struct Process {
    /// The folder of the connector files.
    pub connectors: PathBuf,
    /// The folder of the contracts.
    pub schemas: PathBuf,
    /// `[kafka]`
    pub kafka: KafkaSettings,
    /// `[registry]`
    pub registry: RegistrySettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[log]`
    pub log: LogSettings,
}

/// How events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Events and checkpoint in one Kafka transaction.
    ExactlyOnce,
    /// No transactions: events can repeat after a crash.
    AtLeastOnce,
}

/// Which headers an event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// `ce_id` and `ce_type`.
    Core,
    /// The whole CloudEvents binding.
    CloudEvents,
    /// None but those that rules name.
    None,
}

/// `[kafka]`
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port,host:port`
    pub brokers: String,
    /// Exactly once unless said otherwise.
    pub delivery: Delivery,
    /// What transactional ids begin with.
    pub transactional_id_prefix: String,
    /// What every topic's name begins with.
    pub topic_prefix: String,
    /// Headers of events.
    pub headers: Headers,
    /// `transaction.timeout.ms` of `[kafka.client]`: the longest that a Kafka transaction may last.
    pub transaction_timeout_ms: u32,
    /// The other options of `[kafka.client]`, librdkafka's own names.
    pub client: Vec<(String, Reference)>,
}

/// `[registry]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// The base of Confluent's API.
    pub url: String,
    /// How subjects are named.
    pub subject_name_strategy: SubjectNameStrategy,
    /// Whether the daemon registers contracts that the registry does not know.
    pub register: bool,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Address and port of `/metrics`, `/livez` and `/readyz`.
    pub listen: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of the lines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// One line of text.
    Human,
    /// One JSON object a line.
    Json,
}

impl KafkaSettings {
    /// The client's options with secrets read anew.
    ///
    /// # Errors
    /// `Configuration` with all references that lead nowhere.
    pub fn client(&self) -> Result<KafkaClient> {
        let mut client = KafkaClient::new(&self.brokers);
        let mut faults = Faults::default();
        for (name, reference) in &self.client {
            match reference.resolve(&|name| std::env::var(name).ok()) {
                Ok(value) => client.options.push((name.clone(), value)),
                Err(fault) => faults.push(fault),
            }
        }
        faults.into_result()?;
        Ok(client)
    }
}
