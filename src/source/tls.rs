//! Trust: the TLS client configuration, and the channel binding that ties SCRAM to the server's certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sha2::Digest;

use super::settings::TlsMode;
use crate::error::{Error, Kind, Result};

/// The configuration for `mode`; None: plain text. TLS 1.2 and 1.3 with ring's algorithms, names always verified.
pub(super) fn client_config(mode: &TlsMode) -> Result<Option<ClientConfig>> {
    let TlsMode::VerifyFull { ca } = mode else { return Ok(None) };
    let roots = match ca {
        Some(path) => roots_of_file(path)?,
        None => roots_of_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Bug, "no TLS protocol version is available").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(config))
}

/// The name that the certificate must carry: a DNS name or an IP address.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        Error::new(Kind::Configuration, format!("host {host:?} is neither a DNS name nor an IP address")).because(error)
    })
}

/// What mends a certificate that was refused; None where the error is about something else.
pub(super) fn remedy(error: &io::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(why) = error.get_ref()?.downcast_ref()? else { return None };
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("set tls_ca in [source] to the CA that issued it")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("connect by a name that it carries, or have one issued for this name")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("renew it"),
        _ => None,
    }
}

fn roots_of_file(path: &Path) -> Result<RootCertStore> {
    let unreadable =
        || Error::new(Kind::Configuration, format!("tls_ca {}: no certificate could be read", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable().because(error))? {
        let certificate = certificate.map_err(|error| unreadable().because(error))?;
        roots.add(certificate).map_err(|error| unreadable().because(error))?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let detail = "the system has no root certificates; install ca-certificates or set tls_ca in [source]";
        return Err(Error::new(Kind::Configuration, detail));
    }
    Ok(roots)
}

/// `tls-server-end-point` (RFC 5929, section 4.1): the certificate's hash by the hash of its own signature, where MD5
/// and SHA-1 count as SHA-256. None: the certificate's signature has no such hash (Ed25519, PSS with parameters).
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate_body, _) = der(certificate)?;
    let (_, _, after_tbs) = der(certificate_body)?;
    let (_, algorithm, _) = der(after_tbs)?;
    let (_, oid, _) = der(algorithm)?;
    match oid {
        // sha1, sha256 and md5 WithRSAEncryption; ecdsa-with-SHA1 and SHA256 (RFC 3279, 4055, 5758).
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 4 | 5 | 11]
        | [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 1]
        | [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2] => Some(sha2::Sha256::digest(certificate).to_vec()),
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 12] | [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3] => {
            Some(sha2::Sha384::digest(certificate).to_vec())
        }
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 13] | [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 4] => {
            Some(sha2::Sha512::digest(certificate).to_vec())
        }
        _ => None,
    }
}

/// The first DER value of `bytes`: tag, content and what follows (X.690, definite lengths).
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7F => (usize::from(*short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7F)).filter(|(d, _)| d.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(oid: &[u8]) -> Vec<u8> {
        let value = |tag: u8, content: &[u8]| {
            let mut out = vec![tag, 0x81, u8::try_from(content.len()).unwrap()];
            out.extend(content);
            out
        };
        let algorithm = value(0x30, &value(6, oid));
        value(0x30, &[value(0x30, b"the body"), algorithm, value(3, b"the signature")].concat())
    }

    #[test]
    fn the_certificates_own_hash_binds_the_channel() {
        let sha256 = certificate(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11]);
        assert_eq!(server_end_point(&sha256), Some(sha2::Sha256::digest(&sha256).to_vec()));
        let sha384 = certificate(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3]);
        assert_eq!(server_end_point(&sha384), Some(sha2::Sha384::digest(&sha384).to_vec()));
        assert_eq!(server_end_point(&certificate(&[0x2B, 0x65, 0x70])), None);
        for cut in 0..sha256.len() {
            assert_eq!(server_end_point(&sha256[..cut]), None, "{cut}");
        }
    }
}
