//! What may be compared with what: the types of columns and literals.

use super::condition::Constant;
use super::scalar::{Form, unpadded, uuid};
use super::temporal;
use crate::connector::{Comparison, Literal};
use crate::model::{Column, ColumnType};

/// Types that compare alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Bool,
    /// Integers that a double holds exactly.
    SmallInt,
    BigInt,
    Float,
    Numeric,
    Text,
    Enum,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Without a comparison: NULL or changed is all that can be asked.
    Opaque,
}

fn family(column: &Column) -> Family {
    match &column.kind {
        ColumnType::Bool => Family::Bool,
        ColumnType::Int2 | ColumnType::Int4 => Family::SmallInt,
        ColumnType::Int8 => Family::BigInt,
        ColumnType::Float4 | ColumnType::Float8 => Family::Float,
        ColumnType::Numeric { .. } => Family::Numeric,
        ColumnType::Text => Family::Text,
        ColumnType::Enum(_) => Family::Enum,
        ColumnType::Uuid => Family::Uuid,
        ColumnType::Date => Family::Date,
        ColumnType::Time => Family::Time,
        ColumnType::Timestamp => Family::Timestamp,
        ColumnType::TimestampTz => Family::TimestampTz,
        ColumnType::Bytea | ColumnType::Json | ColumnType::Jsonb | ColumnType::Other(_) => Family::Opaque,
    }
}

fn is_order(comparison: Comparison) -> bool {
    !matches!(comparison, Comparison::Equal | Comparison::NotEqual)
}

/// Why a column does not take part in this comparison at all.
pub(super) fn refuse_column(column: &Column, comparison: Comparison) -> Option<String> {
    let (name, kind) = (&column.name, &column.kind);
    match family(column) {
        Family::Opaque => Some(format!(
            "{name} is {kind}, which is not compared; `{name} == null` and `changed({name})` are what can be asked"
        )),
        Family::Enum if is_order(comparison) => {
            Some(format!("{name} is an enum, whose labels have no order here; use == or in"))
        }
        Family::Bool if is_order(comparison) => Some(format!("{name} is boolean, which has no order")),
        _ => None,
    }
}

/// Why two columns are not compared with each other.
pub(super) fn refuse_pair(left: &Column, right: &Column) -> Option<String> {
    use Family::{BigInt, Enum, Float, Numeric, SmallInt, Text};
    let comparable = match (family(left), family(right)) {
        (a, b) if a == b => true,
        (SmallInt | BigInt | Numeric, SmallInt | BigInt | Numeric) => true,
        (SmallInt, Float) | (Float, SmallInt) | (Text, Enum) | (Enum, Text) => true,
        _ => false,
    };
    let Column { name, kind, .. } = left;
    (!comparable).then(|| format!("{name} is {kind} and {} is {}: they do not compare exactly", right.name, right.kind))
}

/// The literal in the form of the column that it is compared with, or why it is none.
pub(super) fn constant(column: &Column, literal: &Literal) -> Result<Constant, String> {
    if *literal == Literal::Null {
        return Ok(Constant::Null);
    }
    let Column { name, kind, .. } = column;
    let form = |wanted: &str| format!("{name} is {kind}: {wanted}");
    match (family(column), literal) {
        (Family::Bool, Literal::Bool(value)) => Ok(Constant::Bool(*value)),
        (Family::Bool, _) => Err(form("compare it with true or false")),
        (Family::SmallInt | Family::BigInt | Family::Numeric, Literal::Int(value)) => Ok(Constant::Int(*value)),
        // The shortest digits that make this double again are those that were written.
        (Family::SmallInt | Family::BigInt | Family::Numeric, Literal::Double(value)) if value.is_finite() => {
            Ok(Constant::Decimal(value.to_string()))
        }
        (Family::Float, Literal::Double(value)) => Ok(Constant::Float(*value)),
        (Family::Float, Literal::Int(value)) => match *value as f64 {
            exact if exact as i128 == i128::from(*value) => Ok(Constant::Float(exact)),
            _ => Err(form("no floating-point number is exactly this integer")),
        },
        (Family::SmallInt | Family::BigInt | Family::Numeric | Family::Float, _) => {
            Err(form("compare it with a number, without quotes"))
        }
        (Family::Text, Literal::String(text)) => Ok(Constant::Text(text_of(column, text))),
        (Family::Text, _) => Err(form("compare it with a string in quotes")),
        (Family::Enum, Literal::String(label)) => enum_label(column, label),
        (Family::Enum, _) => Err(form("compare it with one of its labels, in quotes")),
        (Family::Uuid, Literal::String(text)) => uuid(text.as_bytes())
            .map(Constant::Uuid)
            .ok_or_else(|| form("compare it with '00000000-0000-0000-0000-000000000000'")),
        (Family::Date, Literal::String(text)) => instant(temporal::date(text.as_bytes()), &form, "'2024-02-29'"),
        (Family::Time, Literal::String(text)) => instant(temporal::time(text.as_bytes()), &form, "'12:34:56'"),
        (Family::Timestamp, Literal::String(text)) => {
            instant(temporal::timestamp(text.as_bytes()), &form, "'2024-02-29 12:34:56'")
        }
        (Family::TimestampTz, Literal::String(text)) => {
            instant(temporal::timestamptz(text.as_bytes()), &form, "'2024-02-29 12:34:56Z', with its offset")
        }
        (Family::Uuid | Family::Date | Family::Time | Family::Timestamp | Family::TimestampTz, _) => {
            Err(form("compare it with a string in quotes"))
        }
        (Family::Opaque, _) => refuse_column(column, Comparison::Equal).map_or(Ok(Constant::Null), Err),
    }
}

fn instant(count: Option<i64>, form: &impl Fn(&str) -> String, example: &str) -> Result<Constant, String> {
    count.map(Constant::Int).ok_or_else(|| form(&format!("compare it with a string such as {example}")))
}

fn text_of(column: &Column, text: &str) -> String {
    match Form::of(column) {
        Form::Padded => String::from_utf8_lossy(unpadded(text.as_bytes())).into_owned(),
        _ => text.to_owned(),
    }
}

fn enum_label(column: &Column, label: &str) -> Result<Constant, String> {
    let ColumnType::Enum(labels) = &column.kind else { return Ok(Constant::Text(label.to_owned())) };
    if labels.iter().any(|known| known == label) {
        return Ok(Constant::Text(label.to_owned()));
    }
    Err(format!("{} is an enum without the label '{label}'; it has {}", column.name, labels.join(", ")))
}
