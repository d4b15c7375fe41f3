//! How one column's bytes become one Avro value, and which pairs of types there are.

use super::avro;
use super::calendar::DAY_MICROS;
use super::codes::Codes;
use super::numeric::{self, DIGITS_OF_I128, Digits};
use super::reason::Reason;
use super::scalar::{Width, array, utf8};
use super::text::{jsonb, uuid};
use crate::contract::FieldType;
use crate::faults::{Mutation, mutated};
use crate::model::{ColumnType, PG_EPOCH_UNIX_MICROS};

/// Days from 1970-01-01 to 2000-01-01.
const PG_EPOCH_UNIX_DAYS: i32 = 10_957;

const INFINITE: Reason = Reason::OutOfRange("is infinite, which the field cannot hold");

/// The conversion of one column, chosen once for its type and the field's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Conversion {
    Boolean,
    Integer(Width),
    IntegerToFloat(Width),
    IntegerToDouble(Width),
    IntegerToDecimal(Width, Digits),
    Float,
    FloatToDouble,
    Double,
    Text,
    Jsonb,
    Bytes,
    Uuid,
    Decimal(Digits),
    NumericText,
    Date,
    Time,
    Timestamp,
    /// A label to the symbol's number.
    Symbol(Codes),
}

impl Conversion {
    /// The conversion from a column's type to a field's; None: the field cannot hold each value of the column exactly.
    /// (What only some values violate, such as a numeric's scale, is checked value by value.)
    pub(super) fn between(column: &ColumnType, field: &FieldType) -> Option<Conversion> {
        use ColumnType as C;
        use FieldType as F;
        Some(match (column, field) {
            (C::Bool, F::Boolean) => Conversion::Boolean,
            (C::Int2, F::Int | F::Long) => Conversion::Integer(Width::Two),
            (C::Int4, F::Int | F::Long) => Conversion::Integer(Width::Four),
            (C::Int8, F::Long) => Conversion::Integer(Width::Eight),
            (C::Int2, F::Float) => Conversion::IntegerToFloat(Width::Two),
            (C::Int2, F::Double) => Conversion::IntegerToDouble(Width::Two),
            (C::Int4, F::Double) => Conversion::IntegerToDouble(Width::Four),
            (C::Int2 | C::Int4 | C::Int8, F::Decimal { precision, scale }) if *precision <= DIGITS_OF_I128 => {
                Conversion::IntegerToDecimal(width(column)?, Digits { precision: *precision, scale: *scale })
            }
            (C::Float4, F::Float) => Conversion::Float,
            (C::Float4, F::Double) => Conversion::FloatToDouble,
            (C::Float8, F::Double) => Conversion::Double,
            (C::Text | C::Json | C::Enum(_), F::String) => Conversion::Text,
            (C::Text | C::Enum(_), F::Enum(symbols)) => Conversion::Symbol(Codes::symbols(symbols)),
            (C::Jsonb, F::String) => Conversion::Jsonb,
            (C::Bytea, F::Bytes) => Conversion::Bytes,
            (C::Uuid, F::Uuid | F::String) => Conversion::Uuid,
            (C::Numeric { .. }, F::Decimal { precision, scale }) => {
                Conversion::Decimal(Digits { precision: *precision, scale: *scale })
            }
            (C::Numeric { .. }, F::String) => Conversion::NumericText,
            (C::Date, F::Date) => Conversion::Date,
            (C::Time, F::TimeMicros) => Conversion::Time,
            (C::Timestamp, F::LocalTimestampMicros) | (C::TimestampTz, F::TimestampMicros) => Conversion::Timestamp,
            _ => return None,
        })
    }

    /// Appends the Avro value of `binary`, without a union's branch.
    #[inline]
    pub(super) fn write(&self, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        match self {
            Conversion::Boolean => match binary {
                [value @ (0 | 1)] => out.push(*value),
                _ => return Err(Reason::Malformed),
            },
            Conversion::Integer(width) => avro::long(width.read(binary)?, out),
            // Both casts are exact: 16 bits into 24, 32 bits into 53.
            Conversion::IntegerToFloat(width) => out.extend_from_slice(&(width.read(binary)? as f32).to_le_bytes()),
            Conversion::IntegerToDouble(width) => out.extend_from_slice(&(width.read(binary)? as f64).to_le_bytes()),
            Conversion::IntegerToDecimal(width, digits) => digits.write_integer(width.read(binary)?, out)?,
            Conversion::Float => reversed(array::<4>(binary)?, out),
            Conversion::FloatToDouble => {
                out.extend_from_slice(&f64::from(f32::from_be_bytes(array(binary)?)).to_le_bytes());
            }
            Conversion::Double => reversed(array::<8>(binary)?, out),
            Conversion::Text => avro::bytes(utf8(binary)?, out),
            Conversion::Jsonb => avro::bytes(utf8(jsonb(binary)?)?, out),
            Conversion::Bytes => avro::bytes(binary, out),
            Conversion::Uuid => {
                avro::length(36, out);
                uuid(array(binary)?, out);
            }
            Conversion::Decimal(digits) => digits.write_numeric(binary, out)?,
            Conversion::NumericText => avro::prefixed(out, |out| numeric::write_text(binary, out))?,
            Conversion::Date => avro::long(unix_days(i32::from_be_bytes(array(binary)?))?, out),
            Conversion::Time => avro::long(of_day(i64::from_be_bytes(array(binary)?))?, out),
            Conversion::Timestamp => avro::long(unix_micros(i64::from_be_bytes(array(binary)?))?, out),
            Conversion::Symbol(codes) => codes.write(binary, out)?,
        }
        Ok(())
    }

    /// Appends the Avro value of a value that came as text, where the text is what is written.
    pub(super) fn write_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        match self {
            Conversion::Text | Conversion::Jsonb => avro::bytes(utf8(text)?, out),
            Conversion::Symbol(codes) => codes.write(text, out)?,
            _ => return Err(Reason::NotBinary),
        }
        Ok(())
    }
}

fn width(column: &ColumnType) -> Option<Width> {
    match column {
        ColumnType::Int2 => Some(Width::Two),
        ColumnType::Int4 => Some(Width::Four),
        ColumnType::Int8 => Some(Width::Eight),
        _ => None,
    }
}

/// Network byte order to Avro's little-endian.
#[inline]
fn reversed<const N: usize>(mut bytes: [u8; N], out: &mut Vec<u8>) {
    bytes.reverse();
    out.extend_from_slice(&bytes);
}

fn unix_days(days: i32) -> Result<i64, Reason> {
    match days {
        i32::MIN | i32::MAX => Err(INFINITE),
        _ => days.checked_add(PG_EPOCH_UNIX_DAYS).map(i64::from).ok_or(Reason::Malformed),
    }
}

/// Avro's time-micros ends before midnight; Postgres' time includes 24:00:00.
fn of_day(micros: i64) -> Result<i64, Reason> {
    match micros {
        0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err(Reason::OutOfRange("is 24:00:00, which time-micros cannot hold")),
        _ => Err(Reason::Malformed),
    }
}

#[inline]
fn unix_micros(micros: i64) -> Result<i64, Reason> {
    match micros {
        i64::MIN | i64::MAX => Err(INFINITE),
        _ if mutated(Mutation::TimeZoneTwice) => Ok(micros + PG_EPOCH_UNIX_MICROS + 3_600_000_000),
        _ => micros.checked_add(PG_EPOCH_UNIX_MICROS).ok_or(Reason::OutOfRange("lies past the year 294246")),
    }
}

#[cfg(test)]
mod tests;
