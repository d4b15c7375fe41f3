//! How a connection to the source is protected, and what proves who is at either end. Plain data, in libpq's terms.

use std::path::PathBuf;

use super::Secret;

/// How TCP is protected. Unix sockets are never encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text; the connector file must spell it out.
    Disable,
    /// Encrypted, whoever answers: the server's certificate proves nothing. The connector file must spell it out.
    Require,
    /// The server must present a certificate for its name, issued by `ca` (PEM), or by a root of the system.
    #[allow(missing_docs, reason = "the variant says it")]
    VerifyFull { ca: Option<PathBuf> },
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file (PEM) of the certificate, its intermediates behind it.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: Secret,
}

/// Whether the login must be bound to the TLS channel (SCRAM-SHA-256-PLUS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Where server and certificate allow it.
    #[default]
    Prefer,
    /// Always: a login without it is refused, also one that asks for no password.
    Require,
}

/// The weakest way in which a password may be proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordMethod {
    /// SCRAM-SHA-256, bound to the channel or not.
    #[default]
    ScramSha256,
    /// Also MD5, whose answer serves whoever hears it; the connector file must spell it out.
    Md5,
}

/// Which of several hosts is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// The first that is not in recovery.
    #[default]
    Primary,
    /// The first that is not in recovery and whose sessions may write (`default_transaction_read_only` is off).
    ReadWrite,
}

/// All of it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    pub tls: TlsMode,
    pub client_certificate: Option<ClientCertificate>,
    pub channel_binding: ChannelBinding,
    pub password_method: PasswordMethod,
}

impl From<TlsMode> for Security {
    /// With nothing but this said.
    fn from(tls: TlsMode) -> Security {
        let (channel_binding, password_method) = (ChannelBinding::default(), PasswordMethod::default());
        Security { tls, client_certificate: None, channel_binding, password_method }
    }
}
