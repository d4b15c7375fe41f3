//! Values as conditions compare them: read from tuple bytes, text or binary, without allocation.

use std::cmp::Ordering;

use super::decimal::Decimal;
use super::temporal;
use crate::model::{Column, ColumnType, Datum};

/// The OID of `character(n)`, whose trailing blanks do not count in a comparison (Postgres docs, "Character Types").
const BPCHAR: u32 = 1042;

/// How a column's bytes become a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int,
    Float4,
    Float8,
    Numeric,
    Text,
    /// `character(n)`: blanks at the end are cut off.
    Padded,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Only compared with its former self, byte by byte.
    Opaque,
}

/// A value to compare. Dates and times are counts since 2000-01-01 or midnight; only columns of one type meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(Decimal<'a>),
    Bytes(&'a [u8]),
    Uuid([u8; 16]),
}

impl Form {
    pub(super) fn of(column: &Column) -> Form {
        match &column.kind {
            ColumnType::Bool => Form::Bool,
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => Form::Int,
            ColumnType::Float4 => Form::Float4,
            ColumnType::Float8 => Form::Float8,
            ColumnType::Numeric { .. } => Form::Numeric,
            ColumnType::Text if column.type_oid == BPCHAR => Form::Padded,
            ColumnType::Text | ColumnType::Enum(_) => Form::Text,
            ColumnType::Uuid => Form::Uuid,
            ColumnType::Date => Form::Date,
            ColumnType::Time => Form::Time,
            ColumnType::Timestamp => Form::Timestamp,
            ColumnType::TimestampTz => Form::TimestampTz,
            ColumnType::Bytea | ColumnType::Json | ColumnType::Jsonb | ColumnType::Other(_) => Form::Opaque,
        }
    }

    /// None: the bytes are not a value of the type, or there is no value at all.
    #[inline]
    pub(super) fn read(self, datum: Datum<'_>) -> Option<Scalar<'_>> {
        match datum {
            Datum::Null => Some(Scalar::Null),
            Datum::Binary(bytes) => self.binary(bytes),
            Datum::Text(bytes) => self.text(bytes),
            Datum::Unchanged | Datum::Absent => None,
        }
    }

    #[inline]
    fn binary(self, bytes: &[u8]) -> Option<Scalar<'_>> {
        Some(match self {
            Form::Text | Form::Opaque => Scalar::Bytes(bytes),
            Form::Padded => Scalar::Bytes(unpadded(bytes)),
            Form::Bool => Scalar::Bool(*<&[u8; 1]>::try_from(bytes).ok()? != [0]),
            Form::Int | Form::Date | Form::Time | Form::Timestamp | Form::TimestampTz => Scalar::Int(integer(bytes)?),
            Form::Float4 => Scalar::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
            Form::Float8 => Scalar::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
            Form::Numeric => Scalar::Decimal(Decimal::binary(bytes)?),
            Form::Uuid => Scalar::Uuid(bytes.try_into().ok()?),
        })
    }

    /// The type's text output with `DateStyle` ISO.
    fn text(self, bytes: &[u8]) -> Option<Scalar<'_>> {
        Some(match self {
            Form::Text | Form::Opaque => Scalar::Bytes(bytes),
            Form::Padded => Scalar::Bytes(unpadded(bytes)),
            Form::Bool => match bytes {
                b"t" => Scalar::Bool(true),
                b"f" => Scalar::Bool(false),
                _ => return None,
            },
            Form::Int => Scalar::Int(str::from_utf8(bytes).ok()?.parse().ok()?),
            Form::Float4 => Scalar::Float(str::from_utf8(bytes).ok()?.parse::<f32>().ok()?.into()),
            Form::Float8 => Scalar::Float(str::from_utf8(bytes).ok()?.parse().ok()?),
            Form::Numeric => Scalar::Decimal(Decimal::text(bytes)?),
            Form::Uuid => Scalar::Uuid(uuid(bytes)?),
            Form::Date => Scalar::Int(temporal::date(bytes)?),
            Form::Time => Scalar::Int(temporal::time(bytes)?),
            Form::Timestamp => Scalar::Int(temporal::timestamp(bytes)?),
            Form::TimestampTz => Scalar::Int(temporal::timestamptz(bytes)?),
        })
    }
}

impl Scalar<'_> {
    /// The order of two values that are not NULL. None: they are of kinds that do not compare.
    #[inline]
    pub(super) fn order(&self, other: &Scalar<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Scalar::Bytes(a), Scalar::Bytes(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Uuid(a), Scalar::Uuid(b)) => a.cmp(b),
            (Scalar::Float(a), Scalar::Float(b)) => order_floats(*a, *b),
            // Binding lets only integers meet a float that it holds exactly.
            (Scalar::Int(a), Scalar::Float(b)) => order_floats(*a as f64, *b),
            (Scalar::Float(a), Scalar::Int(b)) => order_floats(*a, *b as f64),
            (Scalar::Decimal(a), Scalar::Decimal(b)) => a.compare(b),
            (Scalar::Int(a), Scalar::Decimal(b)) => Decimal::int(*a).compare(b),
            (Scalar::Decimal(a), Scalar::Int(b)) => a.compare(&Decimal::int(*b)),
            _ => return None,
        })
    }

    /// Whether two values are the same; NULL is the same as NULL only.
    #[inline]
    pub(super) fn same(&self, other: &Scalar<'_>) -> Option<bool> {
        match (self, other) {
            (Scalar::Bytes(a), Scalar::Bytes(b)) => Some(a == b),
            (Scalar::Null, other) | (other, Scalar::Null) => Some(matches!(other, Scalar::Null)),
            _ => self.order(other).map(Ordering::is_eq),
        }
    }
}

/// As Postgres orders floats: NaN equals itself and is the greatest.
fn order_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    })
}

/// Without the blanks at the end.
pub(super) fn unpadded(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or(bytes)
}

/// A uuid's text, in any case, with its four hyphens.
pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = [8, 13, 18, 23];
    if text.len() != 36 || hyphens.iter().any(|at| text.get(*at) != Some(&b'-')) {
        return None;
    }
    let mut digits = text.iter().enumerate().filter(|(at, _)| !hyphens.contains(at));
    let mut nibble = || char::from(*digits.next()?.1).to_digit(16);
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = (nibble()? << 4 | nibble()?) as u8;
    }
    Some(uuid)
}
