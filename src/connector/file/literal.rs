//! Which constants fit which fields.

use super::super::Literal;
use crate::contract::{ContractField, FieldType, Nullability};

/// Up to here every whole number has a double of its own.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Why the constant is no value of the field.
pub(super) fn misfit(literal: &Literal, field: &ContractField) -> Option<String> {
    let fits = match (literal, &field.kind) {
        (Literal::Null, _) if field.nullable == Nullability::Never => {
            return Some(format!("the field `{}` takes no null", field.name));
        }
        (Literal::String(text), FieldType::Enum(symbols)) if !symbols.iter().any(|symbol| symbol == text) => {
            return Some(unlisted(text, symbols));
        }
        (Literal::Null, _)
        | (Literal::Bool(_), FieldType::Boolean)
        | (Literal::Int(_), FieldType::Long)
        | (Literal::Double(_), FieldType::Double)
        | (Literal::String(_), FieldType::String | FieldType::Enum(_)) => true,
        (Literal::Int(value), FieldType::Int) => i32::try_from(*value).is_ok(),
        (Literal::Int(value), FieldType::Double) => value.unsigned_abs() <= EXACT_IN_DOUBLE,
        (Literal::Int(value), FieldType::Decimal { precision, scale }) => digits(*value) <= precision - scale,
        (Literal::String(text), FieldType::Uuid) => is_uuid(text),
        _ => false,
    };
    (!fits).then(|| format!("the constant {literal} does not fit the field `{}`, which is {}", field.name, field.kind))
}

/// Why the constant is no text for a key or a header.
pub(super) fn text_misfit(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Null => Some("null is no value here".to_owned()),
        Literal::Double(_) => Some("the constant could be spelled in many ways; write it as text in quotes".to_owned()),
        Literal::Bool(_) | Literal::Int(_) | Literal::String(_) => None,
    }
}

/// A symbol that the enum does not have.
pub(super) fn unlisted(symbol: &str, symbols: &[String]) -> String {
    format!("'{symbol}' is no symbol of the enum; it has {}", symbols.join(", "))
}

fn digits(value: i64) -> usize {
    if value == 0 { 0 } else { value.unsigned_abs().to_string().len() }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(i, char)| match i {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        })
}
