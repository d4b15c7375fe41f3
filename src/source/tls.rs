//! Trust: the TLS client configuration, and the channel binding that ties SCRAM to the server's certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::Digest;

use crate::error::{Error, Kind, Result};
use crate::model::{Security, TlsMode};

/// The configuration that `security` asks for; None: plain text. TLS 1.2 and 1.3 with ring's algorithms. Files are read
/// anew, so that renewed certificates are taken at the next connection.
pub(super) fn client_config(security: &Security) -> Result<Option<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Bug, "no TLS protocol version is available").because(error))?;
    let builder = match &security.tls {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        TlsMode::VerifyFull { ca: Some(path) } => builder.with_root_certificates(roots_of_file(path)?),
        TlsMode::VerifyFull { ca: None } => builder.with_root_certificates(roots_of_system()?),
    };
    let Some(shown) = &security.client_certificate else { return Ok(Some(builder.with_no_client_auth())) };
    let key = PrivateKeyDer::from_pem_slice(shown.key.reveal().as_bytes());
    // What lies beneath could quote the key.
    let key = key.map_err(|_| Error::new(Kind::ReferenceUnreadable, "tls_key is no private key in PEM"))?;
    let config = builder.with_client_auth_cert(certificates_of(&shown.certificate, "tls_cert")?, key);
    config.map(Some).map_err(|error| {
        let place = shown.certificate.display();
        Error::new(Kind::ReferenceUnreadable, format!("tls_cert {place} and tls_key do not fit")).because(error)
    })
}

/// Takes any certificate, but only of whoever holds its key: what SCRAM is bound to is then really the other end.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            Some("have it signed with RSA, or with ECDSA on P-256 or P-384 and SHA-256 or SHA-384")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("renew it"),
        _ => None,
    }
}

fn roots_of_file(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(path, "tls_ca")? {
        roots.add(certificate).map_err(|error| unreadable(path, "tls_ca").because(error))?;
    }
    Ok(roots)
}

/// The certificates of the file that `key` names: at least one.
fn certificates_of(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unreadable(path, key).because(error))?;
    if found.is_empty() { Err(unreadable(path, key)) } else { Ok(found) }
}

fn unreadable(path: &Path, key: &str) -> Error {
    Error::new(Kind::ReferenceUnreadable, format!("{key} {}: no certificate could be read", path.display()))
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
