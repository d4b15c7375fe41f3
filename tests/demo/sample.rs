//! One record as a subscriber sees it: topic, key, headers, and the decoded value as JSON.
//!
//! Logical types are shown as what they mean: a decimal as a number, a time in ISO 8601, bytes in hexadecimal.

use apache_avro::Schema;
use apache_avro::types::Value;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::screen::Colours;
use crate::support::event::Event;

const WIDTH: usize = 110;
const DAY_S: i64 = 86_400;

/// A record as some lines of text; no event: a tombstone.
pub(super) fn sample(message: &BorrowedMessage<'_>, event: Option<&Event<'_>>, colours: Colours) -> String {
    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
    let place = format!("{}[{}]@{}", message.topic(), message.partition(), message.offset());
    let name = event.map_or("tombstone", |event| event.name);
    let mut pieces = Pieces::new(colours);
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default());
        pieces.push(&format!("{}: ", header.key), &value, "", |colours, text| colours.quiet(text));
    }
    let headers = pieces.filled();
    let mut pieces = Pieces::new(colours);
    match event {
        Some(event) => pieces.value(&event.value, event.schema, String::new(), ""),
        None => pieces.push("", "null", "", |colours, text| colours.quiet(text)),
    }
    let title = format!("{}  {place}  key {key}", colours.title(name));
    format!("\n{title}\n{headers}{}\n", pieces.filled())
}

/// Pieces of text, of which each stays in one line and a line has as many as fit.
struct Pieces {
    list: Vec<Piece>,
    colours: Colours,
    /// How many records the next piece is inside of.
    depth: usize,
    /// The next piece begins a line.
    begins: bool,
}

struct Piece {
    /// What is visible of it, in characters.
    length: usize,
    text: String,
    depth: usize,
    begins: bool,
}

impl Pieces {
    fn new(colours: Colours) -> Self {
        Self { list: Vec::new(), colours, depth: 0, begins: true }
    }

    fn push(&mut self, prefix: &str, text: &str, suffix: &str, paint: impl Fn(Colours, &str) -> String) {
        let length = [prefix, text, suffix].iter().map(|part| part.chars().count()).sum();
        let text = format!("{}{}{suffix}", self.colours.name(prefix), paint(self.colours, text));
        self.list.push(Piece { length, text, depth: self.depth, begins: self.begins });
        self.begins = false;
    }

    fn value(&mut self, value: &Value, schema: &Schema, prefix: String, suffix: &str) {
        match (value, schema) {
            (Value::Union(branch, value), Schema::Union(union)) => {
                let schema = union.variants().get(*branch as usize).unwrap_or(schema);
                self.value(value, schema, prefix, suffix);
            }
            (Value::Record(fields), Schema::Record(record)) => {
                let last = fields.len().saturating_sub(1);
                self.depth += 1;
                for (i, ((name, value), field)) in fields.iter().zip(&record.fields).enumerate() {
                    let before = if i == 0 { format!("{prefix}{{ ") } else { String::new() };
                    let after = if i == last { format!(" }}{suffix}") } else { ",".to_owned() };
                    self.value(value, &field.schema, format!("{before}\"{name}\": "), &after);
                }
                self.depth -= 1;
                self.begins = true;
            }
            (Value::Null | Value::Boolean(_), _) => {
                self.push(&prefix, &json(value, schema), suffix, |colours, text| colours.quiet(text));
            }
            (Value::Int(_) | Value::Long(_) | Value::Float(_) | Value::Double(_) | Value::Decimal(_), _) => {
                self.push(&prefix, &json(value, schema), suffix, |colours, text| colours.number(text));
            }
            _ => self.push(&prefix, &json(value, schema), suffix, |colours, text| colours.text(text)),
        }
    }

    fn filled(&self) -> String {
        let mut text = String::new();
        let mut column = 0;
        for piece in &self.list {
            if piece.begins || column + 1 + piece.length > WIDTH {
                // Only the first piece of a record has its brace in the line.
                let indent = 2 + 2 * piece.depth - if text.is_empty() { 2 * piece.depth } else { 0 };
                text.push_str(if text.is_empty() { "" } else { "\n" });
                text.push_str(&" ".repeat(indent));
                column = indent + piece.length;
            } else {
                text.push(' ');
                column += 1 + piece.length;
            }
            text.push_str(&piece.text);
        }
        text + "\n"
    }
}

fn json(value: &Value, schema: &Schema) -> String {
    match (value, schema) {
        (Value::Null, _) => "null".to_owned(),
        (Value::Boolean(value), _) => value.to_string(),
        (Value::Int(value), _) => value.to_string(),
        (Value::Long(value), _) => value.to_string(),
        (Value::Float(value), _) => value.to_string(),
        (Value::Double(value), _) => value.to_string(),
        (Value::Decimal(value), Schema::Decimal(schema)) => {
            decimal(&<Vec<u8>>::try_from(value).unwrap_or_default(), schema.scale)
        }
        (Value::String(text) | Value::Enum(_, text), _) => quoted(text),
        (Value::Uuid(uuid), _) => quoted(&uuid.to_string()),
        (Value::Bytes(bytes) | Value::Fixed(_, bytes), _) => quoted(&hexadecimal(bytes)),
        (Value::Date(days), _) => quoted(&date(i64::from(*days))),
        (Value::TimeMicros(us), _) => quoted(&clock(*us)),
        (Value::TimestampMicros(us), _) => quoted(&format!("{}Z", timestamp(*us))),
        (Value::LocalTimestampMicros(us), _) => quoted(&timestamp(*us)),
        (other, _) => quoted(&format!("{other:?}")),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// Two's complement, most significant byte first; the demo's money fits 128 bits.
fn decimal(bytes: &[u8], scale: usize) -> String {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
    let unscaled = bytes.iter().fold(sign, |number: i128, byte| (number << 8) | i128::from(*byte));
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{}{whole}{point}{fraction}", if unscaled < 0 { "-" } else { "" })
}

fn timestamp(us: i64) -> String {
    let day_us = DAY_S * 1_000_000;
    format!("{}T{}", date(us.div_euclid(day_us)), clock(us.rem_euclid(day_us)))
}

fn clock(us: i64) -> String {
    let (s, us) = (us / 1_000_000, us % 1_000_000);
    format!("{:02}:{:02}:{:02}.{us:06}", s / 3600, s / 60 % 60, s % 60)
}

/// The day this long after 1970-01-01, counted year by year and month by month.
fn date(days: i64) -> String {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, days);
    while left < 0 {
        year -= 1;
        left += 365 + i64::from(leap(year));
    }
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", left + 1)
}
