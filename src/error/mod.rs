//! One error type: kind, where, cause. `policy` maps each kind to its disposition and a remedy for a person.

mod at;
mod fault;
mod kafka;
mod page;
mod policy;
mod postgres;

use std::error::Error as StdError;
use std::fmt;

pub use at::At;
pub use fault::{Fault, Faults};
pub use policy::{Disposition, Kind};

/// What went wrong, where, and what lies beneath it.
///
/// `Display` gives kind, detail and place on one line without the causes; the place where an error is handled logs the chain.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    detail: String,
    at: At,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `detail` says what happened in a sentence without a full stop; never a row's value, never a secret.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, detail: detail.into(), at: At::default(), source: None }))
    }

    /// The error beneath this one.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Fills in what is known of the place; what is already known stays.
    pub fn at(mut self, outer: At) -> Error {
        self.0.at.fill(outer);
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, in a sentence.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Where it happened.
    pub fn place(&self) -> &At {
        &self.0.at
    }

    /// What this error leads to.
    pub fn disposition(&self) -> Disposition {
        self.0.kind.disposition()
    }

    /// What a person can do about it, one or two sentences.
    pub fn remedy(&self) -> &'static str {
        self.0.kind.remedy()
    }

    /// The command that says more about errors of this kind.
    pub fn more(&self) -> &'static str {
        self.0.kind.more()
    }

    /// This error and all beneath it, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let part = error.to_string();
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.detail)?;
        if self.0.at.is_empty() { Ok(()) } else { write!(f, " ({})", self.0.at) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
