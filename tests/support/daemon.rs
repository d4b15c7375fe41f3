//! The daemon under test as its users run it: the binary, a walwright.toml, signals and HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{Farewell, Process, pid, wait_for_end};
use super::registry::{get, get_any, post};
use super::sandbox::Sandbox;
use super::{Context, Result};

/// The binary that Cargo built for these tests.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_walwright");

pub(crate) struct Daemon {
    process: Process,
    admin: SocketAddr,
}

impl Daemon {
    /// Starts `walwright run --config CONFIG`, `binary` mostly `BINARY`. `admin` is what the file says in `[admin] listen`;
    /// `environment` is added to this process's own. `name` is for the log, which is appended to.
    pub(crate) fn start(
        sandbox: &Sandbox,
        name: &str,
        binary: &Path,
        config: &Path,
        admin: SocketAddr,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(config).envs(environment.iter().copied());
        let process = Process::spawn(name, command, &sandbox.log(name)?, Farewell::Kill)?;
        Ok(Self { process, admin })
    }

    /// The same by a shell that has run `first`: limits, say, or another standard error.
    pub(crate) fn start_behind(
        first: &str,
        sandbox: &Sandbox,
        name: &str,
        config: &Path,
        admin: SocketAddr,
    ) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{first}; exec \"$0\" run --config \"$1\"")).arg(BINARY).arg(config);
        command.env("WALWRIGHT_ADMIN__LISTEN", admin.to_string());
        let process = Process::spawn(name, command, &sandbox.log(name)?, Farewell::Kill)?;
        Ok(Self { process, admin })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The address of its HTTP server.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.process.log().to_owned()
    }

    /// Everything that it has logged, with the output of those started before under the same name.
    pub(crate) fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.process.log()).context(self.process.log().display())
    }

    /// Waits until `/readyz` is green.
    pub(crate) fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        self.process.ready(within, || Ok(get(&url).ok().map(drop)))
    }

    /// The body of a path of its HTTP server, e.g. `/metrics`.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        get(&format!("http://{}{path}", self.admin)).context(path)
    }

    /// Gives a command about a connector's snapshots; what it answers, where it was taken.
    pub(crate) fn command(&self, connector: &str, command: &serde_json::Value) -> Result<String> {
        let path = format!("/connectors/{connector}/snapshots");
        post(&format!("http://{}{path}", self.admin), command).context(path)
    }

    /// What `/readyz/<connector>` says, green or red; None while nobody answers.
    pub(crate) fn report(&self, connector: &str) -> Option<serde_json::Value> {
        let answer = get_any(&format!("http://{}/readyz/{connector}", self.admin)).ok()?;
        serde_json::from_str(&answer).ok()
    }

    /// Waits until `/readyz/<connector>` says what is wanted, and returns it.
    pub(crate) fn wait_report(
        &mut self,
        connector: &str,
        within: Duration,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value> {
        let mut last = None;
        let admin = self.admin;
        let found = self.process.ready(within, || {
            let answer = get_any(&format!("http://{admin}/readyz/{connector}")).ok();
            last = answer.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            Ok(last.clone().filter(|report| wanted(report)))
        });
        found.context(format!("wait for /readyz/{connector}, which says {}", last.unwrap_or_default()))
    }

    /// Waits for a line of its log that contains `text`.
    pub(crate) fn wait_log(&mut self, text: &str, within: Duration) -> Result<()> {
        let log = self.process.log().to_owned();
        self.process
            .ready(within, || Ok(std::fs::read_to_string(&log)?.contains(text).then_some(())))
            .context(format!("wait for \"{text}\" in the log"))
    }

    /// Waits until `/readyz` is green or the process has ended, which is true.
    pub(crate) fn ready_or_ended(&mut self, within: Duration) -> Result<bool> {
        let url = format!("http://{}/readyz", self.admin);
        let process = &mut self.process;
        let found = super::poll(within, || match process.ended()? {
            Some(_) => Ok(Some(true)),
            None => Ok(get(&url).ok().map(|_| false)),
        })?;
        found.ok_or_else(|| self.process.fault(&format!("is not ready after {} s", within.as_secs())))
    }

    /// Whether the process ends within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> Result<bool> {
        wait_for_end(pid(self.process.id())?, time)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// SIGKILL, then waits for the end.
    pub(crate) fn kill_hard(&mut self) -> Result<()> {
        self.process.kill_hard()
    }

    /// SIGTERM, then the exit status.
    pub(crate) fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(within)
    }

    /// Waits for an end of its own making.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.wait(within)
    }
}
