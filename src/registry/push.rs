//! `schemas push`: contracts to the registry, each under its subject.

use super::{Client, Subject};
use crate::contract::Compatibility;
use crate::error::{Kind, Result};

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
