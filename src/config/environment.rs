//! The environment over the file: `WALWRIGHT_KAFKA__BROKERS` is `brokers` of `[kafka]`.

use std::collections::BTreeMap;

use config::{Environment, Source, Value};

use crate::connector::document::Variable;
use crate::error::{Error, Kind, Result};

const PREFIX: &str = "WALWRIGHT";

/// Keys outside of sections.
const ROOT_KEYS: &[&str] = &["connectors", "schemas"];
/// What a variable begins with that was meant for a section: with one underscore it is a fault, not passed over.
const SECTIONS: &[&str] = &["kafka_", "registry_", "admin_", "log_"];

/// The variables with our prefix, as the keys that they stand for. Names are in upper case, keys in lower case, sections
/// are parted by two underscores; `[kafka.client]` has keys with dots and cannot be written here.
pub(super) fn variables() -> Result<Vec<Variable>> {
    of(&Environment::with_prefix(PREFIX).prefix_separator("_").separator("__"))
}

fn of(environment: &Environment) -> Result<Vec<Variable>> {
    let collected = environment.collect();
    let values: BTreeMap<String, Value> = collected
        .map_err(|error| Error::new(Kind::Configuration, "the environment cannot be read").because(error))?
        .into_iter()
        .filter(|(path, _)| is_setting(path))
        .collect();
    values.into_iter().map(|(path, value)| variable(&path, value)).collect()
}

/// Kubernetes sets `WALWRIGHT_PORT`, `WALWRIGHT_SERVICE_HOST` and more where a service has our name; the command line has
/// `WALWRIGHT_CONFIG`: neither is a setting.
fn is_setting(path: &str) -> bool {
    path.contains('.') || ROOT_KEYS.contains(&path) || SECTIONS.iter().any(|section| path.starts_with(section))
}

fn variable(path: &str, value: Value) -> Result<Variable> {
    let name = format!("{PREFIX}_{}", path.replace('.', "__").to_uppercase());
    let text = value.into_string();
    let text = text.map_err(|error| Error::new(Kind::Configuration, format!("{name} is no text")).because(error))?;
    let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
    Ok(Variable { name, text, section: section.to_owned(), key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_underscores_part_sections() {
        let pairs = [
            ("WALWRIGHT_KAFKA__TOPIC_PREFIX", "a."),
            ("WALWRIGHT_SCHEMAS", "s"),
            ("OTHER", "x"),
            ("WALWRIGHT_CONFIG", "f"),
            ("WALWRIGHT_SERVICE_HOST", "10.0.0.1"),
            ("WALWRIGHT_KAFKA_BROKERS", "b"),
        ];
        let source = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment = Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").source(Some(source));
        let seen: Vec<_> = of(&environment).unwrap().into_iter().map(|v| (v.name, v.section, v.key, v.text)).collect();
        let expected = [
            ("WALWRIGHT_KAFKA__TOPIC_PREFIX", "kafka", "topic_prefix", "a."),
            ("WALWRIGHT_KAFKA_BROKERS", "", "kafka_brokers", "b"),
            ("WALWRIGHT_SCHEMAS", "", "schemas", "s"),
        ];
        let expected: Vec<_> =
            expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())).into();
        assert_eq!(seen, expected);
    }
}
