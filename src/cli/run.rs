//! `walwright run`

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{logging, runtime};
use crate::admin::{Admin, Server};
use crate::config::{self, LogFormat};
use crate::error::{Error, Kind, Result};
use crate::faults;
use crate::pipeline::Daemon;

/// How long a stop may take: what was received is committed, or aborted for the next start to read again.
const GRACE: Duration = Duration::from_secs(25);

pub(super) fn run(config: &Path, format: Option<LogFormat>) -> Result<()> {
    let loaded = config::load_all(config)?;
    logging::init(format.unwrap_or(loaded.process.log.format), loaded.process.log.level)?;
    faults::check().map_err(|detail| Error::new(Kind::Configuration, detail))?;
    let runtime = runtime()?;
    let listen = loaded.process.admin.listen.clone();
    let mut daemon = Daemon::new(loaded)?;
    let admin = Admin { metrics: daemon.metrics(), connectors: daemon.connector_metrics(), health: daemon.health() };
    runtime.block_on(async {
        let server = Server::bind(&listen, admin).await?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %server.address()?, "started");
        daemon.start(&tokio::runtime::Handle::current())?;
        tokio::select! {
            served = server.serve() => {
                let error = served.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
                Err(Error::new(Kind::Bug, format!("the admin server failed: {error}")))
            }
            signal = stop_signal() => signal.map(|name| tracing::info!(signal = name, "stopping")),
        }
    })?;
    let stopped = daemon.stop(GRACE);
    runtime.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("stopped");
    stopped
}

async fn stop_signal() -> Result<&'static str> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::new(Kind::Bug, "signals cannot be received").because(error));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
