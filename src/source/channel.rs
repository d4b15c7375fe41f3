//! What a SQL session runs over: TCP in plain text or TLS, or a Unix socket, with a watch over the login.
//!
//! tokio-postgres answers whatever a server asks for, be it the password in clear text or its MD5. So it gets a channel
//! that reads along until ReadyForQuery and breaks off before such a request is seen (MD5: unless the settings allow it). It
//! also makes room for whatever length a message claims, and keeps all parameters: so claims and sum are looked at here.

use std::fmt;
use std::future::Ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::session::{STARTUP_BYTES_MAX, endless, unexpected};
use super::settings::SourceSettings;
use super::{auth, frame, tls, wire};
use crate::error::{Error, Result};
use crate::model::PasswordMethod;

/// Time for one address to answer a TCP connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a server, before and after its login.
pub(super) struct Channel {
    stream: Box<dyn Duplex>,
    /// What binds SCRAM to the TLS channel.
    end_point: Option<Vec<u8>>,
    /// None: the login is done.
    login: Option<Login>,
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Channel {
    /// Connects to one host, with the TLS handshake where the settings ask for it (never on a Unix socket).
    pub(super) async fn open(settings: &SourceSettings, host: &str) -> Result<Channel> {
        let mut channel = Channel::connect(settings, host).await?;
        auth::check_binding(&settings.security, channel.end_point.as_deref())?;
        channel.login =
            Some(Login { md5: settings.security.password_method == PasswordMethod::Md5, ..Login::default() });
        Ok(channel)
    }

    async fn connect(settings: &SourceSettings, host: &str) -> Result<Channel> {
        let broken = |error: io::Error| wire::unreachable(host, settings.port, error);
        if host.starts_with('/') {
            let socket = UnixStream::connect(wire::socket_path(host, settings.port)).await.map_err(broken)?;
            return Ok(Channel::over(socket, None));
        }
        let mut socket = tcp(host, settings.port).await.map_err(broken)?;
        let Some(config) = tls::client_config(&settings.security)? else { return Ok(Channel::over(socket, None)) };
        socket.write_all(&wire::SSL_REQUEST).await.map_err(broken)?;
        let answer = socket.read_u8().await.map_err(broken)?;
        if answer != b'S' {
            return Err(wire::without_tls(host, settings.port, [answer]));
        }
        let name = tls::server_name(host)?;
        let socket = TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(broken)?;
        let certificate = socket.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let end_point = certificate.and_then(|certificate| tls::server_end_point(certificate));
        Ok(Channel::over(socket, end_point))
    }

    pub(super) fn over(stream: impl Duplex + 'static, end_point: Option<Vec<u8>>) -> Channel {
        Channel { stream: Box::new(stream), end_point, login: Some(Login::default()) }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = wire::no_address();
    for address in tokio::net::lookup_host((host, port)).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                wire::keep_alive(&socket)?;
                return Ok(socket);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Hands a channel to tokio-postgres as it is: what there is of TLS has happened, and the channel knows its binding.
pub(super) struct AsItIs;

impl TlsConnect<Channel> for AsItIs {
    type Stream = Channel;
    type Error = io::Error;
    type Future = Ready<io::Result<Channel>>;

    fn connect(self, channel: Channel) -> Self::Future {
        std::future::ready(Ok(channel))
    }
}

impl TlsStream for Channel {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// A request that the login must not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// An authentication method that would give the password away, or that is not known, by its code.
    Method(i32),
    /// A message shorter than it must be, or longer than any is here.
    Length {
        /// The message's type.
        tag: u8,
        /// What it claims.
        length: i32,
    },
    /// A message that belongs elsewhere, by its type.
    Type(u8),
    /// Messages without an end.
    Endless,
}

impl Unanswered {
    /// As an error of the login of `user`.
    pub(super) fn into_error(self, user: &str) -> Error {
        match self {
            Unanswered::Method(method) => auth::unacceptable(method, user),
            Unanswered::Length { tag, length } => frame::impossible(tag, length),
            Unanswered::Type(tag) => unexpected(tag),
            Unanswered::Endless => endless(STARTUP_BYTES_MAX),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Method(code) => write!(f, "the server asks for authentication method {code}"),
            Unanswered::Length { tag, length } => f.write_str(frame::impossible(*tag, *length).detail()),
            Unanswered::Type(tag) => f.write_str(unexpected(*tag).detail()),
            Unanswered::Endless => f.write_str(endless(STARTUP_BYTES_MAX).detail()),
        }
    }
}

impl std::error::Error for Unanswered {}

/// Reads along with the server's messages: a tag, four bytes of length (its own four counted), the body; the body of an
/// authentication request (`R`) begins with a code (Postgres docs, "Message Formats").
#[derive(Default)]
pub(super) struct Login {
    /// The beginning of the message, up to and with a request's code.
    head: Vec<u8>,
    /// Bytes of the message that do not matter.
    skip: usize,
    /// What the message claims to be long, without its tag.
    length: usize,
    /// Bytes in all.
    heard: usize,
    /// MD5 may be answered.
    md5: bool,
}

impl Login {
    /// The bytes that came next; whether the login is done: ReadyForQuery was among them.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<bool, Unanswered> {
        for byte in bytes {
            self.heard += 1;
            if self.heard > STARTUP_BYTES_MAX {
                return Err(Unanswered::Endless);
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.head.push(*byte);
            let counted = match *self.head.as_slice() {
                [tag, a, b, c, d] => {
                    let (length, least) = (i32::from_be_bytes([a, b, c, d]), if tag == b'R' { 8 } else { 4 });
                    if !b"RENSKZ".contains(&tag) {
                        return Err(Unanswered::Type(tag));
                    }
                    let possible =
                        usize::try_from(length).ok().filter(|bytes| (least..STARTUP_BYTES_MAX).contains(bytes));
                    self.length = possible.ok_or(Unanswered::Length { tag, length })?;
                    match tag {
                        b'R' => continue,
                        b'Z' => return Ok(true),
                        _ => 4,
                    }
                }
                [_, _, _, _, _, e, f, g, h] => match i32::from_be_bytes([e, f, g, h]) {
                    // AuthenticationOk; SCRAM: SASL, SASLContinue, SASLFinal.
                    0 | 10..=12 => 8,
                    5 if self.md5 => 8,
                    code => return Err(Unanswered::Method(code)),
                },
                _ => continue,
            };
            self.skip = self.length.saturating_sub(counted);
            self.head.clear();
        }
        Ok(false)
    }
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let channel = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut channel.stream).poll_read(cx, into))?;
        if let Some(login) = &mut channel.login {
            match login.follow(into.filled().get(before..).unwrap_or_default()) {
                Ok(done) => channel.login = channel.login.take().filter(|_| !done),
                Err(asked) => {
                    into.set_filled(before);
                    return Poll::Ready(Err(io::Error::other(asked)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
