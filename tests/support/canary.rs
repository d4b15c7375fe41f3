//! Canaries: secrets and values of rows, which nothing that the daemon says may hold. Whoever runs one listens once a
//! second to what it answers over HTTP, and looks through its log in the end.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Result;
use super::registry::get_any;

const PERIOD: Duration = Duration::from_secs(1);

/// What was searched, and where a canary was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    canaries: Vec<String>,
    pub(crate) bytes: u64,
    /// Lines that hold one.
    pub(crate) hits: u64,
    /// The first of them.
    pub(crate) found: Vec<String>,
}

impl Search {
    const FOUND_MAX: usize = 10;

    pub(crate) fn new(canaries: impl IntoIterator<Item = String>) -> Self {
        Self { canaries: canaries.into_iter().collect(), ..Self::default() }
    }

    /// Looks through what was said at `place`.
    pub(crate) fn look(&mut self, place: &str, said: &str) {
        self.bytes += said.len() as u64;
        for line in said.lines() {
            if let Some(canary) = self.canaries.iter().find(|canary| line.contains(canary.as_str())) {
                self.hits += 1;
                if self.found.len() < Self::FOUND_MAX {
                    self.found.push(format!("{place}: {canary} in: {line}"));
                }
            }
        }
    }
}

/// Listens to a daemon's HTTP server.
pub(crate) struct Listener {
    stop: Sender<()>,
    thread: JoinHandle<Search>,
}

impl Listener {
    /// `admin` is where the daemon and each of its successors answer.
    pub(crate) fn start(admin: SocketAddr, paths: &[&str], search: Search) -> Result<Self> {
        let (stop, stopped) = channel();
        let urls: Vec<_> = paths.iter().map(|path| format!("http://{admin}{path}")).collect();
        let listen = move || listen(&stopped, &urls, search);
        Ok(Self { stop, thread: Builder::new().name("canaries".to_owned()).spawn(listen)? })
    }

    pub(crate) fn finish(self) -> Result<Search> {
        drop(self.stop);
        self.thread.join().map_err(|_| "who listens for canaries panicked".into())
    }
}

fn listen(stop: &Receiver<()>, urls: &[String], mut search: Search) -> Search {
    while matches!(stop.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout)) {
        for url in urls {
            // Nobody answers while no daemon runs.
            if let Ok(said) = get_any(url) {
                search.look(url, &said);
            }
        }
    }
    search
}
