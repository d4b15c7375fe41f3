//! A TCP proxy between a daemon and a server, to be a network that stalls, swallows, cuts, or is slow.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Result;

/// What is received at once.
const PIECE_BYTES: usize = 1 << 14;

/// Forwards connections until the test process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// How the way is now, for all connections.
#[derive(Default)]
struct Way {
    rules: Mutex<Rules>,
    released: Condvar,
}

#[derive(Default)]
struct Rules {
    /// Of all that there have been.
    connections: usize,
    /// So many of the first connections are a black hole for what the client says, and for what the server says.
    swallowed: [usize; 2],
    held: [bool; 2],
    garbled: Option<Garbled>,
    refused: Option<(&'static [u8], &'static [u8])>,
    stall: Stall,
    cut: Option<Cut>,
    strike: Option<Strike>,
    delay: Duration,
    slice: Option<usize>,
    bytes_per_second: Option<u32>,
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

/// An end that comes to a connection.
#[derive(Clone, Copy, Debug)]
struct Cut {
    side: Side,
    /// Bytes of that side that pass before.
    after: usize,
    /// How many connections it will still come to.
    connections: usize,
}

/// An end that comes to whichever connection brings a byte.
#[derive(Clone, Copy, Debug)]
struct Strike {
    side: Side,
    /// Bytes of that side that still pass, on all connections together.
    left: usize,
    by_reset: bool,
}

impl Proxy {
    /// Answers at `from` with what the server at `to` says.
    pub(crate) fn start(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        Self::over(TcpListener::bind(from)?, to)
    }

    /// The same behind a port that was taken before.
    pub(crate) fn over(listener: TcpListener, to: SocketAddr) -> Result<Self> {
        let proxy = Self { address: listener.local_addr()?, way: Arc::default() };
        let way = Arc::clone(&proxy.way);
        in_background(move || {
            for client in listener.incoming().flatten() {
                // Whose server is gone is hung up on.
                let Ok(server) = TcpStream::connect(to) else { continue };
                drop(connect(client, server, &way));
            }
        });
        Ok(proxy)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.way.rules().connections
    }

    /// The next `connections` that bring more than `after` bytes from the server fall silent there, once each. What the
    /// client says still passes.
    pub(crate) fn stall(&self, after: usize, lasting: Duration, connections: usize) {
        self.way.rules().stall = Stall { after, lasting, connections };
    }

    /// The next `connections` in which this side says more than `after` bytes end there, for both: so many bytes arrive.
    pub(crate) fn cut(&self, side: Side, after: usize, connections: usize) {
        self.way.rules().cut = Some(Cut { side, after, connections });
    }

    /// The connection that brings the last of this side's next `bytes` ends behind it, for both; `by_reset`: without a
    /// good-bye, so that what is on its way may be lost too.
    pub(crate) fn strike(&self, side: Side, bytes: usize, by_reset: bool) {
        self.way.rules().strike = Some(Strike { side, left: bytes, by_reset });
    }

    /// Whether that has come; if not, it comes no more once it is called off.
    pub(crate) fn has_struck(&self) -> bool {
        self.way.rules().strike.is_none()
    }

    pub(crate) fn call_off(&self) {
        self.way.rules().strike = None;
    }

    /// From now on these bytes of the server arrive as those, where they come in one piece.
    pub(crate) fn garble(&self, from: &'static [u8], to: &'static [u8]) {
        assert_eq!(from.len(), to.len());
        self.way.rules().garbled = Some((from, to));
    }

    /// The connections there are become a black hole: what either side says is received and goes nowhere. Later ones pass.
    pub(crate) fn swallow(&self) {
        self.swallow_from(Side::Client);
        self.swallow_from(Side::Server);
    }

    /// The same one way: what the other side says still passes.
    pub(crate) fn swallow_from(&self, side: Side) {
        let mut rules = self.way.rules();
        rules.swallowed[side as usize] = rules.connections;
    }

    /// What either side says waits, on later connections too, until [`Self::release`]; nothing is lost.
    pub(crate) fn hold(&self) {
        self.hold_from(Side::Client);
        self.hold_from(Side::Server);
    }

    /// The same one way.
    pub(crate) fn hold_from(&self, side: Side) {
        self.way.rules().held[side as usize] = true;
    }

    pub(crate) fn release(&self) {
        self.way.rules().held = [false; 2];
        self.way.released.notify_all();
    }

    /// From now on each piece, of 16 KiB at most, arrives so much later; with zero, at once.
    pub(crate) fn delay(&self, by: Duration) {
        self.way.rules().delay = by;
    }

    /// From now on bytes arrive in pieces of at most so many; None: as they come.
    pub(crate) fn slice(&self, bytes: Option<usize>) {
        self.way.rules().slice = bytes;
    }

    /// From now on no more than this passes each way of a connection; None: as fast as it goes.
    pub(crate) fn limit(&self, bytes_per_second: Option<u32>) {
        self.way.rules().bytes_per_second = bytes_per_second;
    }

    /// How many of the connections that are to be cut have not been.
    pub(crate) fn cuts_left(&self) -> usize {
        self.way.rules().cut.map_or(0, |cut| cut.connections)
    }

