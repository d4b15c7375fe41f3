//! `walwright run`

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::bars::Bars;
use super::{logging, runtime};
use crate::admin::{Admin, Server};
use crate::config::{self, Loaded, LogFormat};
use crate::error::{Error, Kind, Result};
use crate::faults;
use crate::pipeline::{Daemon, Roster};

/// How long a stop may take: what was received is committed, or aborted for the next start to read again.
const GRACE: Duration = Duration::from_secs(25);

/// How often the bars of snapshots move.
const BARS_INTERVAL: Duration = Duration::from_millis(250);

pub(super) fn run(config: &Path, format: Option<LogFormat>) -> Result<()> {
    let Loaded { process, connectors } = config::load_all(config)?;
    let bars = logging::init(format.unwrap_or(process.log.format), process.log.level)?;
    faults::check().map_err(|detail| Error::new(Kind::Configuration, detail))?;
    let runtime = runtime()?;
    let listen = process.admin.listen.clone();
    let daemon = Daemon::new(process, runtime.handle().clone())?;
    let roster = daemon.roster();
    let admin = Admin { metrics: daemon.metrics(), roster: roster.clone() };
    let daemon = Arc::new(Mutex::new(daemon));
    runtime.block_on(async {
        let signals = Signals::listen()?;
        let server = Server::bind(&listen, admin).await?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %server.address()?, "started");
        if cfg!(feature = "null-sink") {
            tracing::warn!("built with the feature null-sink, for benchmarks: no record is published");
        }
        locked(&daemon).start(connectors)?;
        tokio::select! {
            served = server.serve() => {
                let error = served.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
                Err(Error::new(Kind::Bug, format!("the admin server failed: {error}")))
            }
            () = draw(bars, roster) => Ok(()),
            name = signals.until_stop(&daemon, config) => {
                tracing::info!(signal = name, "stopping");
                Ok(())
            }
        }
    })?;
    let stopped = locked(&daemon).stop(GRACE);
    runtime.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("stopped");
    stopped
}

/// Shows how far snapshots are, for as long as it is polled.
async fn draw(bars: Option<Arc<Bars>>, roster: Roster) {
    let Some(bars) = bars else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(BARS_INTERVAL);
    loop {
        ticks.tick().await;
        roster.members().iter().for_each(|(name, member)| bars.show(name, &member.snapshots()));
    }
}

fn locked(daemon: &Mutex<Daemon>) -> MutexGuard<'_, Daemon> {
    daemon.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the process is told from outside. Listened for before anything runs, since SIGHUP would else end it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::new(Kind::Bug, "signals cannot be received").because(error));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Reloads at each SIGHUP; the name of the signal that ends the process.
    async fn until_stop(mut self, daemon: &Arc<Mutex<Daemon>>, config: &Path) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    // It waits for connectors to stop, and the HTTP side goes on answering.
                    let (daemon, config) = (daemon.clone(), config.to_owned());
                    if tokio::task::spawn_blocking(move || reload(&daemon, &config)).await.is_err() {
                        tracing::error!("the reload panicked");
                    }
                }
            }
        }
    }
}

/// Reads all files again. Faults leave everything as it is.
fn reload(daemon: &Mutex<Daemon>, config: &Path) {
    tracing::info!("reloading");
    match config::load_all(config).and_then(|loaded| locked(daemon).reload(loaded, GRACE)) {
        Ok(()) => tracing::info!("reloaded"),
        Err(error) => {
            tracing::error!(error = %error.chain(), remedy = error.remedy(), more = error.more(), "not reloaded: what ran before goes on");
        }
    }
}
