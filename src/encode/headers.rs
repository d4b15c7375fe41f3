//! Headers: the CloudEvents attributes of a record (Kafka protocol binding, binary content mode) and what rules name.

use std::ops::Range;

use super::calendar::{DAY_MICROS, Day, padded, write_clock};
use super::program::CORRELATION_ID;
use super::{EventProgram, Meta};
use crate::connector::EventPlan;
use crate::contract::Contract;
use crate::error::Result;
use crate::model::{Batch, Change, Header, PG_EPOCH_UNIX_MICROS};

/// The header that holds an event's id.
pub const ID_HEADER: &str = "ce_id";
/// `ce_type` of tombstones, which have no contract.
pub const TOMBSTONE_TYPE: &str = "walwright.Tombstone.v1";

/// Which headers Walwright adds; those that a rule names are written in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMode {
    /// `ce_id` and `ce_type`.
    Core,
    /// The whole binding.
    CloudEvents,
    /// None of its own.
    None,
}

/// The attributes, each with its index in every connector's table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Id,
    Type,
    ContentType,
    SpecVersion,
    Source,
    Time,
    Subject,
    DataSchema,
    Sequence,
    PartitionKey,
    CorrelationId,
}

/// In the order of `Attribute`. Extensions have lower-case letters and digits only (CloudEvents 1.0, "Naming Conventions").
const ATTRIBUTES: [&str; 11] = [
    ID_HEADER,
    "ce_type",
    "content-type",
    "ce_specversion",
    "ce_source",
    "ce_time",
    "ce_subject",
    "ce_dataschema",
    "ce_sequence",
    "ce_partitionkey",
    "ce_correlationid",
];

/// The names that `Header::name` indexes: the attributes, then what the connector's rules name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames(Vec<String>);

impl Default for HeaderNames {
    fn default() -> HeaderNames {
        HeaderNames(ATTRIBUTES.map(str::to_owned).to_vec())
    }
}

impl HeaderNames {
    /// The name with this index.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(String::as_str)
    }

    /// All names, by index.
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// The index of `name`, which is added where it is new.
    fn index(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}

/// The headers of the records of one rule: what is constant, prepared.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    mode: HeaderMode,
    event_type: String,
    /// None: a tombstone, which has no data.
    data_schema: Option<String>,
    /// The index of each of the rule's headers' names.
    named: Vec<usize>,
}

impl HeaderPlan {
    /// For an event; `data_schema` is the URI of `ce_dataschema` (`registry::Client::schema_uri`).
    pub fn event(mode: HeaderMode, event: &EventPlan, data_schema: &str, names: &mut HeaderNames) -> HeaderPlan {
        let named = event.headers.iter().map(|(name, _)| match (mode, name.as_str()) {
            (HeaderMode::CloudEvents, CORRELATION_ID) => Attribute::CorrelationId as usize,
            (_, name) => names.index(name),
        });
        HeaderPlan {
            mode,
            named: named.collect(),
            event_type: event_type(&event.contract),
            data_schema: Some(data_schema.to_owned()),
        }
    }

    /// For a tombstone.
    pub fn tombstone(mode: HeaderMode) -> HeaderPlan {
        HeaderPlan { mode, event_type: TOMBSTONE_TYPE.to_owned(), data_schema: None, named: Vec::new() }
    }

    /// Appends the headers of one event; returns their range in `batch.headers`.
    ///
    /// `key` is where the record's key lies in `batch.bytes`, None where it is no text: `ce_subject` and
    /// `ce_partitionkey` point at the same bytes. After an error the batch is as it was.
    ///
    /// # Errors
    /// As `EventProgram::header`.
    pub fn append(
        &self,
        event: &EventProgram,
        change: &Change<'_>,
        meta: &Meta<'_>,
        key: Option<&Range<usize>>,
        batch: &mut Batch,
    ) -> Result<Range<usize>> {
        let (first, start) = (batch.headers.len(), batch.bytes.len());
        self.append_attributes(meta, key, batch);
        for (index, name) in self.named.iter().enumerate() {
            let value = batch.bytes.len();
            match event.header(index, change, &mut batch.bytes) {
                Ok(true) => batch.headers.push(Header { name: *name, value: value..batch.bytes.len() }),
                Ok(false) => {}
                Err(error) => {
                    batch.headers.truncate(first);
                    batch.bytes.truncate(start);
                    return Err(error);
                }
            }
        }
        Ok(first..batch.headers.len())
    }

    /// Appends the headers of one tombstone; returns their range in `batch.headers`.
    pub fn append_tombstone(&self, meta: &Meta<'_>, key: Option<&Range<usize>>, batch: &mut Batch) -> Range<usize> {
        let first = batch.headers.len();
        self.append_attributes(meta, key, batch);
        first..batch.headers.len()
    }

    fn append_attributes(&self, meta: &Meta<'_>, key: Option<&Range<usize>>, batch: &mut Batch) {
        if self.mode == HeaderMode::None {
            return;
        }
        put(batch, Attribute::Id, meta.id);
        put(batch, Attribute::Type, self.event_type.as_bytes());
        if self.mode == HeaderMode::Core {
            return;
        }
        put(batch, Attribute::SpecVersion, b"1.0");
        put(batch, Attribute::Source, meta.source.as_bytes());
        put(batch, Attribute::Sequence, meta.sequence);
        if let Some(data_schema) = &self.data_schema {
            put(batch, Attribute::ContentType, b"application/avro");
            put(batch, Attribute::DataSchema, data_schema.as_bytes());
        }
        if let Some(micros) = meta.occurred_at {
            let start = batch.bytes.len();
            write_time(micros, &mut batch.bytes);
            batch.headers.push(Header { name: Attribute::Time as usize, value: start..batch.bytes.len() });
        }
        if let Some(key) = key {
            batch.headers.push(Header { name: Attribute::Subject as usize, value: key.clone() });
            batch.headers.push(Header { name: Attribute::PartitionKey as usize, value: key.clone() });
        }
    }
}

/// `ce_type`: the contract's full name and version, `oms.OrderPlaced.v1`.
pub fn event_type(contract: &Contract) -> String {
    format!("{}.v{}", contract.full_name, contract.version)
}

fn put(batch: &mut Batch, attribute: Attribute, value: &[u8]) {
    let start = batch.bytes.len();
    batch.bytes.extend_from_slice(value);
    batch.headers.push(Header { name: attribute as usize, value: start..batch.bytes.len() });
}

/// RFC 3339 in UTC, always with six digits of the second.
fn write_time(unix_micros: i64, out: &mut Vec<u8>) {
    let micros = unix_micros.saturating_sub(PG_EPOCH_UNIX_MICROS);
    Day::since_2000(micros.div_euclid(DAY_MICROS)).write(out);
    out.push(b'T');
    let fraction = write_clock(micros.rem_euclid(DAY_MICROS), out);
    out.push(b'.');
    padded(fraction, 6, out);
    out.push(b'Z');
}

#[cfg(test)]
mod tests;