    /// From now on a client that says these bytes, in one piece, is answered with those, and hung up on.
    pub(crate) fn refuse(&self, said: &'static [u8], answer: &'static [u8]) {
        self.way.rules().refused = Some((said, answer));
    }
}

impl Way {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(client: TcpStream, server: TcpStream, way: &Arc<Way>) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let number = {
        let mut rules = way.rules();
        rules.connections += 1;
        rules.connections - 1
    };
    // Ends with the connection: whoever waits for it hears that the client has gone.
    let (alive, gone) = channel::<()>();
    let reset = Arc::new(AtomicBool::new(false));
    let line = |side, gone| {
        let (way, reset) = (Arc::clone(way), Arc::clone(&reset));
        Line { side, number, way, passed: 0, stalled: false, gone, reset }
    };
    let (mut there, mut back) = (line(Side::Client, None), line(Side::Server, Some(gone)));
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    in_background(move || {
        let _alive = alive;
        there.forward(from_client, to_server);
    });
    in_background(move || back.forward(server, client));
    Ok(())
}

/// One direction of a connection.
struct Line {
    side: Side,
    /// The connection's.
    number: usize,
    way: Arc<Way>,
    /// Bytes so far.
    passed: usize,
    stalled: bool,
    /// The server's line hears here that the client has gone.
    gone: Option<Receiver<()>>,
    /// Both sides hear of the end by a reset.
    reset: Arc<AtomicBool>,
}

impl Line {
    /// Copies until one side ends or is cut off, then ends both.
    fn forward(&mut self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer[..self.piece()]) {
            let bytes = &mut buffer[..count];
            self.wait(count);
            let rest = self.before_cut(count).or_else(|| self.before_strike(count));
            self.passed += count;
            if self.side == Side::Server {
                garble(bytes, self.way.rules().garbled);
            } else if let Some(answer) = self.refusal(bytes) {
                drop(from.write_all(answer));
                break;
            }
            if !self.swallows() && to.write_all(&bytes[..rest.unwrap_or(count)]).is_err() || rest.is_some() {
                break;
            }
        }
        // The other direction's thread hears of it and ends too; out of a black hole comes no good-bye either.
        if self.reset.load(Ordering::SeqCst) {
            drop((reset(&from), reset(&to)));
        } else if !self.swallows() {
            drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
        }
    }

    fn refusal(&self, bytes: &[u8]) -> Option<&'static [u8]> {
        let (said, answer) = self.way.rules().refused?;
        bytes.windows(said.len()).any(|window| window == said).then_some(answer)
    }

    fn piece(&self) -> usize {
        self.way.rules().slice.unwrap_or(PIECE_BYTES)
    }

    fn swallows(&self) -> bool {
        self.number < self.way.rules().swallowed[self.side as usize]
    }

    /// How many of the next `count` bytes still arrive, where the connection is to end within them.
    fn before_cut(&self, count: usize) -> Option<usize> {
        let mut rules = self.way.rules();
        let cut = rules.cut.as_mut().filter(|cut| cut.side == self.side && self.passed + count > cut.after)?;
        cut.connections = cut.connections.checked_sub(1)?;
        Some(cut.after.saturating_sub(self.passed))
    }

    /// The same where whoever brings the byte is struck.
    fn before_strike(&self, count: usize) -> Option<usize> {
        let mut rules = self.way.rules();
        let strike = rules.strike.as_mut().filter(|strike| strike.side == self.side)?;
        if strike.left > count {
            strike.left -= count;
            return None;
        }
        let Strike { left, by_reset, .. } = *strike;
        rules.strike = None;
        self.reset.store(by_reset, Ordering::SeqCst);
        Some(left)
    }

    /// Until the next `count` bytes may pass.
    fn wait(&mut self, count: usize) {
        if let Some(lasting) = self.stall(count)
            && let Some(gone) = &self.gone
        {
            self.stalled = true;
            let _gone_or_over = gone.recv_timeout(lasting);
        }
        let rules = self.way.rules();
        let held = |rules: &mut Rules| rules.held[self.side as usize];
        let rules = self.way.released.wait_while(rules, held).unwrap_or_else(PoisonError::into_inner);
        let sending = rules.bytes_per_second.map(|rate| Duration::from_secs_f64(count as f64 / f64::from(rate)));
        let delay = rules.delay + sending.unwrap_or_default();
        drop(rules);
        if !delay.is_zero() {
            pause(delay);
        }
    }

    /// How long this connection is to be silent before the next `count` bytes.
    fn stall(&self, count: usize) -> Option<Duration> {
        let mut rules = self.way.rules();
        if self.side == Side::Client || self.stalled || self.passed + count <= rules.stall.after {
            return None;
        }
        rules.stall.connections = rules.stall.connections.checked_sub(1)?;
        Some(rules.stall.lasting)
    }
}

fn garble(bytes: &mut [u8], garbled: Option<Garbled>) {
    let Some((from, to)) = garbled else { return };
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

/// The other line's thread, which waits for bytes, hears of it; the peer gets a reset when the last of both lets go.
fn reset(stream: &TcpStream) -> Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(stream.shutdown(Shutdown::Read)?)
}

#[allow(clippy::disallowed_methods, reason = "a slow network is made of time")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[allow(clippy::disallowed_methods, reason = "a proxy's threads end with their connections or the test process")]
fn in_background(run: impl FnOnce() + Send + 'static) {
    drop(thread::spawn(run));
}
