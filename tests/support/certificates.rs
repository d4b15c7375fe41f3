//! A throwaway certificate authority, by OpenSSL's command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;
use super::{Context, Result};

/// An authority whose key lies in `folder`, and which is called after it.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

const ELLIPTIC: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        Self::with_key(folder, ELLIPTIC)
    }

    /// One whose signatures may have any hash.
    pub(crate) fn rsa(folder: PathBuf) -> Result<Self> {
        Self::with_key(folder, &["-newkey", "rsa:2048"])
    }

    /// One whose signatures have no hash of their own.
    pub(crate) fn ed25519(folder: PathBuf) -> Result<Self> {
        Self::with_key(folder, &["-newkey", "ed25519"])
    }

    fn with_key(folder: PathBuf, key: &[&str]) -> Result<Self> {
        let authority = Self { folder };
        let mut request = openssl("req");
        let name = authority.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        request.args(["-x509", "-days", "2", "-subj", &format!("/CN=Throwaway {name}")]);
        request.args(key).args(["-nodes", "-keyout"]);
        run(request.arg(authority.folder.join("ca.key")).arg("-out").arg(authority.certificate()))?;
        Ok(authority)
    }

    /// For `tls_ca`.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A server's certificate for a name as in `subjectAltName`: `IP:127.0.0.1`, `DNS:pg.internal`.
    pub(crate) fn issue(&self, name: &str) -> Result<Issued> {
        self.sign("server", name, &[])
    }

    /// The same, signed with this hash: `sha384`.
    pub(crate) fn issue_with(&self, name: &str, hash: &str) -> Result<Issued> {
        self.sign(hash, name, &[&format!("-{hash}")])
    }

    /// A client's certificate for a user.
    pub(crate) fn client(&self, user: &str) -> Result<Issued> {
        self.sign(user, "DNS:client.internal", &[])
    }

    fn sign(&self, common_name: &str, name: &str, options: &[&str]) -> Result<Issued> {
        let file = |ending: &str| {
            let name = name.replace([':', '.'], "-");
            self.folder.join(format!("{common_name}-{name}.{ending}"))
        };
        let (request, extensions) = (file("csr"), file("ext"));
        let issued = Issued { certificate: file("crt"), key: file("key") };
        std::fs::write(&extensions, format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n"))?;
        let mut ask = openssl("req");
        ask.args(["-subj", &format!("/CN={common_name}"), "-nodes"]).args(ELLIPTIC);
        run(ask.arg("-keyout").arg(&issued.key).arg("-out").arg(&request))?;
        let mut sign = openssl("x509");
        sign.args(["-req", "-days", "2", "-CAcreateserial", "-CA"]).arg(self.certificate());
        sign.arg("-CAkey").arg(self.folder.join("ca.key")).arg("-extfile").arg(extensions).args(options);
        run(sign.arg("-in").arg(request).arg("-out").arg(&issued.certificate))?;
        Ok(issued)
    }
}

impl Issued {
    /// Key and certificate in one file, as Kafka's PEM stores want them.
    pub(crate) fn together(&self) -> Result<PathBuf> {
        let path = self.certificate.with_extension("pem");
        let text = std::fs::read_to_string(&self.key)? + &std::fs::read_to_string(&self.certificate)?;
        std::fs::write(&path, text).context(path.display())?;
        Ok(path)
    }
}

fn openssl(command: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.arg(command);
    openssl
}

/// Copies a file to where only its owner may read it, as Postgres wants its key.
pub(crate) fn copy_closed(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::copy(from, to).context(to.display())?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600)).context(to.display())
}
