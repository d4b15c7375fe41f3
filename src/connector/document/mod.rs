//! TOML files read with positions: every value knows its line, column and key path, and every fault of a file is found
//! in one run. Environment variables can be laid over the file; their faults name the variable.

mod entry;
mod position;
mod section;
mod suggest;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use entry::Entry;
use position::Text;
pub(crate) use section::Section;
pub(crate) use suggest::nearest;

use crate::error::{Fault, Faults};

/// An environment variable that is laid over the value under `key` of the section with this path.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) section: String,
    pub(crate) key: String,
}

/// A file's text.
pub(crate) struct Document {
    file: PathBuf,
    text: Text,
}

/// Collects the faults of one document while it is read.
pub(crate) struct Reader<'d> {
    document: &'d Document,
    overlay: &'d [Variable],
    /// The paths of all keys that were asked for.
    asked: RefCell<BTreeSet<String>>,
    faults: RefCell<Vec<Fault>>,
}

impl Document {
    pub(crate) fn read(file: &Path) -> Result<Document, Fault> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Document { file: file.to_owned(), text: Text::new(text) }),
            Err(error) => Err(Fault {
                file: file.to_owned(),
                line: 0,
                column: 0,
                path: String::new(),
                message: format!("cannot be read: {error}"),
                excerpt: None,
            }),
        }
    }

    /// The document's table, or all faults of its syntax.
    pub(crate) fn parse(&self) -> Result<DeTable<'_>, Faults> {
        let (table, errors) = DeTable::parse_recoverable(self.text.as_str());
        if errors.is_empty() {
            return Ok(table.into_inner());
        }
        let fault = |error: &toml::de::Error| {
            let (line, column) = self.text.position(error.span().map_or(0, |span| span.start));
            let line_text = self.text.as_str().lines().nth(line - 1).unwrap_or_default();
            let excerpt = (!may_hold_secret(line_text)).then(|| excerpt(line_text, column));
            let message = format!("malformed TOML: {}", error.message());
            Fault { file: self.file.clone(), line, column, path: String::new(), message, excerpt }
        };
        Err(Faults(errors.iter().map(fault).collect()))
    }
}

impl<'d> Reader<'d> {
    pub(crate) fn new(document: &'d Document, overlay: &'d [Variable]) -> Reader<'d> {
        Reader { document, overlay, asked: RefCell::default(), faults: RefCell::default() }
    }

    /// The whole document as a section.
    pub(crate) fn root<'r>(&'r self, table: &'r DeTable<'r>) -> Section<'r> {
        Section::new(self, Some(table), None, String::new())
    }

    /// All faults that were found, in the order of the file.
    pub(crate) fn finish(self) -> Faults {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.file != self.document.file, fault.line, fault.column));
        faults.dedup();
        Faults(faults)
    }

    pub(crate) fn push(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// The paths of all keys that were asked for so far.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    fn fault(&self, offset: Option<usize>, path: String, message: String) -> Fault {
        let (line, column) = offset.map_or((0, 0), |offset| self.document.text.position(offset));
        Fault { file: self.document.file.clone(), line, column, path, message, excerpt: None }
    }
}

pub(crate) use position::excerpt;

/// Whether a malformed line may show a secret that somebody wrote into the file.
fn may_hold_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["password", "secret", "token", "pem"].iter().any(|word| line.contains(word))
}

/// A key as it stands in a path: quoted where it is not bare.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
