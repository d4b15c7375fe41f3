//! Records as a `read_committed` consumer sees them, decoded, for tests to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Value as Json, json};

use super::Result;
use super::event::Decoder;
use super::subscriber::Subscriber;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) key: String,
    /// None: a tombstone.
    pub(crate) value: Option<Json>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Seen {
    /// A field of the value.
    pub(crate) fn field(&self, name: &str) -> Json {
        self.value.as_ref().and_then(|value| value.get(name)).cloned().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &str {
        self.headers.get("ce_id").map_or("", String::as_str)
    }
}

/// A consumer of one topic from its beginning.
pub(crate) struct Reader {
    subscriber: Subscriber,
    decoder: Decoder,
}

impl Reader {
    /// The topic must exist.
    pub(crate) fn new(brokers: &str, registry: &str, topic: &str) -> Result<Self> {
        let subscriber = Subscriber::at(brokers, &[topic.to_owned()])?;
        Ok(Self { subscriber, decoder: Decoder::new(registry.to_owned()) })
    }

    /// The first `count` records, each as soon as it is visible.
    pub(crate) fn read(&mut self, count: usize, within: Duration) -> Result<Vec<Seen>> {
        let end = Instant::now() + within;
        self.read_until(|seen, _| seen == count || Instant::now() > end).and_then(|seen| {
            let short = format!("{} of {count} records are visible: {seen:?}", seen.len());
            if seen.len() == count { Ok(seen) } else { Err(short.into()) }
        })
    }

    /// All records up to the end of each partition.
    pub(crate) fn read_all(&mut self, within: Duration) -> Result<Vec<Seen>> {
        let (end, partitions) = (Instant::now() + within, self.subscriber.partitions);
        let seen = self.read_until(|_, ended| ended == partitions || Instant::now() > end)?;
        if Instant::now() > end { Err("a topic cannot be read to its end".into()) } else { Ok(seen) }
    }

    fn read_until(&mut self, done: impl Fn(usize, usize) -> bool) -> Result<Vec<Seen>> {
        let (mut seen, mut ended) = (Vec::new(), BTreeSet::new());
        while !done(seen.len(), ended.len()) {
            match self.subscriber.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => seen.push(see(&message, &mut self.decoder)?),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                // Passing: the client connects again by itself, and the deadline decides.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::OperationTimedOut,
                )))
                | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Ok(seen)
    }
}

fn see(message: &BorrowedMessage<'_>, decoder: &mut Decoder) -> Result<Seen> {
    let key = String::from_utf8(message.key().unwrap_or_default().to_vec())?;
    let value = match message.payload() {
        Some(value) => Some(as_json(&decoder.decode(value)?.value)?),
        None => None,
    };
    let mut headers = BTreeMap::new();
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        headers.insert(header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned());
    }
    Ok(Seen { partition: message.partition(), key, value, headers })
}

/// An Avro value as JSON: bytes as hex, decimals as their unscaled digits, logical types as their numbers.
fn as_json(value: &Value) -> Result<Json> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Int(value) | Value::Date(value) => json!(value),
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::TimestampMicros(value)
        | Value::LocalTimestampMicros(value) => json!(value),
        Value::Float(value) => json!(value.to_string()),
        Value::Double(value) => json!(value.to_string()),
        Value::Bytes(bytes) => json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Uuid(uuid) => json!(uuid.to_string()),
        Value::Decimal(decimal) => json!(unscaled(&Vec::try_from(decimal)?).to_string()),
        Value::Union(_, value) => as_json(value)?,
        Value::Record(fields) => {
            Json::Object(fields.iter().map(|(name, value)| Ok((name.clone(), as_json(value)?))).collect::<Result<_>>()?)
        }
        other => return Err(format!("an event holds {other:?}").into()),
    })
}

/// A two's complement number of up to 16 bytes, the high one first.
fn unscaled(bytes: &[u8]) -> i128 {
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte))
}
