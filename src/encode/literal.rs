//! Constants, encoded when a rule is compiled.

use super::avro;
use super::codes::number;
use super::numeric::Digits;
use super::step::Branch;
use super::text::integer;
use crate::connector::Literal;
use crate::contract::{ContractField, FieldType};

/// The largest integer up to which every integer has a double of its own.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// The literal as the field's Avro value with its branch, or why it does not fit.
pub(super) fn field(literal: &Literal, field: &ContractField) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let branch = Branch::new(field.nullable);
    if *literal == Literal::Null {
        branch.null(&mut out).map_err(|_| format!("field {} takes no null", field.name))?;
    } else {
        branch.value(&mut out);
        out.extend(encode(literal, &field.kind)?);
    }
    Ok(out)
}

/// The literal as a value of this type, or why it is none.
pub(super) fn encode(literal: &Literal, kind: &FieldType) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match (literal, kind) {
        (Literal::Bool(value), FieldType::Boolean) => out.push(u8::from(*value)),
        (Literal::Int(value), FieldType::Int) if i32::try_from(*value).is_ok() => avro::long(*value, &mut out),
        (Literal::Int(value), FieldType::Long) => avro::long(*value, &mut out),
        (Literal::Int(value), FieldType::Double) if value.unsigned_abs() <= EXACT_IN_DOUBLE => {
            out.extend_from_slice(&(*value as f64).to_le_bytes());
        }
        (Literal::Int(value), FieldType::Decimal { precision, scale }) => {
            let digits = Digits { precision: *precision, scale: *scale };
            digits.write_integer(*value, &mut out).map_err(|reason| format!("the constant {}", reason.text()))?;
        }
        (Literal::Double(value), FieldType::Double) => out.extend_from_slice(&value.to_le_bytes()),
        (Literal::String(value), FieldType::String) => avro::bytes(value.as_bytes(), &mut out),
        (Literal::String(value), FieldType::Uuid) if is_uuid(value) => {
            avro::bytes(value.to_ascii_lowercase().as_bytes(), &mut out);
        }
        (Literal::String(value), FieldType::Enum(symbols)) => {
            let index = symbols.iter().position(|symbol| symbol == value);
            let unlisted = || format!("'{value}' is no symbol of the enum; it has {}", symbols.join(", "));
            out.extend(number(index.ok_or_else(unlisted)?));
        }
        _ => return Err(format!("the constant {} does not fit {}", shown(literal), kind)),
    }
    Ok(out)
}

/// The literal as text; None for a double, whose text could be spelled in many ways.
pub(super) fn text(literal: &Literal) -> Option<Vec<u8>> {
    Some(match literal {
        Literal::String(value) => value.clone().into_bytes(),
        Literal::Bool(value) => value.to_string().into_bytes(),
        Literal::Int(value) => {
            let mut out = Vec::new();
            integer(*value, &mut out);
            out
        }
        Literal::Null => Vec::new(),
        Literal::Double(_) => return None,
    })
}

/// As the rule's author wrote it, more or less: constants of a connector file are no secrets.
fn shown(literal: &Literal) -> String {
    match literal {
        Literal::Null => "null".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        Literal::Double(value) => value.to_string(),
        Literal::String(value) => format!("'{value}'"),
    }
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |i| matches!(i, 8 | 13 | 18 | 23);
    text.len() == 36 && text.bytes().enumerate().all(|(i, b)| if hyphen(i) { b == b'-' } else { b.is_ascii_hexdigit() })
}
