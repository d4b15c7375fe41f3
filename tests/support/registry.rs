//! A schema registry of our own: Apicurio, in memory, with Confluent's REST API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::Result;
use super::cache::JavaServers;
use super::process::{Farewell, Process};
use super::sandbox::Sandbox;

const START: Duration = Duration::from_secs(90);

pub(crate) struct Registry {
    jar: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    log: PathBuf,
    process: Option<Process>,
    /// Its folder must outlive the process.
    _sandbox: Arc<Sandbox>,
}

impl Registry {
    pub(crate) fn start(sandbox: &Arc<Sandbox>) -> Result<Self> {
        let mut registry = Self {
            jar: JavaServers::resolve()?.registry,
            folder: sandbox.folder("registry")?,
            address: sandbox.port()?,
            log: sandbox.log("registry")?,
            process: None,
            _sandbox: Arc::clone(sandbox),
        };
        registry.restart()?;
        Ok(registry)
    }

    /// The base of Confluent's REST API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// SIGKILL. It keeps nothing: after a restart its schemas are gone.
    pub(crate) fn kill_hard(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill_hard(),
            None => Ok(()),
        }
    }

    /// Starts it at the same address, killing it first where it runs.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.kill_hard()?;
        let name = format!("walwright {}", self.address);
        let mut server = Command::new("java");
        server.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        server.arg(format!("-Dquarkus.http.host={}", self.address.ip()));
        server.arg(format!("-Dquarkus.http.port={}", self.address.port()));
        server.arg(format!("-Dapicurio.app.name={name}"));
        server.args([
            "-Dquarkus.log.level=WARN",
            "-Dapicurio.log.level=WARN",
            "-Dquarkus.http.access-log.enabled=false",
        ]);
        server.arg("-jar").arg(&self.jar).current_dir(&self.folder);
        let process = self.process.insert(Process::spawn("registry", server, &self.log, Farewell::Kill)?);
        let info = format!("http://{}/apis/registry/v3/system/info", self.address);
        process.ready(START, || is_ours(&info, &name))
    }
}

fn is_ours(info: &str, name: &str) -> Result<Option<()>> {
    let Ok(answer) = get(info) else { return Ok(None) };
    if answer.contains(name) { Ok(Some(())) } else { Err(format!("another registry answers: {answer}").into()) }
}

/// The body of a GET that answered with 200.
pub(crate) fn get(url: &str) -> Result<String> {
    request(url, true)
}

/// The body of a GET, whatever its status.
pub(crate) fn get_any(url: &str) -> Result<String> {
    request(url, false)
}

/// The answer to a POST, where it is 200.
pub(crate) fn post(url: &str, body: &serde_json::Value) -> Result<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(90))).proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    Ok(agent.post(url).send_json(body)?.body_mut().read_to_string()?)
}

fn request(url: &str, status_as_error: bool) -> Result<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).proxy(None);
    let agent = ureq::Agent::new_with_config(config.http_status_as_error(status_as_error).build());
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}
