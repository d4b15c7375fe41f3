//! A checked contract as plain data: what the encoder compiles from, without a parsed schema in sight.

use std::fmt;
use std::path::PathBuf;

/// One version of one event's (or key's) Avro schema.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// As connector files name it: `oms/OrderPlaced/v1`.
    pub path: String,
    /// Avro full name: `oms.OrderPlaced`.
    pub full_name: String,
    pub version: u32,
    pub file: PathBuf,
    /// The fields in the order of the schema, which is the order of the encoding.
    pub fields: Vec<ContractField>,
    /// The schema as JSON with all named types inlined at first use: what is registered.
    pub schema: String,
}

/// One field of a contract's record.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractField {
    pub name: String,
    pub kind: FieldType,
    pub nullable: Nullability,
    /// The default of the schema in Avro binary (union branch included); None: the schema has no default.
    pub default: Option<Vec<u8>>,
}

/// Whether a field takes null, and which branch of its union null is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nullability {
    /// No union: never null.
    Never,
    /// `["null", T]`
    NullFirst,
    /// `[T, "null"]`
    NullLast,
}

/// The Avro types that a field can have (Avro 1.12 specification, "Logical Types").
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// string, logicalType uuid
    Uuid,
    /// bytes, logicalType decimal
    Decimal {
        precision: usize,
        scale: usize,
    },
    /// int, logicalType date
    Date,
    /// long, logicalType time-micros
    TimeMicros,
    /// long, logicalType timestamp-micros: an instant
    TimestampMicros,
    /// long, logicalType local-timestamp-micros: a timestamp without time zone
    LocalTimestampMicros,
    /// The symbols in order.
    Enum(Vec<String>),
    /// The shared record `common.EventMeta`; its fields in order.
    Meta(Vec<(MetaField, Nullability)>),
}

/// As a person would say it: `bytes (decimal 12,2)`.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            FieldType::Boolean => "boolean",
            FieldType::Int => "int",
            FieldType::Long => "long",
            FieldType::Float => "float",
            FieldType::Double => "double",
            FieldType::Bytes => "bytes",
            FieldType::String => "string",
            FieldType::Uuid => "string (uuid)",
            FieldType::Decimal { precision, scale } => return write!(f, "bytes (decimal {precision},{scale})"),
            FieldType::Date => "int (date)",
            FieldType::TimeMicros => "long (time-micros)",
            FieldType::TimestampMicros => "long (timestamp-micros)",
            FieldType::LocalTimestampMicros => "long (local-timestamp-micros)",
            FieldType::Enum(_) => "enum",
            FieldType::Meta(_) => "common.EventMeta",
        };
        f.write_str(name)
    }
}

/// The fields that `common.EventMeta` may have, each with its one Avro type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaField {
    /// `id`, string: the ce_id
    Id,
    /// `occurred_at`, timestamp-micros: the commit time; null for a read
    OccurredAt,
    /// `source`, string: the connector file's source id
    Source,
    /// `sequence`, string: the position as fixed-width text, ordered as the source is
    Sequence,
    /// `operation`, enum INSERT UPDATE REKEY DELETE TRUNCATE READ, in this order
    Operation,
    /// `capture`, enum STREAM SNAPSHOT BACKFILL REPLAY, in this order
    Capture,
    /// `correlation_id`, string or null: the header of this name, where a rule sets it
    CorrelationId,
    /// `traceparent`, string or null: the header of this name, where a rule sets it
    Traceparent,
}
