//! Which field types take which column types, in words.

use super::conversion::Conversion;
use crate::contract::{Contract, ContractField, FieldType};
use crate::model::{Column, ColumnType, TableName};

/// Why the column does not fit the field, and what would.
pub(super) fn mismatch(table: &TableName, column: &Column, contract: &Contract, field: &ContractField) -> String {
    let pair = format!(
        "column {} of {table} is {}, field {} of {} is {}",
        column.name, column.kind, field.name, contract.path, field.kind
    );
    format!("{pair}; {}", advice(&column.kind, &field.kind))
}

fn advice(column: &ColumnType, field: &FieldType) -> String {
    if let ColumnType::Other(name) = column {
        return format!("columns of type {name} are not supported yet");
    }
    let why = match (column, field) {
        (ColumnType::Timestamp, FieldType::TimestampMicros) => {
            "a timestamp without time zone is no instant: which one it means depends on a zone that the column does not tell; "
        }
        (ColumnType::TimestampTz, FieldType::LocalTimestampMicros) => "a timestamptz is an instant; ",
        (ColumnType::Int8, FieldType::Double) | (ColumnType::Int4, FieldType::Float) => "it would lose digits; ",
        _ => "",
    };
    format!("{why}{column} fits {}", fitting(column).join(", "))
}

fn fitting(column: &ColumnType) -> Vec<String> {
    let decimal = FieldType::Decimal { precision: 1, scale: 0 };
    let candidates = [
        FieldType::Boolean,
        FieldType::Int,
        FieldType::Long,
        FieldType::Float,
        FieldType::Double,
        FieldType::Bytes,
        FieldType::String,
        FieldType::Uuid,
        decimal,
        FieldType::Date,
        FieldType::TimeMicros,
        FieldType::TimestampMicros,
        FieldType::LocalTimestampMicros,
        FieldType::Enum(Vec::new()),
    ];
    let fits = candidates.iter().filter(|field| Conversion::between(column, field).is_some());
    fits.map(|field| match field {
        FieldType::Decimal { .. } => "bytes (decimal)".to_owned(),
        field => field.to_string(),
    })
    .collect()
}
