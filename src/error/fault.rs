//! Faults of configuration: many at once, each with its place in a file.

use std::fmt;
use std::path::PathBuf;

use super::{Error, Kind};

/// One fault of a file that a person wrote.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// 1-based; 0 where the file as a whole is meant.
    pub line: usize,
    /// 1-based, in characters; 0 where the line as a whole is meant.
    pub column: usize,
    /// The path of the key, such as `event[2].fields.total`; empty where there is none.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// The source line and a caret below it, where that helps (expressions).
    pub excerpt: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

/// All faults of one start, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

#[allow(missing_docs, reason = "a list's methods")]
impl Faults {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn extend(&mut self, other: Faults) {
        self.0.extend(other.0);
    }

    /// An error of kind `Configuration` that names all faults, or Ok.
    pub fn into_result(self) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(Error::from(self)) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Error {
        let count = match faults.0.len() {
            1 => "1 fault".to_owned(),
            n => format!("{n} faults"),
        };
        Error::new(Kind::Configuration, format!("{count}\n{faults}"))
    }
}
