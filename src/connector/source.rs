//! `[source]`: where the database is, looked up anew at each connection attempt.

use std::env;
use std::path::PathBuf;

use super::document::Section;
use super::reference::{Reference, Variables};
use crate::error::{Error, Fault, Faults, Result};
use crate::model::Secret;

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
    tls: Option<Reference>,
    tls_ca: Option<Reference>,
    adopt_slot: Option<Reference>,
}

/// `[source]` with all references looked up.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSource {
    /// In the order of the file: the first primary is taken.
    pub hosts: Vec<String>,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    pub slot: String,
    pub publication: String,
    pub tls: TlsSetting,
    /// Whether a slot that someone else made may be used.
    pub adopt_slot: bool,
}

/// How a TCP connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSetting {
    /// Plain text, spelled out.
    Disable,
    /// The server's certificate is checked against `ca` (PEM), or against the roots of the system.
    #[allow(missing_docs, reason = "the variant says it")]
    VerifyFull { ca: Option<PathBuf> },
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
        let tls = section.get("tls").map(|entry| checked(Reference::read(&entry), section, |text| tls(text, None)));
        let tls_ca = section.get("tls_ca").map(|entry| Reference::read_path(&entry));
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
            tls: whole(tls)?,
            tls_ca: whole(tls_ca)?,
            adopt_slot: whole(adopt_slot)?,
        })
    }

    /// The same without its secrets, for those who need none and may not have them.
    pub fn without_secrets(&self) -> SourceSection {
        SourceSection { password: None, ..self.clone() }
    }

    /// Looks every reference up.
    ///
    /// # Errors
    /// `Configuration` that names every variable and file that is missing or does not fit.
    pub fn resolve(&self) -> Result<ResolvedSource> {
        self.resolve_with(&|name| env::var(name).ok()).map_err(Error::from)
    }

    pub(super) fn resolve_with(&self, variables: Variables<'_>) -> Result<ResolvedSource, Faults> {
        let mut lookup = Lookup { variables, faults: Faults::default() };
        let hosts: Vec<_> = self.hosts.iter().map(|host| lookup.value(host, hosts)).collect();
        let ca = lookup.optional(self.tls_ca.as_ref(), |path| Ok(PathBuf::from(path)));
        let resolved = ResolvedSource {
            hosts: hosts.into_iter().flatten().flatten().collect(),
            port: lookup.optional(self.port.as_ref(), port).unwrap_or(5432),
            database: lookup.text(&self.database),
            user: lookup.text(&self.user),
            password: lookup.optional(self.password.as_ref(), |text| Ok(Secret::new(text))),
            slot: lookup.value(&self.slot, slot_name).unwrap_or_default(),
            publication: lookup.text(&self.publication),
            tls: lookup
                .optional(self.tls.as_ref(), |text| tls(text, ca.clone()))
                .unwrap_or_else(|| TlsSetting::VerifyFull { ca: ca.clone() }),
            adopt_slot: lookup.optional(self.adopt_slot.as_ref(), boolean).unwrap_or_default(),
        };
        if lookup.faults.is_empty() { Ok(resolved) } else { Err(lookup.faults) }
    }
}

/// Looks references up and collects what is wrong with them.
struct Lookup<'a> {
    variables: Variables<'a>,
    faults: Faults,
}

impl Lookup<'_> {
    fn value<T>(&mut self, reference: &Reference, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = reference.resolve(self.variables).and_then(|text| parsed(reference, &text, parse));
        parsed.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn optional<T>(&mut self, reference: Option<&Reference>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.value(reference?, parse)
    }

    fn text(&mut self, reference: &Reference) -> String {
        self.value(reference, |text| Ok(text.to_owned())).unwrap_or_default()
    }
}

fn parsed<T>(reference: &Reference, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    parse(text).map_err(|rule| reference.fault(format!("{}{rule}", reference.origin_name())))
}

/// Checks a literal when the file is read; what stands elsewhere is checked when it is looked up.
fn checked<T>(
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
fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
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

fn tls(text: &str, ca: Option<PathBuf>) -> Result<TlsSetting, String> {
    match text {
        "verify-full" => Ok(TlsSetting::VerifyFull { ca }),
        "disable" => Ok(TlsSetting::Disable),
        _ => Err("must be \"verify-full\" or \"disable\"".to_owned()),
    }
}
