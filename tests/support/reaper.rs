//! One shell process that outlives this one for a moment and ends what it left behind.
//!
//! Destructors do not run when a process is killed, aborts, or ends with servers in a `static`. A parent-death signal
//! would not do either: it fires when the *thread* that started the child ends, and tests run on short-lived threads.
//! A pipe, however, closes when its last writer is gone, for whatever reason.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::{Context, Result};

/// This process's folder for all sandboxes and the reaper that removes it.
pub(crate) struct Reaper {
    folder: PathBuf,
    commands: Mutex<ChildStdin>,
    _child: Child,
}

/// The reaper of this process, started on first use.
pub(crate) fn reaper() -> Result<&'static Reaper> {
    static REAPER: LazyLock<Result<Reaper>> = LazyLock::new(Reaper::start);
    REAPER.as_ref().map_err(ToString::to_string).context("start the reaper")
}

impl Reaper {
    fn start() -> Result<Self> {
        // Short, since a Unix socket's path has at most 107 bytes, and open to the user that Postgres runs as.
        let folder = tempfile::Builder::new()
            .prefix("walwright-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .tempdir()?
            .keep();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(include_str!("reaper.sh"))
            .arg("reaper.sh")
            .arg(&folder)
            .process_group(0) // Ctrl-C at the terminal is not for it.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let commands = child.stdin.take().ok_or("the reaper has no standard input")?;
        Ok(Self { folder, commands: Mutex::new(commands), _child: child })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on the process group is sent `signal` (a name without SIG) when this process ends.
    pub(crate) fn watch(&self, group: u32, signal: &str) -> Result<()> {
        self.tell(&format!("watch {group} {signal}\n"))
    }

    /// To be called before the group's leader is reaped: its number may be another's afterwards.
    pub(crate) fn forget(&self, group: u32) -> Result<()> {
        self.tell(&format!("forget {group}\n"))
    }

    fn tell(&self, line: &str) -> Result<()> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.write_all(line.as_bytes()).context("the reaper is gone")
    }
}
