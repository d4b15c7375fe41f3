//! The checked process settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::connector::Reference;
use crate::connector::reference::Lookup;
use crate::error::Result;
use crate::kafka::KafkaClient;
use crate::model::Secret;
use crate::registry::{self, Client, Credentials, SubjectNameStrategy};

/// The longest that one answer of the registry may take.
const ANSWER: Duration = Duration::from_secs(10);

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The base of Confluent's API, without credentials.
    pub url: String,
    /// What proves who we are.
    pub login: Option<RegistryLogin>,
    /// The CA (PEM) that issued the registry's certificate, instead of the system's roots.
    pub tls_ca: Option<Reference>,
    /// How subjects are named.
    pub subject_name_strategy: SubjectNameStrategy,
    /// Whether the daemon registers contracts that the registry does not know.
    pub register: bool,
}

/// `user` and `password`, or `token`, of `[registry]`.
#[allow(missing_docs, reason = "the variants say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryLogin {
    Basic { user: Reference, password: Reference },
    Bearer { token: Reference },
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

impl RegistrySettings {
    /// The registry's client with secrets read anew.
    ///
    /// # Errors
    /// `Configuration` or `ReferenceUnreadable` with all references that lead nowhere; those of `Client::new`.
    pub fn client(&self) -> Result<Client> {
        let mut lookup = Lookup::new(&variable);
        let credentials = self.login.as_ref().map(|login| match login {
            RegistryLogin::Basic { user, password } => {
                let user = lookup.text(user);
                Credentials::Basic { user, password: Secret::new(lookup.text(password)) }
            }
            RegistryLogin::Bearer { token } => Credentials::Bearer { token: Secret::new(lookup.text(token)) },
        });
        let ca = lookup.optional(self.tls_ca.as_ref(), |path| Ok(PathBuf::from(path)));
        Client::new(&lookup.finish(registry::Settings { url: self.url.clone(), credentials, ca, timeout: ANSWER })?)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl KafkaSettings {
    /// The client's options with secrets read anew.
    ///
    /// # Errors
    /// `Configuration` or `ReferenceUnreadable` with all references that lead nowhere.
    pub fn client(&self) -> Result<KafkaClient> {
        let mut client = KafkaClient::new(&self.brokers);
        let mut lookup = Lookup::new(&variable);
        for (name, reference) in &self.client {
            client.options.push((name.clone(), lookup.text(reference)));
        }
        lookup.finish(client)
    }
}
