//! `schemas push`: contracts to the registry, each under its subject.

use std::fmt;

use super::{Client, Subject};
use crate::error::{Kind, Result};

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

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
            Compatibility::Full => "FULL",
            Compatibility::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Compatibility::Backward => "BACKWARD",
            Compatibility::ForwardTransitive => "FORWARD_TRANSITIVE",
            Compatibility::Forward => "FORWARD",
        })
    }
}

/// What became of one subject.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct Pushed {
    pub subject: Subject,
    /// The schema's id, or why the registry did not take it.
    pub id: Result<u32>,
}

/// Sets each subject's compatibility, then registers its contract. A refused contract does not keep the others back; a
/// registry that does not answer ends the run, with its error as the last entry.
pub fn push(client: &Client, subjects: &[Subject], compatibility: Compatibility) -> Vec<Pushed> {
    let mut report = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let id = client
            .set_compatibility(&subject.name, compatibility)
            .and_then(|()| client.register(&subject.name, &subject.contract.schema));
        let gone = matches!(&id, Err(error) if error.kind() != Kind::RegistryRefused);
        report.push(Pushed { subject: subject.clone(), id });
        if gone {
            break;
        }
    }
    report
}
