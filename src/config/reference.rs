//! A value that stands in the file, in the environment or in another file.

use std::fmt;
use std::path::PathBuf;

use crate::connector::document::Entry;

/// Where a value comes from. What it is, is read when it is needed, so that a rotated secret takes effect.
#[derive(Clone, PartialEq, Eq)]
pub enum Reference {
    /// Written in the file.
    Literal(String),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ file = "/run/secrets/name" }`, without the newline at its end.
    File(PathBuf),
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Literal(_) => f.write_str("a literal"),
            Reference::Env(name) => write!(f, "environment variable {name}"),
            Reference::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl Reference {
    /// Reads the entry's reference; faults go to its reader.
    pub(super) fn read(entry: Entry<'_>) -> Option<Reference> {
        if !entry.is_table() {
            return entry.scalar().map(Reference::Literal);
        }
        let mut table = entry.into_section()?;
        let (env, file) = (table.get("env"), table.get("file"));
        let reference = match (env, file) {
            (Some(env), None) => env.name().map(|name| Reference::Env(name.to_owned())),
            (None, Some(file)) => file.file_path().map(Reference::File),
            _ => {
                table.fault("write { env = \"NAME\" } or { file = \"path\" }");
                None
            }
        };
        table.finish();
        reference
    }

    /// The value, or why it cannot be had; the value itself is in no message.
    pub(super) fn resolve(&self) -> Result<String, String> {
        match self {
            Reference::Literal(value) => Ok(value.clone()),
            Reference::Env(name) => std::env::var(name).map_err(|_| format!("environment variable {name} is not set")),
            Reference::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("file {} cannot be read: {error}", path.display())),
        }
    }
}
