//! The place where a set of servers lives: a folder, a log folder and a loopback address of its own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use super::reaper::reaper;
use super::{Context, Result};

/// How long a run's logs are kept.
const LOGS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The first port that a sandbox gives out: below those that the kernel picks for whoever asks for none in particular.
const FIRST_PORT: u16 = 20_000;

/// Removed when dropped, except for the logs.
///
/// Every sandbox has a loopback address of its own (Linux answers on all of 127/8), so that its ports are its own:
/// a server that was killed finds its port free again, which on the address that everybody uses may have become
/// somebody's source port meanwhile, or that of a client connected to itself.
pub(crate) struct Sandbox {
    address: Ipv4Addr,
    folder: PathBuf,
    next_port: AtomicU16,
}

impl Sandbox {
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let folder = reaper()?.folder().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&folder).context(folder.display())?;
        let sandbox = Self { address: random_loopback(), folder, next_port: AtomicU16::new(FIRST_PORT) };
        sandbox.port().context("find a loopback address (127.0.0.0/8) to bind to")?;
        Ok(sandbox)
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port of this sandbox's address that nobody else is given: the server that is to have it binds to it later.
    pub(crate) fn port(&self) -> Result<SocketAddr> {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        Ok(TcpListener::bind((self.address, port))?.local_addr()?)
    }

    /// Makes a new folder; a second one of the same name gets a number.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let numbered = (2..1000).map(|number| format!("{name}-{number}"));
        for name in std::iter::once(name.to_owned()).chain(numbered) {
            let folder = self.folder.join(name);
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(folder.display()),
            }
        }
        Err(format!("too many folders named {name}").into())
    }

    /// The log file for a process of this sandbox.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        let number = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(logs()?.join(format!("{number}-{name}.log")))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // What still cannot be removed here, the reaper removes when this process ends.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Where this process's servers log to: under the target folder, kept after the run.
pub(crate) fn logs() -> Result<&'static Path> {
    static LOGS: LazyLock<Result<PathBuf>> = LazyLock::new(make_log_folder);
    LOGS.as_deref().map_err(ToString::to_string).context("make the log folder")
}

fn make_log_folder() -> Result<PathBuf> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("logs");
    std::fs::create_dir_all(&all).context(all.display())?;
    forget_old_logs(&all)?;
    let run = tempfile::Builder::new().prefix("run-").tempdir_in(&all)?;
    Ok(run.keep())
}

fn forget_old_logs(all: &Path) -> Result<()> {
    for entry in std::fs::read_dir(all)?.flatten() {
        let age = entry.metadata().and_then(|run| run.modified()).map(|modified| modified.elapsed());
        if matches!(age, Ok(Ok(age)) if age > LOGS_KEPT) {
            // Another run may be removing it too.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    Ok(())
}

/// Any 64 bits; each call differs.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_loopback() -> Ipv4Addr {
    let [a, b, c, ..] = random().to_be_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}
