//! The keys of `[source]` that say how the connection is protected.

use std::path::PathBuf;

use super::document::Section;
use super::reference::{Lookup, Reference, checked, whole};
use crate::model::{ChannelBinding, ClientCertificate, PasswordMethod, Security, TlsMode};

/// As they are written.
#[derive(Clone, Debug)]
pub(super) struct SecuritySection {
    tls: Option<Reference>,
    tls_ca: Option<Reference>,
    tls_cert: Option<Reference>,
    tls_key: Option<Reference>,
    channel_binding: Option<Reference>,
    password_method: Option<Reference>,
}

impl SecuritySection {
    pub(super) fn read(section: &mut Section<'_>) -> Option<SecuritySection> {
        let tls = section.get("tls").map(|entry| checked(Reference::read(&entry), section, |text| tls(text, None)));
        let tls_ca = section.get("tls_ca").map(|entry| Reference::read_path(&entry));
        let tls_cert = section.get("tls_cert").map(|entry| Reference::read_path(&entry));
        let tls_key = section.get("tls_key").map(|entry| Reference::read_secret(&entry));
        let binding = section.get("channel_binding").map(|entry| checked(Reference::read(&entry), section, binding));
        let method = section.get("password_method").map(|entry| checked(Reference::read(&entry), section, method));
        if tls_cert.is_some() != tls_key.is_some() {
            section.fault("`tls_cert` and `tls_key` go together");
        }
        let mode = tls.as_ref().and_then(|tls| tls.as_ref()?.literal());
        if mode == Some("require") && tls_ca.is_some() {
            section
                .fault("`tls_ca` has no meaning with tls = \"require\", which verifies nothing: \"verify-full\" does");
        }
        Some(SecuritySection {
            tls: whole(tls)?,
            tls_ca: whole(tls_ca)?,
            tls_cert: whole(tls_cert)?,
            tls_key: whole(tls_key)?,
            channel_binding: whole(binding)?,
            password_method: whole(method)?,
        })
    }

    /// The same without the client's key, and so without its certificate.
    pub(super) fn without_key(&self) -> SecuritySection {
        SecuritySection { tls_cert: None, tls_key: None, ..self.clone() }
    }

    /// With all references looked up; what is wrong with them is kept in `lookup`.
    pub(super) fn resolve(&self, lookup: &mut Lookup<'_>) -> Security {
        let path = |text: &str| Ok(PathBuf::from(text));
        let ca = lookup.optional(self.tls_ca.as_ref(), path);
        let tls = lookup.optional(self.tls.as_ref(), |text| tls(text, ca.clone()));
        let certificate = lookup.optional(self.tls_cert.as_ref(), path);
        let key = lookup.secret(self.tls_key.as_ref());
        Security {
            tls: tls.unwrap_or(TlsMode::VerifyFull { ca }),
            client_certificate: certificate.zip(key).map(|(certificate, key)| ClientCertificate { certificate, key }),
            channel_binding: lookup.optional(self.channel_binding.as_ref(), binding).unwrap_or_default(),
            password_method: lookup.optional(self.password_method.as_ref(), method).unwrap_or_default(),
        }
    }
}

fn tls(text: &str, ca: Option<PathBuf>) -> Result<TlsMode, String> {
    match text {
        "verify-full" => Ok(TlsMode::VerifyFull { ca }),
        "require" => Ok(TlsMode::Require),
        "disable" => Ok(TlsMode::Disable),
        _ => Err("must be \"verify-full\", \"require\" or \"disable\"".to_owned()),
    }
}

fn binding(text: &str) -> Result<ChannelBinding, String> {
    match text {
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err("must be \"prefer\" or \"require\"".to_owned()),
    }
}

fn method(text: &str) -> Result<PasswordMethod, String> {
    match text {
        "scram-sha-256" => Ok(PasswordMethod::ScramSha256),
        "md5" => Ok(PasswordMethod::Md5),
        _ => Err("must be \"scram-sha-256\" or \"md5\"".to_owned()),
    }
}
