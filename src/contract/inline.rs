//! A schema that stands alone: shared named types are written out where they are first used
//! (Avro 1.12 specification, "Names": a later use of the same type is its full name).

use std::collections::BTreeMap;

use super::json::Json;

/// Writes shared types into schemas; one for each schema.
pub(super) struct Inliner<'a> {
    /// By full name.
    shared: &'a BTreeMap<String, Json>,
    /// The named types that the schema has defined so far, by full name.
    pub(super) defined: BTreeMap<String, Json>,
    /// What is wrong with the names.
    pub(super) messages: Vec<String>,
}

impl<'a> Inliner<'a> {
    pub(super) fn new(shared: &'a BTreeMap<String, Json>) -> Inliner<'a> {
        Inliner { shared, defined: BTreeMap::new(), messages: Vec::new() }
    }

    /// `schema` with all that it refers to; `namespace` is that of the enclosing type.
    pub(super) fn schema(&mut self, schema: &Json, namespace: &str) -> Json {
        match schema {
            Json::Text(name) => self.reference(name, namespace),
            Json::Array(branches) => {
                Json::Array(branches.iter().map(|branch| self.schema(branch, namespace)).collect())
            }
            Json::Object(pairs) => match schema.text_of("type") {
                Some("record" | "error" | "enum" | "fixed") => self.definition(schema, pairs, namespace),
                Some("array") => self.replace(pairs, "items", namespace),
                Some("map") => self.replace(pairs, "values", namespace),
                _ => self.replace(pairs, "type", namespace),
            },
            Json::Null | Json::Bool(_) | Json::Number(_) => schema.clone(),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Json {
        if is_primitive(name) {
            return Json::Text(name.to_owned());
        }
        let full_name = full_name(name, None, namespace);
        if self.defined.contains_key(&full_name) {
            return Json::Text(full_name);
        }
        match self.shared.get(&full_name) {
            Some(shared) => self.schema(shared, ""),
            // Reported with the field that names it.
            None => Json::Text(full_name),
        }
    }

    fn definition(&mut self, schema: &Json, pairs: &[(String, Json)], namespace: &str) -> Json {
        let full_name = defined_name(schema, namespace);
        // Defined from here on, also within itself.
        if self.defined.insert(full_name.clone(), schema.clone()).is_some() {
            self.messages.push(format!("the type {full_name} is defined twice; the second time write its name only"));
        }
        let inner = full_name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let fields = |pair: &(String, Json), inliner: &mut Self| match pair {
            (key, Json::Array(fields)) if key == "fields" => {
                Json::Array(fields.iter().map(|field| inliner.field(field, inner)).collect())
            }
            (_, value) => value.clone(),
        };
        let whole = Json::Object(pairs.iter().map(|pair| (pair.0.clone(), fields(pair, self))).collect());
        self.defined.insert(full_name, whole.clone());
        whole
    }

    fn field(&mut self, field: &Json, namespace: &str) -> Json {
        match field {
            Json::Object(pairs) => self.replace(pairs, "type", namespace),
            _ => field.clone(),
        }
    }

    fn replace(&mut self, pairs: &[(String, Json)], at: &str, namespace: &str) -> Json {
        let replaced = |(key, value): &(String, Json)| {
            (key.clone(), if key == at { self.schema(value, namespace) } else { value.clone() })
        };
        Json::Object(pairs.iter().map(replaced).collect())
    }
}

/// The full name of the type that `schema` defines.
pub(super) fn defined_name(schema: &Json, namespace: &str) -> String {
    full_name(schema.text_of("name").unwrap_or_default(), schema.text_of("namespace"), namespace)
}

fn full_name(name: &str, own: Option<&str>, enclosing: &str) -> String {
    match own.unwrap_or(enclosing) {
        _ if name.contains('.') => name.to_owned(),
        "" => name.to_owned(),
        namespace => format!("{namespace}.{name}"),
    }
}

/// What to say of a name that is no type.
pub(super) fn unknown_type(full_name: &str) -> String {
    match full_name.strip_prefix("common.") {
        Some(name) => format!("no type {full_name}: there is no common/{name}/v1.avsc"),
        None => format!("no type {full_name}: define it in this file, or share it as common/<Type>/v1.avsc"),
    }
}

fn is_primitive(name: &str) -> bool {
    matches!(name, "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string")
}
