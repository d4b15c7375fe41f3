//! A throwaway certificate authority, by OpenSSL's command line (which Debian's Postgres packages bring along).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;
use super::{Context, Result};

/// An authority whose key lies in `folder`, and which is called after it.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A server's certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        let authority = Self { folder };
        let mut request = openssl("req");
        let name = authority.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        request.args(["-x509", "-days", "2", "-newkey", "ec", "-subj", &format!("/CN=Throwaway {name}")]);
        request.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"]);
        run(request.arg(authority.folder.join("ca.key")).arg("-out").arg(authority.certificate()))?;
        Ok(authority)
    }

    /// For `tls_ca`.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate for a name as in `subjectAltName`: `IP:127.0.0.1`, `DNS:pg.internal`.
    pub(crate) fn issue(&self, name: &str) -> Result<Issued> {
        let file = |ending: &str| self.folder.join(format!("{}.{ending}", name.replace([':', '.'], "-")));
        let (request, extensions) = (file("csr"), file("ext"));
        let issued = Issued { certificate: file("crt"), key: file("key") };
        std::fs::write(&extensions, format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n"))?;
        let mut ask = openssl("req");
        ask.args(["-subj", "/CN=server", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        run(ask.arg("-keyout").arg(&issued.key).arg("-out").arg(&request))?;
        let mut sign = openssl("x509");
        sign.args(["-req", "-days", "2", "-CAcreateserial", "-CA"]).arg(self.certificate());
        sign.arg("-CAkey").arg(self.folder.join("ca.key")).arg("-extfile").arg(extensions);
        run(sign.arg("-in").arg(request).arg("-out").arg(&issued.certificate))?;
        Ok(issued)
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
