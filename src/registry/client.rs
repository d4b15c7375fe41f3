//! The client: blocking, with deadlines, with the ids that it has seen.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::Compatibility;
use super::answer::Answer;
use crate::error::{Error, Kind, Result};
use crate::model::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 4 << 20;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What is the matter with a URL that has a user in it.
pub const WITHOUT_CREDENTIALS: &str =
    "it must not have user and password in it: they are `user` and `password` (or `token`), by reference";

/// What proves who we are.
#[allow(missing_docs, reason = "the variants say it")]
#[derive(Clone, Debug)]
pub enum Credentials {
    Basic { user: String, password: Secret },
    Bearer { token: Secret },
}

/// Where the registry is.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http[s]://host[:port][/path]`
    pub url: String,
    pub credentials: Option<Credentials>,
    /// A file (PEM) instead of the system's roots.
    pub ca: Option<PathBuf>,
    /// For one request as a whole; 10 s is a good value.
    pub timeout: Duration,
}

/// A registry's client. It blocks; asynchronous callers put it on a thread of its own.
pub struct Client {
    agent: Agent,
    /// Without a slash at the end.
    base: String,
    authorization: Option<String>,
    /// Subject and schema to id: an id never changes.
    ids: Mutex<HashMap<(String, String), u32>>,
}

impl Client {
    /// # Errors
    /// `Configuration` for a URL that is none, or where https is asked for and this machine has no root certificates;
    /// `ReferenceUnreadable` for a CA that cannot be read.
    pub fn new(settings: &Settings) -> Result<Client> {
        let base = base(&settings.url)?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(settings.timeout)))
            .timeout_global(Some(settings.timeout));
        if base.starts_with("https:") {
            config = config.tls_config(tls(settings.ca.as_deref())?);
        }
        let authorization = settings.credentials.as_ref().map(authorization);
        Ok(Client { agent: config.build().new_agent(), base, authorization, ids: Mutex::default() })
    }

    /// The id of a schema that is registered under this subject.
    ///
    /// # Errors
    /// `RegistryRefused` with the registry's message where subject or schema are not known; `RegistryUnreachable`.
    pub fn lookup(&self, subject: &str, schema: &str) -> Result<u32> {
        self.id(subject, schema, "looking up", "")
    }

    /// Registers a schema; one that is registered already keeps its id.
    ///
    /// # Errors
    /// `RegistryRefused` with the registry's message where it is not compatible or invalid; `RegistryUnreachable`.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        self.id(subject, schema, "registering", "/versions")
    }

    /// Sets a subject's compatibility, whether it has schemas yet or not.
    ///
    /// # Errors
    /// `RegistryRefused` with the registry's message; `RegistryUnreachable`.
    pub fn set_compatibility(&self, subject: &str, level: Compatibility) -> Result<()> {
        let path = format!("/config/{}", encoded(subject));
        let what = format!("setting the compatibility of subject {subject}");
        let put = || self.send("PUT", &path, &json!({ "compatibility": level.to_string() }), &what);
        let mut answer = put()?;
        if answer.status == 409 {
            // Somebody else has just set it where it was not set, which makes Apicurio refuse the second. Now it is set.
            answer = put()?;
        }
        answer.accepted(&what)
    }

    /// Where the registry serves the schema with this id, for `ce_dataschema`.
    pub fn schema_uri(&self, id: u32) -> String {
        format!("{}/schemas/ids/{id}", self.base)
    }

    fn id(&self, subject: &str, schema: &str, doing: &str, suffix: &str) -> Result<u32> {
        let key = (subject.to_owned(), schema.to_owned());
        if let Some(id) = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*id);
        }
        let what = format!("{doing} the schema of subject {subject}");
        let path = format!("/subjects/{}{suffix}", encoded(subject));
        let id = self.send("POST", &path, &json!({ "schema": schema }), &what)?.id(&what)?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(key, id);
        Ok(id)
    }

    fn send(&self, method: &str, path: &str, body: &serde_json::Value, what: &str) -> Result<Answer> {
        let unreachable = |cause: ureq::Error| {
            Error::new(Kind::RegistryUnreachable, format!("{what} at {}: {cause}", self.base)).because(cause)
        };
        let url = format!("{}{path}", self.base);
        let mut request = if method == "PUT" { self.agent.put(&url) } else { self.agent.post(&url) };
        request = request.header("content-type", CONTENT_TYPE).header("accept", CONTENT_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(body.to_string()).map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string();
        Ok(Answer { status, body: text.map_err(unreachable)? })
    }
}

/// The URL without a slash at the end.
fn base(url: &str) -> Result<String> {
    let wrong = |why: &str| Error::new(Kind::Configuration, format!("[registry] url: {why}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it must start with http:// or https://"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("it must start with http:// or https://"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if path.contains(['?', '#']) {
        return Err(wrong("it must not have a query or a fragment"));
    }
    if host.contains('@') {
        return Err(wrong(WITHOUT_CREDENTIALS));
    }
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    Ok(format!("{scheme}://{host}{}", path.trim_end_matches('/')))
}

fn authorization(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Basic { user, password } => {
            format!("Basic {}", base64(format!("{user}:{}", password.reveal()).as_bytes()))
        }
        Credentials::Bearer { token } => format!("Bearer {}", token.reveal()),
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConfig> {
    let roots = match ca {
        Some(path) => roots_of_file(path)?,
        None => roots_of_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::from(roots))
        .build())
}

fn roots_of_file(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let unreadable = || {
        let detail = format!("[registry] tls_ca {}: no certificate could be read", path.display());
        Error::new(Kind::ReferenceUnreadable, detail)
    };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unreadable().because(error))?;
    if found.is_empty() { Err(unreadable()) } else { Ok(found.iter().map(owned).collect()) }
}

fn roots_of_system() -> Result<Vec<Certificate<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let message =
            "[registry] url is https, and this machine has no root certificates: install ca-certificates or set tls_ca";
        return Err(Error::new(Kind::Configuration, message));
    }
    Ok(found.certs.iter().map(owned).collect())
}

fn owned(root: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(root).to_owned()
}

/// A subject as one segment of a path (RFC 3986, section 2.3: what is unreserved stays).
fn encoded(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    let letter = |index: u32| match index {
        0..26 => b'A' + index as u8,
        26..52 => b'a' + (index - 26) as u8,
        52..62 => b'0' + (index - 52) as u8,
        62 => b'+',
        _ => b'/',
    };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let index = value >> (18 - 6 * i) & 0x3F;
            out.push(if i <= chunk.len() { char::from(letter(index)) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests;
