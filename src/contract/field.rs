//! From a field's schema to the types that can be encoded. What Avro's readers would pass over in silence (a logical type
//! misspelt or in the wrong place, an impossible decimal, a default of another branch) is a fault here.

use std::collections::BTreeMap;

use super::json::Json;
use super::{ContractField, FieldType, Nullability, default, inline, meta};

/// The digits of the longest numeric: 131072 before the point and 16383 behind it (Postgres docs, "Numeric Types").
const PRECISION_MAX: usize = 147_455;
const DECIMAL: &str = r#"{ "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 }"#;

/// The field of a record whose types are all written out; `defined` has the schema's named types by full name.
pub(super) fn field(schema: &Json, defined: &BTreeMap<String, Json>) -> Result<ContractField, String> {
    for misplaced in ["logicalType", "precision", "scale", "symbols"] {
        if schema.get(misplaced).is_some() {
            return Err(format!(
                "`{misplaced}` stands beside the type, where readers ignore it; write \"type\": {{ \"type\": .., \"{misplaced}\": .. }}"
            ));
        }
    }
    let name = schema.text_of("name").unwrap_or_default().to_owned();
    let declared = schema.get("type").ok_or("the field has no type")?;
    let (nullable, inner) = nullability(declared)?;
    let kind = field_type(inner, defined)?;
    let default = schema.get("default").map(|value| default::encode(value, &kind, nullable)).transpose()?;
    Ok(ContractField { name, kind, nullable, default })
}

/// A union with null taken apart.
pub(super) fn nullability(schema: &Json) -> Result<(Nullability, &Json), String> {
    let is_null = |branch: &Json| branch.text() == Some("null");
    match schema.array() {
        None => Ok((Nullability::Never, schema)),
        Some([null, inner]) if is_null(null) && !is_null(inner) => Ok((Nullability::NullFirst, inner)),
        Some([inner, null]) if is_null(null) && !is_null(inner) => Ok((Nullability::NullLast, inner)),
        Some(_) => Err(format!("the union {schema} is not supported yet; [\"null\", T] and [T, \"null\"] are")),
    }
}

/// The type of a schema that is no union.
pub(super) fn field_type(schema: &Json, defined: &BTreeMap<String, Json>) -> Result<FieldType, String> {
    match schema {
        Json::Text(name) => match defined.get(name) {
            Some(definition) => named(definition, name, defined),
            None => primitive(name),
        },
        Json::Object(_) => match (schema.text_of("type"), schema.text_of("logicalType")) {
            (Some("record" | "enum" | "fixed" | "array" | "map"), _) => {
                // A shared type names its namespace itself.
                named(schema, &inline::defined_name(schema, ""), defined)
            }
            (Some(base), Some(logical)) => logical_type(schema, base, logical),
            (Some(base), None) => field_type(&Json::Text(base.to_owned()), defined),
            (None, _) => match schema.get("type") {
                Some(inner) => field_type(inner, defined),
                None => Err(format!("{schema} has no type")),
            },
        },
        _ => Err(format!("{schema} is no type")),
    }
}

fn named(schema: &Json, full_name: &str, defined: &BTreeMap<String, Json>) -> Result<FieldType, String> {
    match schema.text_of("type") {
        Some("enum") => Ok(FieldType::Enum(symbols(schema))),
        Some("record") if full_name == meta::FULL_NAME => meta::fields(schema, defined).map(FieldType::Meta),
        Some("record") => {
            Err(format!("the record {full_name} is not supported yet as a field's type; common.EventMeta alone is"))
        }
        Some(other) => Err(format!("the type {other} is not supported yet")),
        None => Err(format!("{schema} has no type")),
    }
}

/// The symbols of an enum in their order.
pub(super) fn symbols(schema: &Json) -> Vec<String> {
    let symbols = schema.get("symbols").and_then(Json::array).unwrap_or_default();
    symbols.iter().filter_map(Json::text).map(str::to_owned).collect()
}

fn primitive(name: &str) -> Result<FieldType, String> {
    Ok(match name {
        "boolean" => FieldType::Boolean,
        "int" => FieldType::Int,
        "long" => FieldType::Long,
        "float" => FieldType::Float,
        "double" => FieldType::Double,
        "bytes" => FieldType::Bytes,
        "string" => FieldType::String,
        "null" => return Err("the type null is not supported; a nullable field is [\"null\", T]".to_owned()),
        _ => return Err(inline::unknown_type(name)),
    })
}

fn logical_type(schema: &Json, base: &str, logical: &str) -> Result<FieldType, String> {
    Ok(match (base, logical) {
        ("bytes", "decimal") => decimal(schema)?,
        ("string", "uuid") => FieldType::Uuid,
        ("int", "date") => FieldType::Date,
        ("long", "time-micros") => FieldType::TimeMicros,
        ("long", "timestamp-micros") => FieldType::TimestampMicros,
        ("long", "local-timestamp-micros") => FieldType::LocalTimestampMicros,
        _ => {
            return Err(format!(
                "logicalType {logical} of {base} is not supported; supported are decimal of bytes, uuid of string, \
                 date of int, and time-micros, timestamp-micros, local-timestamp-micros of long"
            ));
        }
    })
}

fn decimal(schema: &Json) -> Result<FieldType, String> {
    let number = |key: &str| schema.get(key).map(|value| value.integer().and_then(|n| usize::try_from(n).ok()));
    let Some(Some(precision @ 1..=PRECISION_MAX)) = number("precision") else {
        return Err(format!("a decimal needs a precision of 1 to {PRECISION_MAX}: {DECIMAL}"));
    };
    match number("scale") {
        None => Ok(FieldType::Decimal { precision, scale: 0 }),
        Some(Some(scale)) if scale <= precision => Ok(FieldType::Decimal { precision, scale }),
        Some(_) => Err(format!("a decimal's scale is between 0 and its precision: {DECIMAL}")),
    }
}
