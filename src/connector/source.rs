//! `[source]`: where the database is, looked up anew at each connection attempt.

use std::env;

use super::document::Section;
use super::reference::{Lookup, Reference, Variables, checked, whole};
use super::security::SecuritySection;
use crate::error::Result;
use crate::model::{Secret, Security, TargetSessionAttrs};

const TARGET: &str = "target_session_attrs";

/// `[source]` as it is written; `[source] id` and `large_transactions` are in the plan.
#[derive(Clone, Debug)]
pub struct SourceSection {
    hosts: Vec<Reference>,
    port: Option<Reference>,
    database: Reference,
    user: Reference,
    password: Option<Reference>,
    slot: Reference,
    publication: Reference,
    security: SecuritySection,
    target_session_attrs: Option<Reference>,
    adopt_slot: Option<Reference>,
}

/// `[source]` with all references looked up.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSource {
    /// In the order of the file.
    pub hosts: Vec<String>,
    /// Which of them is taken.
    pub target_session_attrs: TargetSessionAttrs,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    pub slot: String,
    pub publication: String,
    pub security: Security,
    /// Whether a slot that someone else made may be used.
    pub adopt_slot: bool,
}

impl SourceSection {
    /// Reads what belongs to the connection out of `[source]`; its other keys and unknown ones are the caller's.
    pub(super) fn read(section: &mut Section<'_>) -> Option<SourceSection> {
        let hosts = section.need("host", "\"pg.internal\"").map(|entry| {
            let written = if entry.is_array() { entry.items() } else { vec![entry] };
            let host = |entry| checked(Reference::read(entry), section, hosts);
            written.iter().map(host).collect::<Vec<_>>()
        });
        let port = section.get("port").map(|entry| checked(Reference::read(&entry), section, port));
        let database = section.need("database", "\"oms\"").and_then(|entry| Reference::read(&entry));
        let user = section.need("user", "\"walwright\"").and_then(|entry| Reference::read(&entry));
        let password = section.get("password").map(|entry| Reference::read_secret(&entry));
        let slot = section.need("slot", "\"walwright_oms\"").and_then(|entry| Reference::read(&entry));
        let slot = checked(slot, section, slot_name);
        let publication = section.need("publication", "\"walwright_oms\"").and_then(|entry| Reference::read(&entry));
        let security = SecuritySection::read(section);
        let target = section.get(TARGET).map(|entry| checked(Reference::read(&entry), section, target));
        let adopt_slot = section.get("adopt_slot").map(|entry| checked(Reference::read(&entry), section, boolean));
        let hosts: Option<Vec<Reference>> = hosts?.into_iter().collect();
        if hosts.as_ref().is_some_and(Vec::is_empty) {
            section.fault("`host` is an empty list");
        }
        Some(SourceSection {
            hosts: hosts?,
            port: whole(port)?,
            database: database?,
            user: user?,
            password: whole(password)?,
            slot: slot?,
            publication: publication?,
            security: security?,
            target_session_attrs: whole(target)?,
            adopt_slot: whole(adopt_slot)?,
        })
    }

    /// The same without its secrets, for those who need none and may not have them.
    pub fn without_secrets(&self) -> SourceSection {
        SourceSection { password: None, security: self.security.without_key(), ..self.clone() }
    }

    /// Looks every reference up.
    ///
    /// # Errors
    /// `Configuration` or `ReferenceUnreadable` that names every variable and file that is missing or does not fit.
    pub fn resolve(&self) -> Result<ResolvedSource> {
        self.resolve_with(&|name| env::var(name).ok())
    }

    pub(super) fn resolve_with(&self, variables: Variables<'_>) -> Result<ResolvedSource> {
        let mut lookup = Lookup::new(variables);
        let hosts: Vec<_> = self.hosts.iter().map(|host| lookup.value(host, hosts)).collect();
        let resolved = ResolvedSource {
            hosts: hosts.into_iter().flatten().flatten().collect(),
            port: lookup.optional(self.port.as_ref(), port).unwrap_or(5432),
            database: lookup.text(&self.database),
            user: lookup.text(&self.user),
            password: lookup.secret(self.password.as_ref()),
            slot: lookup.value(&self.slot, slot_name).unwrap_or_default(),
            publication: lookup.text(&self.publication),
            security: self.security.resolve(&mut lookup),
            target_session_attrs: lookup.optional(self.target_session_attrs.as_ref(), target).unwrap_or_default(),
            adopt_slot: lookup.optional(self.adopt_slot.as_ref(), boolean).unwrap_or_default(),
        };
        lookup.finish(resolved)
    }
}

fn hosts(text: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    if hosts.iter().any(String::is_empty) { Err("has an empty host".to_owned()) } else { Ok(hosts) }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "must be a port, 1 to 65535".to_owned())
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

/// Postgres docs, "Replication Slots": lower-case letters, numbers and the underscore.
fn slot_name(text: &str) -> Result<String, String> {
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
    if (1..=63).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("must be a slot's name: lower-case letters, digits and _, at most 63".to_owned())
}

/// libpq's names. A standby is of no use: it serves no slots to us before Postgres 16, and none that confirm.
fn target(text: &str) -> Result<TargetSessionAttrs, String> {
    match text {
        "primary" => Ok(TargetSessionAttrs::Primary),
        "read-write" => Ok(TargetSessionAttrs::ReadWrite),
        _ => Err("must be \"primary\" or \"read-write\"".to_owned()),
    }
}
