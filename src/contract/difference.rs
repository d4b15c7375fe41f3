//! What distinguishes two versions of a contract, field by field.

use std::collections::BTreeMap;

use super::json::Json;
use super::{Contract, ContractField, FieldType, Nullability};

/// One line a field that came (`+`), went (`-`) or changed (`~`), in the order of the newer version, what went last.
pub fn difference(old: &Contract, new: &Contract) -> Vec<String> {
    let (old_texts, new_texts) = (declared(old), declared(new));
    let text = |texts: &BTreeMap<String, Json>, name: &str, of: &str| {
        texts.get(name).and_then(|field| field.get(of)).map(ToString::to_string)
    };
    let find = |contract: &Contract, name: &str| contract.fields.iter().find(|field| field.name == name).cloned();
    let mut lines = Vec::new();
    for field in &new.fields {
        let name = &field.name;
        let Some(before) = find(old, name) else {
            let default =
                text(&new_texts, name, "default").map_or("no default".to_owned(), |text| format!("default {text}"));
            lines.push(format!("+ {name}: {}, {default}", described(field)));
            continue;
        };
        let mut changes = Vec::new();
        if described(&before) != described(field) {
            changes.push(format!("{} became {}", described(&before), described(field)));
        }
        changes.extend(symbols(&before.kind, &field.kind));
        for of in ["default", "doc"] {
            let (was, is) = (text(&old_texts, name, of), text(&new_texts, name, of));
            if was != is {
                let word = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
                changes.push(format!("{of} {} became {}", word(was), word(is)));
            }
        }
        if !changes.is_empty() {
            lines.push(format!("~ {name}: {}", changes.join("; ")));
        }
    }
    let gone = old.fields.iter().filter(|field| find(new, &field.name).is_none());
    lines.extend(gone.map(|field| format!("- {}: {}", field.name, described(field))));
    lines
}

/// The fields as the schema declares them.
fn declared(contract: &Contract) -> BTreeMap<String, Json> {
    let schema: Json = serde_json::from_str(&contract.schema).unwrap_or(Json::Null);
    let fields = schema.get("fields").and_then(Json::array).unwrap_or_default();
    fields.iter().filter_map(|field| Some((field.text_of("name")?.to_owned(), field.clone()))).collect()
}

fn described(field: &ContractField) -> String {
    let nullable = if field.nullable == Nullability::Never { "" } else { " or null" };
    format!("{}{nullable}", field.kind)
}

fn symbols(old: &FieldType, new: &FieldType) -> Vec<String> {
    let (FieldType::Enum(old), FieldType::Enum(new)) = (old, new) else { return Vec::new() };
    let lacking = |of: &[String], from: &[String]| -> Vec<String> {
        of.iter().filter(|symbol| !from.contains(symbol)).cloned().collect()
    };
    let told =
        |what: &str, symbols: Vec<String>| (!symbols.is_empty()).then(|| format!("{what} {}", symbols.join(", ")));
    [told("new symbols", lacking(new, old)), told("without the symbols", lacking(old, new))]
        .into_iter()
        .flatten()
        .collect()
}
