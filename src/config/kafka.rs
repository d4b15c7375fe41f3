//! `[kafka]` and `[kafka.client]`.

use super::process::{Delivery, Headers, KafkaSettings};
use crate::connector::Reference;
use crate::connector::document::Section;
use crate::kafka::DECIDED;

/// Kafka's own limit for a transactional id is a string's; ours leaves room for connector and number.
const PREFIX_CHARS_MAX: usize = 100;
/// Five minutes: long enough for transactions of many million rows, and a reader waits no longer for a daemon that died.
const TRANSACTION_TIMEOUT_MS: u32 = 300_000;

pub(super) fn read(mut section: Section<'_>) -> Option<KafkaSettings> {
    let brokers = section.need("brokers", "\"localhost:9092\"").and_then(|entry| entry.name().map(str::to_owned));
    let deliveries = [("exactly_once", Delivery::ExactlyOnce), ("at_least_once", Delivery::AtLeastOnce)];
    let delivery = section.get("delivery").map(|entry| entry.choice(&deliveries));
    let headers = [("core", Headers::Core), ("cloudevents", Headers::CloudEvents), ("none", Headers::None)];
    let headers = section.get("headers").map(|entry| entry.choice(&headers));
    let id_prefix = prefix(&mut section, "transactional_id_prefix");
    let topic_prefix = prefix(&mut section, "topic_prefix");
    let client = section.section("client").and_then(|section| client(&section));
    section.report_unknown();
    let (transaction_timeout_ms, client) = client?;
    Some(KafkaSettings {
        brokers: brokers?,
        delivery: delivery.unwrap_or(Some(Delivery::ExactlyOnce))?,
        transactional_id_prefix: id_prefix?.unwrap_or_else(|| "walwright".to_owned()),
        topic_prefix: topic_prefix?.unwrap_or_default(),
        headers: headers.unwrap_or(Some(Headers::Core))?,
        transaction_timeout_ms,
        client,
    })
}

/// Characters that topic names may have; None after a fault.
fn prefix(section: &mut Section<'_>, key: &'static str) -> Option<Option<String>> {
    let Some(entry) = section.get(key) else { return Some(None) };
    let text = entry.text()?;
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if text.chars().all(allowed) && text.len() <= PREFIX_CHARS_MAX {
        return Some(Some(text.to_owned()));
    }
    entry.fault(format!("may have letters, digits, '.', '_' and '-', at most {PREFIX_CHARS_MAX}"));
    None
}

fn client(section: &Section<'_>) -> Option<(u32, Vec<(String, Reference)>)> {
    let mut timeout = Some(TRANSACTION_TIMEOUT_MS);
    let mut options = Vec::new();
    for (name, entry) in section.entries() {
        if name == "transaction.timeout.ms" {
            timeout = entry.integer(&(1_000..=i64::from(i32::MAX))).and_then(|ms| u32::try_from(ms).ok());
        } else if DECIDED.contains(&name.as_str()) {
            entry.fault("is decided by Walwright: exactly-once rests on it");
        } else {
            let value = if secret(&name) { Reference::read_secret(&entry) } else { Reference::read(&entry) };
            options.extend(value.map(|value| (name, value)));
        }
    }
    Some((timeout?, options))
}

/// What librdkafka redacts in its own dumps (`_RK_SENSITIVE`) and is neither a path nor public, and the aliases of it.
fn secret(name: &str) -> bool {
    let ends = ["password", "passphrase", "secret", "key.pem"];
    ends.iter().any(|end| name.ends_with(end)) || name == "sasl.oauthbearer.config"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_secret_and_what_is_not() {
        for name in [
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
        ] {
            assert!(secret(name), "{name}");
        }
        for name in ["sasl.username", "ssl.ca.pem", "ssl.certificate.pem", "ssl.key.location", "sasl.oauthbearer.scope"]
        {
            assert!(!secret(name), "{name}");
        }
    }
}
