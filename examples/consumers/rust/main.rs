//! Reads topics of Walwright and prints a line of JSON for each event and each tombstone:
//! `cargo run --release --example consumer -- BROKERS REGISTRY GROUP TOPIC...`

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{BigDecimal, Schema};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Map, Value as Json, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, registry, group, topics @ ..] = &arguments[..] else { return Err("wrong arguments".into()) };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        // Only what was handled is committed: a record's offset is stored behind its handling.
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        .create()?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (mut schemas, mut recent) = (HashMap::new(), Recent::default());
    // Killing it is safe: what was not committed comes again.
    loop {
        let Some(message) = consumer.poll(Duration::from_secs(1)).transpose()? else { continue };
        if recent.is_new(&header(&message, "ce_id")?) {
            handle(&message, registry, &mut schemas)?;
        }
        consumer.store_offset_from_message(&message)?;
    }
}

/// What is to be done with an event; a tombstone has no value and says that its key is gone.
fn handle(message: &BorrowedMessage<'_>, registry: &str, schemas: &mut HashMap<u32, Schema>) -> Result<()> {
    let value = message.payload().map(|value| decode(value, registry, schemas)).transpose()?;
    let key = std::str::from_utf8(message.key().unwrap_or_default())?;
    let (id, kind) = (header(message, "ce_id")?, header(message, "ce_type")?);
    println!("{}", json!({ "topic": message.topic(), "key": key, "id": id, "type": kind, "value": value }));
    Ok(())
}

fn header(message: &BorrowedMessage<'_>, name: &str) -> Result<String> {
    let found = message.headers().and_then(|headers| headers.iter().find(|header| header.key == name));
    Ok(String::from_utf8(found.and_then(|header| header.value).ok_or(format!("no header {name}"))?.to_vec())?)
}

/// The ids that came last. Where a restart must not repeat an effect, keep the id with the result instead: a unique key.
#[derive(Default)]
struct Recent(HashSet<String>, VecDeque<String>);

impl Recent {
    fn is_new(&mut self, id: &str) -> bool {
        if !self.0.insert(id.to_owned()) {
            return false;
        }
        self.1.push_back(id.to_owned());
        if self.1.len() > 100_000 {
            self.1.pop_front().map(|oldest| self.0.remove(&oldest));
        }
        true
    }
}

/// Confluent's wire format: a zero byte, the schema's id in four bytes, then the record.
fn decode(value: &[u8], registry: &str, schemas: &mut HashMap<u32, Schema>) -> Result<Json> {
    let Some(([0, id @ ..], mut datum)) = value.split_first_chunk::<5>() else { return Err("no schema id".into()) };
    let schema = match schemas.entry(u32::from_be_bytes(*id)) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => {
            let url = format!("{registry}/schemas/ids/{}", new.key());
            let answer: Json = ureq::get(url).call()?.body_mut().read_json()?;
            new.insert(Schema::parse_str(answer["schema"].as_str().ok_or("no schema")?)?)
        }
    };
    as_json(GenericDatumReader::builder(schema).build()?.read_value(&mut datum)?, schema)
}

fn as_json(value: Value, schema: &Schema) -> Result<Json> {
    Ok(match (value, schema) {
        (Value::Record(fields), Schema::Record(record)) => {
            let pairs = fields.into_iter().zip(&record.fields);
            let pairs = pairs.map(|((name, value), field)| Ok((name, as_json(value, &field.schema)?)));
            Json::Object(pairs.collect::<Result<Map<_, _>>>()?)
        }
        (Value::Union(branch, value), Schema::Union(union)) => as_json(*value, &union.variants()[branch as usize])?,
        (Value::Decimal(number), Schema::Decimal(decimal)) => {
            json!(BigDecimal::new(number.into(), decimal.scale.try_into()?).to_string())
        }
        (value, _) => Json::try_from(value)?,
    })
}
