//! Whether the versions of a contract read each other's events (Avro 1.12 specification, "Schema Resolution"). The
//! reference implementation decides; what may fail for some values counts as failing.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility as Reads, SchemaCompatibility};

use super::{Contract, Repository};

/// A subject's compatibility, by the registry's own names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// Each version reads and is read by all before it.
    #[default]
    FullTransitive,
    /// Each version reads and is read by the one before it.
    Full,
    /// Each version reads all before it.
    BackwardTransitive,
    /// Each version reads the one before it.
    Backward,
    /// Each version is read by all before it.
    ForwardTransitive,
    /// Each version is read by the one before it.
    Forward,
}

impl Compatibility {
    /// All levels.
    pub const ALL: [Compatibility; 6] = [
        Compatibility::FullTransitive,
        Compatibility::Full,
        Compatibility::BackwardTransitive,
        Compatibility::Backward,
        Compatibility::ForwardTransitive,
        Compatibility::Forward,
    ];

    /// The registry's name.
    pub fn name(self) -> &'static str {
        match self {
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
            Compatibility::Full => "FULL",
            Compatibility::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Compatibility::Backward => "BACKWARD",
            Compatibility::ForwardTransitive => "FORWARD_TRANSITIVE",
            Compatibility::Forward => "FORWARD",
        }
    }

    fn is_transitive(self) -> bool {
        use Compatibility::{BackwardTransitive, ForwardTransitive, FullTransitive};
        matches!(self, FullTransitive | BackwardTransitive | ForwardTransitive)
    }

    fn is_backward(self) -> bool {
        !matches!(self, Compatibility::Forward | Compatibility::ForwardTransitive)
    }

    fn is_forward(self) -> bool {
        !matches!(self, Compatibility::Backward | Compatibility::BackwardTransitive)
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event's contract in all its versions.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// `oms.OrderPlaced`
    pub full_name: String,
    /// The oldest first.
    pub versions: Vec<Arc<Contract>>,
}

impl Lineage {
    /// Every event of the repository.
    pub fn all(repository: &Repository) -> Vec<Lineage> {
        let mut all: BTreeMap<&str, Vec<Arc<Contract>>> = BTreeMap::new();
        for contract in repository.iter() {
            all.entry(&contract.full_name).or_default().push(contract.clone());
        }
        let lineage = |(name, mut versions): (&str, Vec<Arc<Contract>>)| {
            versions.sort_by_key(|contract| contract.version);
            Lineage { full_name: name.to_owned(), versions }
        };
        all.into_iter().map(lineage).collect()
    }

    /// What does not hold of `level`, in sentences.
    pub fn breaches(&self, level: Compatibility) -> Vec<String> {
        let mut breaches = Vec::new();
        for (index, newer) in self.versions.iter().enumerate() {
            let from = if level.is_transitive() { 0 } else { index.saturating_sub(1) };
            for older in self.versions.get(from..index).unwrap_or_default() {
                if level.is_backward() {
                    breaches.extend(unreadable(older, newer));
                }
                if level.is_forward() {
                    breaches.extend(unreadable(newer, older));
                }
            }
        }
        breaches
    }
}

/// Why readers with `reader` do not understand what was written with `writer`; None: they do.
pub fn unreadable(writer: &Contract, reader: &Contract) -> Option<String> {
    let (old, new) = (Schema::parse_str(&writer.schema), Schema::parse_str(&reader.schema));
    let why = match (old, new) {
        (Ok(old), Ok(new)) => match SchemaCompatibility::can_read(&old, &new) {
            Ok(Reads::Full) => return None,
            Ok(Reads::Partial) => "some values have no place in it (an enum's symbol, a union's branch)".to_owned(),
            Err(error) => {
                let mut text = plain(&error.to_string()).to_owned();
                let mut cause = error.source();
                while let Some(error) = cause {
                    text = format!("{text}: {}", plain(&error.to_string()));
                    cause = error.source();
                }
                text
            }
        },
        (Err(error), _) | (_, Err(error)) => error.to_string(),
    };
    Some(format!("v{} cannot read what v{} wrote: {why}", reader.version, writer.version))
}

/// The library begins each of its sentences alike.
fn plain(text: &str) -> &str {
    let text = text.strip_prefix("Incompatible schemata! ").unwrap_or(text);
    text.strip_prefix("Incompatible schema types! ").unwrap_or(text)
}
