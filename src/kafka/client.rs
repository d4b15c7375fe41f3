//! The settings of every Kafka client: plain data, from which producers, consumers and admin clients are built.

use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;

use super::Context;
use crate::error::Result;

/// librdkafka's options that Walwright decides itself; as keys of `[kafka.client]` they are refused.
pub const DECIDED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "fetch.min.bytes",
    "group.id",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partitioner",
    "queuing.strategy",
    "request.required.acks",
    "retries",
    "transactional.id",
];

/// What is set unless the user says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "walwright"),
    // After an outage the brokers are asked again within a second, not within ten.
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("socket.nagle.disable", "true"),
];

/// `bootstrap.servers` and the user's pass-through options under librdkafka's own names, secrets resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaClient {
    /// Name and value, in the order of the file.
    pub options: Vec<(String, String)>,
}

impl KafkaClient {
    /// For these brokers (`host:port,host:port`), without further options.
    pub fn new(brokers: &str) -> KafkaClient {
        KafkaClient { options: vec![("bootstrap.servers".to_owned(), brokers.to_owned())] }
    }

    /// The last value of this option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The brokers' addresses, for messages.
    pub fn brokers(&self) -> &str {
        self.option("bootstrap.servers").unwrap_or_default()
    }

    /// librdkafka's configuration: our defaults, `kind_defaults`, the user's options, then what is `decided`.
    pub(crate) fn config(&self, kind_defaults: &[(&str, &str)], decided: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS.iter().chain(kind_defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.options {
            config.set(name, value);
        }
        // A topic that is missing is an error with a remedy, never created in passing with the broker's defaults.
        config.set("allow.auto.create.topics", "false");
        for (name, value) in decided {
            config.set(*name, *value);
        }
        let level = if self.option("debug").is_some() { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info };
        config.set_log_level(level);
        config
    }

    /// A consumer that joins no group, commits nothing and creates no topics.
    pub(crate) fn consumer(&self, decided: &[(&str, &str)]) -> Result<BaseConsumer<Context>> {
        Ok(self.config(&[], decided).create_with_context(Context::default())?)
    }
}

impl fmt::Debug for KafkaClient {
    /// Names only, since values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.options.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaClient").field("brokers", &self.brokers()).field("options", &names).finish()
    }
}

/// What is left until `until`.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_wins_over_the_user_and_the_user_over_defaults() {
        let mut client = KafkaClient::new("h:1");
        client.options.push(("linger.ms".to_owned(), "7".to_owned()));
        client.options.push(("acks".to_owned(), "1".to_owned()));
        let config = client.config(&[("linger.ms", "0"), ("compression.type", "lz4")], &[("acks", "all")]);
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("compression.type"), Some("lz4"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("bootstrap.servers"), Some("h:1"));
    }

    #[test]
    fn debug_shows_no_value() {
        let mut client = KafkaClient::new("h:1");
        client.options.push(("sasl.password".to_owned(), "hunter2".to_owned()));
        let text = format!("{client:?}");
        assert!(text.contains("sasl.password") && text.contains("h:1") && !text.contains("hunter2"), "{text}");
    }
}
