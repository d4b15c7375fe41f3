//! Values that may stand elsewhere: in the environment or in a file, so that one connector file serves everywhere.

use std::fs;
use std::path::{Path, PathBuf};

use super::Place;
use super::document::{Entry, Section};
use crate::error::{Error, Fault, Faults, Kind};
use crate::model::Secret;

/// A scalar as it is written: literally, as `{ env = "NAME" }` or as `{ file = "/run/secrets/name" }`. It is looked up
/// anew at each `resolve`, so that a rotated secret is taken without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    origin: Origin,
    /// The key path, for faults.
    path: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Literal(String),
    Variable(String),
    File(PathBuf),
}

/// How environment variables are looked up: the process' own, or a test's.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Reference {
    /// Reads a scalar or a reference; faults are reported at the entry.
    pub(crate) fn read(entry: &Entry<'_>) -> Option<Reference> {
        let origin = match entry.variable_name() {
            // A value from the environment stays there: it may be a secret.
            Some(name) => Origin::Variable(name.to_owned()),
            None if entry.is_table() => elsewhere(entry)?,
            None => Origin::Literal(entry.scalar()?),
        };
        Some(Reference { origin, path: entry.path().to_owned(), place: entry.place() })
    }

    /// Reads a reference and refuses a literal, which would be a secret in a file that is shared.
    pub(crate) fn read_secret(entry: &Entry<'_>) -> Option<Reference> {
        if entry.variable_name().is_none() && !entry.is_table() {
            entry.fault(
                "a secret does not stand in this file; write { env = \"NAME\" } or { file = \"/run/secrets/name\" }",
            );
            return None;
        }
        Reference::read(entry)
    }

    /// Reads a path or a reference to one; a literal path is relative to the file that names it.
    pub(crate) fn read_path(entry: &Entry<'_>) -> Option<Reference> {
        let mut reference = Reference::read(entry)?;
        if let Origin::Literal(_) = reference.origin {
            reference.origin = Origin::Literal(entry.file_path()?.to_string_lossy().into_owned());
        }
        Some(reference)
    }

    /// The value, where it is written literally.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.origin {
            Origin::Literal(text) => Some(text),
            Origin::Variable(_) | Origin::File(_) => None,
        }
    }

    /// The value of now.
    fn resolve(&self, variables: Variables<'_>) -> Result<String, Fault> {
        let value = match &self.origin {
            Origin::Literal(text) => text.clone(),
            Origin::Variable(name) => {
                variables(name).ok_or_else(|| self.fault(format!("environment variable {name} is not set")))?
            }
            Origin::File(file) => self.read_file(file)?,
        };
        if value.is_empty() { Err(self.fault(format!("{}is empty", self.origin_name()))) } else { Ok(value) }
    }

    /// Whether a value that is missing may be there in a moment: a secret's file that is being replaced.
    fn is_file(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    fn read_file(&self, file: &Path) -> Result<String, Fault> {
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| self.fault(format!("{} cannot be read: {error}", file.display())))?;
        // Editors and `echo` end a file with a newline that is not part of the value.
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// A fault of this value.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        let Place { file, line, column } = self.place.clone();
        Fault { file, line, column, path: self.path.clone(), message: message.into(), excerpt: None }
    }

    /// The subject of a fault's sentence: where the value comes from, never the value.
    fn origin_name(&self) -> String {
        match &self.origin {
            Origin::Literal(_) => String::new(),
            Origin::Variable(name) => format!("environment variable {name} "),
            Origin::File(file) => format!("{} ", file.display()),
        }
    }
}

/// Looks references up and collects what is wrong with them.
pub(crate) struct Lookup<'a> {
    variables: Variables<'a>,
    faults: Faults,
    /// Something else is wrong than a file that is missing or empty.
    lasting: bool,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(variables: Variables<'a>) -> Lookup<'a> {
        Lookup { variables, faults: Faults::default(), lasting: false }
    }

    /// The value of now, parsed; a fault is kept.
    pub(crate) fn value<T>(&mut self, reference: &Reference, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = match reference.resolve(self.variables) {
            Ok(text) => text,
            Err(fault) => {
                self.lasting |= !reference.is_file();
                self.faults.push(fault);
                return None;
            }
        };
        let parsed = parsed(reference, &text, parse);
        self.lasting |= parsed.is_err();
        parsed.map_err(|fault| self.faults.push(fault)).ok()
    }

    pub(crate) fn optional<T>(
        &mut self,
        reference: Option<&Reference>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(reference?, parse)
    }

    pub(crate) fn text(&mut self, reference: &Reference) -> String {
        self.value(reference, |text| Ok(text.to_owned())).unwrap_or_default()
    }

    pub(crate) fn secret(&mut self, reference: Option<&Reference>) -> Option<Secret> {
        self.value(reference?, |text| Ok(Secret::new(text)))
    }

    /// `found` where nothing is wrong.
    ///
    /// # Errors
    /// `ReferenceUnreadable` where files are missing or empty, which may pass; else `Configuration`. Either names all.
    pub(crate) fn finish<T>(self, found: T) -> Result<T, Error> {
        if !self.lasting && !self.faults.is_empty() {
            return Err(Error::new(Kind::ReferenceUnreadable, self.faults.to_string()));
        }
        self.faults.into_result().map(|()| found)
    }
}

fn parsed<T>(reference: &Reference, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    parse(text).map_err(|rule| reference.fault(format!("{}{rule}", reference.origin_name())))
}

/// Checks a literal when the file is read; what stands elsewhere is checked when it is looked up.
pub(super) fn checked<T>(
    reference: Option<Reference>,
    section: &Section<'_>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Reference> {
    let reference = reference?;
    let verdict = reference.literal().map(|text| parsed(&reference, text, parse).map(drop));
    match verdict {
        Some(Err(fault)) => {
            section.push(fault);
            None
        }
        Some(Ok(())) | None => Some(reference),
    }
}

/// An optional key: absent is fine, faulty is not.
pub(crate) fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

fn elsewhere(entry: &Entry<'_>) -> Option<Origin> {
    let mut section = entry.clone().into_section()?;
    let (variable, file) = (section.get("env"), section.get("file"));
    let origin = match (variable, file) {
        (Some(variable), None) => variable.name().map(|name| Origin::Variable(name.to_owned())),
        (None, Some(file)) => file.file_path().map(Origin::File),
        _ => {
            entry.fault("a reference is { env = \"NAME\" } or { file = \"/run/secrets/name\" }");
            None
        }
    };
    section.report_unknown();
    origin
}
