//! Postgres' text output of a value from its binary form, as with DateStyle ISO, TimeZone UTC and bytea_output hex.
//! Keys, headers and maps are text, and the stream is binary.

use super::calendar::{DAY_MICROS, Day, padded, write_clock};
use super::numeric;
use super::reason::Reason;
use super::scalar::{Width, array, utf8};
use crate::model::{ColumnType, hex_lower};

/// How a column's binary form becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextForm {
    Bool,
    Integer(Width),
    /// The binary form is the text itself: the text family, json and enums.
    Text,
    Jsonb,
    Bytea,
    Uuid,
    Numeric,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl TextForm {
    /// None for types whose text is not reproduced here: floats (their shortest form is Postgres' own) and `Other`.
    pub(super) fn of(kind: &ColumnType) -> Option<TextForm> {
        Some(match kind {
            ColumnType::Bool => TextForm::Bool,
            ColumnType::Int2 => TextForm::Integer(Width::Two),
            ColumnType::Int4 => TextForm::Integer(Width::Four),
            ColumnType::Int8 => TextForm::Integer(Width::Eight),
            ColumnType::Text | ColumnType::Json | ColumnType::Enum(_) => TextForm::Text,
            ColumnType::Jsonb => TextForm::Jsonb,
            ColumnType::Bytea => TextForm::Bytea,
            ColumnType::Uuid => TextForm::Uuid,
            ColumnType::Numeric { .. } => TextForm::Numeric,
            ColumnType::Date => TextForm::Date,
            ColumnType::Time => TextForm::Time,
            ColumnType::Timestamp => TextForm::Timestamp,
            ColumnType::TimestampTz => TextForm::TimestampTz,
            ColumnType::Float4 | ColumnType::Float8 | ColumnType::Other(_) => return None,
        })
    }

    /// Appends the text of `binary`.
    pub(super) fn write(self, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        match self {
            TextForm::Bool => match binary {
                [0] => out.push(b'f'),
                [1] => out.push(b't'),
                _ => return Err(Reason::Malformed),
            },
            TextForm::Integer(width) => integer(width.read(binary)?, out),
            TextForm::Text => out.extend_from_slice(utf8(binary)?),
            TextForm::Jsonb => out.extend_from_slice(utf8(jsonb(binary)?)?),
            TextForm::Bytea => {
                out.extend_from_slice(b"\\x");
                hex(binary, out);
            }
            TextForm::Uuid => uuid(array(binary)?, out),
            TextForm::Numeric => numeric::write_text(binary, out)?,
            TextForm::Date => date(i32::from_be_bytes(array(binary)?), out),
            TextForm::Time => time(i64::from_be_bytes(array(binary)?), out)?,
            TextForm::Timestamp => timestamp(i64::from_be_bytes(array(binary)?), b"", out),
            TextForm::TimestampTz => timestamp(i64::from_be_bytes(array(binary)?), b"+00", out),
        }
        Ok(())
    }
}

/// The text within jsonb's binary form: a version byte, which is 1, then the text (jsonb.c, `jsonb_send`).
#[inline]
pub(super) fn jsonb(binary: &[u8]) -> Result<&[u8], Reason> {
    match binary {
        [1, text @ ..] => Ok(text),
        _ => Err(Reason::Malformed),
    }
}

pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    padded(value.unsigned_abs(), 1, out);
}

/// A UUID's 36 characters.
#[inline]
pub(super) fn uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    let number = u128::from_be_bytes(bytes);
    let [a, b, c, d] = [96, 64, 32, 0].map(|bits| hex_lower((number >> bits) as u32));
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&a);
    text[9..13].copy_from_slice(&b[..4]);
    text[14..18].copy_from_slice(&b[4..]);
    text[19..23].copy_from_slice(&c[..4]);
    text[24..28].copy_from_slice(&c[4..]);
    text[28..].copy_from_slice(&d);
    out.extend_from_slice(&text);
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let (fours, rest) = bytes.as_chunks::<4>();
    fours.iter().for_each(|four| out.extend_from_slice(&hex_lower(u32::from_be_bytes(*four))));
    for byte in rest {
        let [.., high, low] = hex_lower(u32::from(*byte));
        out.extend_from_slice(&[high, low]);
    }
}

fn date(days: i32, out: &mut Vec<u8>) {
    if infinity(days == i32::MIN, days == i32::MAX, out) {
        return;
    }
    let day = Day::since_2000(i64::from(days));
    day.write(out);
    era(day, out);
}

fn time(micros: i64, out: &mut Vec<u8>) -> Result<(), Reason> {
    if !(0..=DAY_MICROS).contains(&micros) {
        return Err(Reason::Malformed);
    }
    let fraction = write_clock(micros, out);
    trimmed(fraction, out);
    Ok(())
}

fn timestamp(micros: i64, zone: &[u8], out: &mut Vec<u8>) {
    if infinity(micros == i64::MIN, micros == i64::MAX, out) {
        return;
    }
    let day = Day::since_2000(micros.div_euclid(DAY_MICROS));
    day.write(out);
    out.push(b' ');
    let fraction = write_clock(micros.rem_euclid(DAY_MICROS), out);
    trimmed(fraction, out);
    out.extend_from_slice(zone);
    era(day, out);
}

fn infinity(below: bool, above: bool, out: &mut Vec<u8>) -> bool {
    match (below, above) {
        (true, _) => out.extend_from_slice(b"-infinity"),
        (_, true) => out.extend_from_slice(b"infinity"),
        _ => return false,
    }
    true
}

fn era(day: Day, out: &mut Vec<u8>) {
    if day.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Microseconds after the point, without zeros at the end; nothing where there are none.
fn trimmed(micros: u64, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    padded(micros, 6, out);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests;
