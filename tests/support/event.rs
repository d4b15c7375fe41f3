//! Events as any subscriber reads them: Confluent's framing, the schema from the registry, decoded by apache-avro.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use super::registry::get;
use super::{Context, Result};

/// The schemas that the registry gave out so far, by id.
pub(crate) struct Decoder {
    registry: String,
    contracts: BTreeMap<u32, Contract>,
}

struct Contract {
    name: String,
    schema: &'static Schema,
    reader: GenericDatumReader<'static>,
}

pub(crate) struct Event<'a> {
    /// The full name of the Avro record, e.g. `oms.OrderPlaced`.
    pub(crate) name: &'a str,
    pub(crate) schema: &'static Schema,
    pub(crate) value: Value,
}

impl Decoder {
    /// `registry` is the base of Confluent's REST API.
    pub(crate) fn new(registry: String) -> Self {
        Self { registry, contracts: BTreeMap::new() }
    }

    /// Decodes a record's value: a zero byte, the schema's id in four (big-endian), then the Avro record.
    pub(crate) fn decode(&mut self, value: &[u8]) -> Result<Event<'_>> {
        let (id, mut datum) = match value.split_first_chunk::<5>() {
            Some(([0, id @ ..], datum)) => (u32::from_be_bytes(*id), datum),
            _ => return Err("a record's value does not begin with Confluent's magic byte and a schema id".into()),
        };
        if !self.contracts.contains_key(&id) {
            self.contracts.insert(id, Contract::fetch(&self.registry, id)?);
        }
        let contract = self.contracts.get(&id).ok_or("a schema that was just fetched is gone")?;
        let value = contract.reader.read_value(&mut datum).context(&contract.name)?;
        if !datum.is_empty() {
            return Err(format!("{} bytes follow an event of type {}", datum.len(), contract.name).into());
        }
        Ok(Event { name: &contract.name, schema: contract.schema, value })
    }
}

impl Contract {
    fn fetch(registry: &str, id: u32) -> Result<Self> {
        let url = format!("{registry}/schemas/ids/{id}");
        let answer: serde_json::Value = serde_json::from_str(&get(&url).context(&url)?)?;
        let text = answer.get("schema").and_then(|schema| schema.as_str()).ok_or("the registry answers no schema")?;
        // The reader borrows the schema. There are a dozen of them, and they are needed until the process ends.
        let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(text).context(&url)?));
        let name = schema.name().ok_or("the schema of an event has no name")?.fullname(None);
        Ok(Self { name, schema, reader: GenericDatumReader::builder(schema).build()? })
    }
}

impl Event<'_> {
    /// `meta.id`.
    pub(crate) fn id(&self) -> Option<&str> {
        match self.meta("id")? {
            Value::String(id) => Some(id),
            _ => None,
        }
    }

    /// `meta.occurred_at`: the commit time of the source transaction, microseconds since 1970.
    pub(crate) fn occurred_at_us(&self) -> Option<i64> {
        match self.meta("occurred_at")? {
            Value::Union(_, value) => match **value {
                Value::TimestampMicros(us) => Some(us),
                _ => None,
            },
            _ => None,
        }
    }

    /// `meta.capture`: `STREAM`, `SNAPSHOT`, `BACKFILL` or `REPLAY`.
    pub(crate) fn capture(&self) -> Option<&str> {
        match self.meta("capture")? {
            Value::Enum(_, symbol) => Some(symbol),
            _ => None,
        }
    }

    fn meta(&self, name: &str) -> Option<&Value> {
        field(field(&self.value, "meta")?, name)
    }
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = value else { return None };
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}
