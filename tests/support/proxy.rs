//! A TCP proxy that can fall silent: between a daemon and a server, to be a network that stalls.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Result;

/// Forwards connections until the test process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    stall: Arc<Mutex<Stall>>,
    connections: Arc<AtomicUsize>,
    /// So many of the first connections are a black hole.
    swallowed: Arc<AtomicUsize>,
    garbled: Arc<Mutex<Option<Garbled>>>,
}

/// Bytes of the server that arrive as others, as many.
type Garbled = (&'static [u8], &'static [u8]);

/// A silence that comes over a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Stall {
    /// Bytes of the server that pass before.
    after: usize,
    lasting: Duration,
    /// How many connections it will still come over, each of them once.
    connections: usize,
}

impl Proxy {
    /// Answers at `from` with what the server at `to` says.
    pub(crate) fn start(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(from)?;
        let proxy = Self {
            address: listener.local_addr()?,
            stall: Arc::default(),
            connections: Arc::default(),
            swallowed: Arc::default(),
            garbled: Arc::default(),
        };
        let (stall, connections) = (Arc::clone(&proxy.stall), Arc::clone(&proxy.connections));
        let (swallowed, garbled) = (Arc::clone(&proxy.swallowed), Arc::clone(&proxy.garbled));
        in_background(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                // Ends with the connection: whoever waits for it hears that the client has gone.
                let (alive, gone) = channel::<()>();
                let stall = Arc::clone(&stall);
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (swallowed, garbled) = (Arc::clone(&swallowed), Arc::clone(&garbled));
                let passes = move || number >= swallowed.load(Ordering::SeqCst);
                let passes_back = passes.clone();
                in_background(move || {
                    let _alive = alive;
                    forward(from_client, to_server, |_| passes());
                });
                let (mut passed, mut stalled) = (0, false);
                in_background(move || {
                    forward(server, client, |bytes| {
                        passed += bytes.len();
                        garble(bytes, *garbled.lock().unwrap_or_else(PoisonError::into_inner));
                        if !stalled && let Some(lasting) = due(&stall, passed) {
                            stalled = true;
                            let _gone_or_over = gone.recv_timeout(lasting);
                        }
                        passes_back()
                    });
                });
            }
        });
        Ok(proxy)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `connections` that bring more than `after` bytes from the server fall silent there, once each. What the
    /// client says still passes.
    pub(crate) fn stall(&self, after: usize, lasting: Duration, connections: usize) {
        *self.stall.lock().unwrap_or_else(PoisonError::into_inner) = Stall { after, lasting, connections };
    }

    /// From now on these bytes of the server arrive as those, where they come in one piece.
    pub(crate) fn garble(&self, from: &'static [u8], to: &'static [u8]) {
        assert_eq!(from.len(), to.len());
        *self.garbled.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, to));
    }

    /// The connections there are become a black hole: what either side says is received and goes nowhere. Later ones pass.
    pub(crate) fn swallow(&self) {
        self.swallowed.store(self.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// How long a connection that has brought `passed` bytes is to be silent now.
fn due(stall: &Mutex<Stall>, passed: usize) -> Option<Duration> {
    let mut stall = stall.lock().unwrap_or_else(PoisonError::into_inner);
    if passed <= stall.after {
        return None;
    }
    stall.connections = stall.connections.checked_sub(1)?;
    Some(stall.lasting)
}

fn garble(bytes: &mut [u8], garbled: Option<Garbled>) {
    let Some((from, to)) = garbled else { return };
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

/// Copies what `passes` until one side ends, then ends both.
fn forward(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 1 << 14];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if passes(&mut buffer[..count]) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other direction's thread hears of it and ends too; out of a black hole comes no good-bye either.
    if passes(&mut []) {
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    }
}

#[allow(clippy::disallowed_methods, reason = "a proxy's threads end with their connections or the test process")]
fn in_background(run: impl FnOnce() + Send + 'static) {
    drop(thread::spawn(run));
}
