//! A schema's default (JSON) in Avro binary (Avro 1.12 specification, "Complex Types" and "Binary Encoding").

use super::json::Json;
use super::{FieldType, Nullability};

/// The bytes of the default, the union's branch included. A union's default is of its first branch: later ones are
/// allowed since 1.12 only, and readers before it refuse them.
pub(super) fn encode(value: &Json, kind: &FieldType, nullable: Nullability) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match nullable {
        Nullability::Never => {}
        Nullability::NullFirst if *value == Json::Null => return Ok(vec![0]),
        Nullability::NullFirst => {
            return Err(format!("the default {value} is not of the union's first branch, null; write [T, \"null\"]"));
        }
        Nullability::NullLast if *value == Json::Null => {
            return Err("the default null is not of the union's first branch; write [\"null\", T]".to_owned());
        }
        Nullability::NullLast => out.push(0),
    }
    put(value, kind, &mut out)?;
    Ok(out)
}

fn put(value: &Json, kind: &FieldType, out: &mut Vec<u8>) -> Result<(), String> {
    let misfit = || format!("the default {value} is no {kind}");
    match kind {
        FieldType::Boolean => match value {
            Json::Bool(flag) => out.push(u8::from(*flag)),
            _ => return Err(misfit()),
        },
        FieldType::Int | FieldType::Date => {
            let number = value.integer().and_then(|number| i32::try_from(number).ok()).ok_or_else(misfit)?;
            put_long(i64::from(number), out);
        }
        FieldType::Long | FieldType::TimeMicros | FieldType::TimestampMicros | FieldType::LocalTimestampMicros => {
            put_long(value.integer().ok_or_else(misfit)?, out)
        }
        #[allow(clippy::cast_possible_truncation, reason = "a float's default is the nearest float")]
        FieldType::Float => out.extend((float(value).ok_or_else(misfit)? as f32).to_le_bytes()),
        FieldType::Double => out.extend(float(value).ok_or_else(misfit)?.to_le_bytes()),
        FieldType::Decimal { .. } if value.text() == Some("") => return Err(misfit()),
        FieldType::Bytes | FieldType::Decimal { .. } => {
            put_bytes(&latin_1(value).ok_or_else(|| format!("{}: text of code points up to U+00FF", misfit()))?, out);
        }
        FieldType::String => put_bytes(value.text().ok_or_else(misfit)?.as_bytes(), out),
        FieldType::Uuid => {
            let text = value.text().filter(|text| is_uuid(text)).ok_or_else(misfit)?;
            put_bytes(text.as_bytes(), out);
        }
        FieldType::Enum(symbols) => {
            let position = value.text().and_then(|text| symbols.iter().position(|symbol| symbol == text));
            let index = position.and_then(|position| i64::try_from(position).ok());
            put_long(index.ok_or_else(|| format!("{}: it has {}", misfit(), symbols.join(", ")))?, out);
        }
        FieldType::Meta(_) => return Err("a default for the record common.EventMeta is not supported".to_owned()),
    }
    Ok(())
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        _ => None,
    }
}

/// JSON text that stands for bytes: code points 0 to 255.
fn latin_1(value: &Json) -> Option<Vec<u8>> {
    value.text()?.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(i, char)| match i {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        })
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(bytes);
}

/// Zig-zag, then seven bits a byte, the low ones first.
fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
