//! `common.EventMeta`: which fields it may have, and the one type of each.

use std::collections::BTreeMap;

use super::field::{field_type, nullability};
use super::json::Json;
use super::{FieldType, MetaField, Nullability};

/// The shared record that a field `meta` has as its type.
pub(super) const FULL_NAME: &str = "common.EventMeta";

const OPERATIONS: [&str; 6] = ["INSERT", "UPDATE", "REKEY", "DELETE", "TRUNCATE", "READ"];
const CAPTURES: [&str; 4] = ["STREAM", "SNAPSHOT", "BACKFILL", "REPLAY"];

/// The fields of the record in their order, each checked against what is written into it.
pub(super) fn fields(schema: &Json, defined: &BTreeMap<String, Json>) -> Result<Vec<(MetaField, Nullability)>, String> {
    let fields = schema.get("fields").and_then(Json::array).unwrap_or_default();
    fields.iter().map(|field| meta_field(field, defined)).collect()
}

fn meta_field(schema: &Json, defined: &BTreeMap<String, Json>) -> Result<(MetaField, Nullability), String> {
    let name = schema.text_of("name").unwrap_or_default();
    let (meta, nullable, expected) = match name {
        "id" => (MetaField::Id, false, FieldType::String),
        "occurred_at" => (MetaField::OccurredAt, true, FieldType::TimestampMicros),
        "source" => (MetaField::Source, false, FieldType::String),
        "sequence" => (MetaField::Sequence, false, FieldType::String),
        "operation" => (MetaField::Operation, false, symbols(&OPERATIONS)),
        "capture" => (MetaField::Capture, false, symbols(&CAPTURES)),
        "correlation_id" => (MetaField::CorrelationId, true, FieldType::String),
        "traceparent" => (MetaField::Traceparent, true, FieldType::String),
        _ => {
            return Err(format!(
                "{FULL_NAME} has a field `{name}` that nothing fills; it may have id, occurred_at, source, sequence, \
                 operation, capture, correlation_id, traceparent"
            ));
        }
    };
    let (found_nullable, inner) = nullability(schema.get("type").unwrap_or(&Json::Null))?;
    let found = field_type(inner, defined)?;
    if found != expected || (found_nullable != Nullability::Never) != nullable {
        return Err(format!("{FULL_NAME}: `{name}` must be {}", described(&expected, nullable)));
    }
    Ok((meta, found_nullable))
}

fn symbols(names: &[&str]) -> FieldType {
    FieldType::Enum(names.iter().map(|&name| name.to_owned()).collect())
}

fn described(kind: &FieldType, nullable: bool) -> String {
    let or_null = if nullable { ", or null" } else { ", never null" };
    match kind {
        FieldType::Enum(symbols) => format!("an enum of {} in this order{or_null}", symbols.join(", ")),
        FieldType::TimestampMicros => format!("a long of logicalType timestamp-micros{or_null}"),
        _ => format!("a string{or_null}"),
    }
}
