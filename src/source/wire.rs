//! The socket of the replication connection: TCP or Unix, in plain text or TLS. No other file of this program knows it.
//! Blocking with a timeout until `start_streaming`, non-blocking afterwards.
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Type};

use super::tls;
use crate::error::{Error, Kind, Result};

/// Time for one address to answer a TCP connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Sent data that stays unacknowledged for so long ends the connection (TCP_USER_TIMEOUT).
const USER_TIMEOUT_MS: u32 = 20_000;
/// The receive buffer of a connection over loopback (SO_RCVBUF, of which the kernel makes twice as much).
///
/// A walsender sends each message by itself. Over loopback each goes as a segment of its own all the way into our receive
/// queue, which is half of the walsender's work, unless the window is closed: then messages join in its send queue, and go
/// together once we have read. So the window is small; what a pause gathers is mostly what finds it closed. Elsewhere a
/// window must hold what is under way, and the kernel knows better.
const LOOPBACK_RECEIVE_BYTES: usize = 32 * 1024;
/// Bytes of TLS records that are read from the socket at once.
const RECORDS_BYTES: usize = 128 * 1024;
/// SSLRequest: its length and the code 1234.5679 (Postgres docs, "Message Formats").
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// One connection to a server.
pub(super) struct Wire {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// Bytes that the socket has not taken yet (plain text only; TLS queues its own).
    unsent: Vec<u8>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Tls {
    connection: ClientConnection,
    records: Vec<u8>,
    /// What of `records` was received and not yet taken by `connection`.
    received: Range<usize>,
}

impl Wire {
    /// Connects to `host`, a name, an address or, with a leading `/`, the directory of a Unix socket, and does the TLS
    /// handshake where `tls` is given (never on a Unix socket).
    pub(super) fn connect(host: &str, port: u16, tls: Option<ClientConfig>, timeout: Duration) -> Result<Wire> {
        let broken = |error: io::Error| unreachable(host, port, error);
        let socket = if host.starts_with('/') {
            Socket::Unix(UnixStream::connect(socket_path(host, port)).map_err(broken)?)
        } else {
            Socket::Tcp(connect_tcp(host, port).map_err(broken)?)
        };
        let mut wire = Wire { socket, tls: None, unsent: Vec::new() };
        wire.set_timeout(timeout).map_err(broken)?;
        match tls {
            Some(config) if !host.starts_with('/') => wire.encrypt(host, port, config, timeout)?,
            _ => {}
        }
        Ok(wire)
    }

    fn encrypt(&mut self, host: &str, port: u16, config: ClientConfig, timeout: Duration) -> Result<()> {
        let broken = |error: io::Error| unreachable(host, port, error);
        self.socket.write_all(&SSL_REQUEST).map_err(broken)?;
        // Exactly one byte is read in plain text, so nothing that was slipped in before the handshake is ever believed.
        let mut answer = [0; 1];
        self.socket.read_exact(&mut answer).map_err(broken)?;
        if answer != *b"S" {
            return Err(without_tls(host, port, answer));
        }
        let mut connection = ClientConnection::new(Arc::new(config), tls::server_name(host)?)
            .map_err(|error| broken(io::Error::other(error)))?;
        let mut socket = Patient { socket: &mut self.socket, until: Instant::now() + timeout };
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(broken)?;
        }
        self.tls = Some(Box::new(Tls { connection, records: vec![0; RECORDS_BYTES], received: 0..0 }));
        Ok(())
    }

    /// The certificate that the server presented; None in plain text.
    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        let certificates = self.tls.as_ref()?.connection.peer_certificates()?;
        certificates.first().map(AsRef::as_ref)
    }

    /// The server is on this host, behind a socket of the loopback interface.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.socket {
            Socket::Tcp(socket) => socket.peer_addr().is_ok_and(is_loopback),
            Socket::Unix(_) => false,
        }
    }

    /// How long one read or write may block, before streaming.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        // Zero would mean forever.
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        match &self.socket {
            Socket::Tcp(socket) => socket.set_read_timeout(timeout).and_then(|()| socket.set_write_timeout(timeout)),
            Socket::Unix(socket) => socket.set_read_timeout(timeout).and_then(|()| socket.set_write_timeout(timeout)),
        }
    }

    /// From here on nothing blocks but `wait`.
    pub(super) fn start_streaming(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_nonblocking(true),
            Socket::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// Reads once. `WouldBlock`: nothing is there (also nothing decrypted); 0: the server closed the connection.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(into),
            Some(tls) => tls.read(&mut self.socket, into),
        }
    }

    /// Queues `bytes` and sends what the socket takes.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.unsent.extend_from_slice(bytes),
            Some(tls) => tls.connection.writer().write_all(bytes)?,
        }
        self.flush()
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.has_unsent() {
            let sent = match &mut self.tls {
                None => self.socket.write(&self.unsent),
                Some(tls) => tls.connection.write_tls(&mut self.socket),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if self.tls.is_none() => drop(self.unsent.drain(..count)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether queued bytes wait for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.connection.wants_write())
    }

    /// Blocks until `wake` is readable (then true), queued bytes can be sent, `timeout` is over or, where `readable`
    /// asks for it, the server has sent something.
    pub(super) fn wait(&self, wake: BorrowedFd<'_>, readable: bool, timeout: Duration) -> io::Result<bool> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, readable);
        events.set(PollFlags::OUT, self.has_unsent());
        let mut both =
            [PollFd::from_borrowed_fd(wake, PollFlags::IN), PollFd::from_borrowed_fd(self.socket.as_fd(), events)];
        // A socket that is not asked about would still report a hang-up, over and over.
        let asked = if events.is_empty() { both.get_mut(..1).unwrap_or_default() } else { &mut both };
        match poll(asked, Timespec::try_from(timeout).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(both.first().is_some_and(|wake| !wake.revents().is_empty())),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection whose other end a test plays.
    #[cfg(any(test, fuzzing))]
    pub(super) fn over(socket: UnixStream) -> Wire {
        Wire { socket: Socket::Unix(socket), tls: None, unsent: Vec::new() }
    }
}

/// The error of a connection to `host` that failed or broke.
pub(super) fn unreachable(host: &str, port: u16, error: io::Error) -> Error {
    let place = if host.starts_with('/') { socket_path(host, port) } else { format!("{host}:{port}") };
    let why = match error.kind() {
        // A blocking read or write that its timeout has ended.
        io::ErrorKind::WouldBlock => "the server did not answer in time".to_owned(),
        _ => error.to_string(),
    };
    let remedy = tls::remedy(&error).map(|remedy| format!("; {remedy}")).unwrap_or_default();
    Error::new(Kind::PostgresUnreachable, format!("no connection to {place}: {why}{remedy}")).because(error)
}

/// The error of a server that answers SSLRequest otherwise than with `S`. `N`: it does not do TLS. `E`: it is in trouble
/// (it could not fork, for one), in words that nobody vouches for.
pub(super) fn without_tls(host: &str, port: u16, answer: [u8; 1]) -> Error {
    if answer != *b"N" {
        return unreachable(host, port, io::Error::other("the server has answered the request for TLS with an error"));
    }
    let detail = format!("{host}:{port} does not offer TLS; turn ssl on in Postgres, or spell out tls = \"disable\"");
    Error::new(Kind::ServerSetting, detail)
}

/// The Unix socket in a folder, by Postgres' naming.
pub(super) fn socket_path(folder: &str, port: u16) -> String {
    format!("{folder}/.s.PGSQL.{port}")
}

/// The error of a name that resolves to nothing.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// The buffer's size is set before connect(2), as tcp(7) asks: a peer cuts its segments for half of the widest window that
/// it has seen, and with a narrower one later it would wait for room that never comes.
fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_loopback(address) {
        socket.set_recv_buffer_size(LOOPBACK_RECEIVE_BYTES)?;
    }
    socket.connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
    Ok(socket.into())
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = no_address();
    for address in (host, port).to_socket_addrs()? {
        match connect_to(address) {
            Ok(socket) => {
                keep_alive(&socket)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A peer that vanished without a word is noticed within half a minute, idle or not.
pub(super) fn keep_alive(socket: impl AsFd + Copy) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS)?)
}

impl Tls {
    /// Reads the socket at most once, and takes all that was decrypted: the server makes a record of each message.
    fn read(&mut self, socket: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let room = into.get_mut(taken..).unwrap_or_default();
            match self.connection.reader().read(room) {
                Ok(0) => return Ok(taken),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.received.is_empty() => {
                    self.decrypt()?
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.received = 0..socket.read(&mut self.records)?;
                    if self.received.is_empty() {
                        return Ok(0);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn decrypt(&mut self) -> io::Result<()> {
        let mut records = self.records.get(self.received.clone()).unwrap_or_default();
        self.received.start += self.connection.read_tls(&mut records)?;
        self.connection.process_new_packets().map(drop).map_err(io::Error::other)
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(into),
            Socket::Unix(socket) => socket.read(into),
        }
    }
}

/// A socket that is read from until a certain time only, however little comes at once.
struct Patient<'a> {
    socket: &'a mut Socket,
    until: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.socket.read(into)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;
    use crate::model::{Security, TlsMode};

    /// Faults PG-27.
    #[test]
    fn a_handshake_that_comes_byte_by_byte_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, is_over) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                // The head of a TLS record of 16 KiB, and then one zero after the other.
                let mut said = b"S\x16\x03\x03\x40\x00".iter().chain(std::iter::repeat(&0));
                let mut say = || said.next().is_some_and(|byte| client.write_all(&[*byte]).is_ok());
                while say() && is_over.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {}
            });
            let config = tls::client_config(&Security::from(TlsMode::Require)).unwrap();
            let wire = Wire::connect("127.0.0.1", port, config, Duration::from_millis(500));
            drop(over);
            let told = wire.err().map(|error| error.to_string()).unwrap_or_default();
            let expected = "postgres-unreachable: no connection to 127.0.0.1:PORT: the server did not answer in time";
            assert_eq!(told, expected.replace("PORT", &port.to_string()));
        });
    }

    #[test]
    fn over_loopback_the_receive_buffer_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Wire::connect("127.0.0.1", port, None, Duration::from_millis(500)).unwrap();
        let bytes = rustix::net::sockopt::socket_recv_buffer_size(&wire.socket).unwrap();
        // socket(7): the kernel doubles what is asked for.
        assert_eq!((wire.is_loopback(), bytes), (true, 2 * LOOPBACK_RECEIVE_BYTES));
    }
}
