//! The thread that owns the socket while it streams.
//!
//! ```text
//!            +-- status due? send it (also while every buffer is out)
//!   loop: ---+-- whole messages and a free buffer? hand over
//!            +-- room? read, check the new messages, pause a moment if there is a backlog
//!            +-- else wait: for the socket, a buffer, `confirm`, `stop` or the next deadline
//! ```
//! It reports as confirmed what `confirm` was told and nothing else: the ledger decides, not the reader.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::frame::{self, Frame, HEADER_BYTES, MESSAGE_BYTES_MAX};
use super::frames::{Frames, Pool};
use super::pace::{Gathering, Next, Pace, StatusClock};
use super::refusal::{During, Refusal};
use super::session::malformed;
use super::settings::StreamSettings;
use super::stream::{Order, Shared};
use super::wire::Wire;
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint};
use crate::model::Lsn;

/// How long a stopped stream waits for the server's good-bye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a checked message means for the loop.
#[derive(PartialEq, Eq)]
enum Heard {
    Stream,
    /// ReadyForQuery or CommandComplete: the server has left the stream.
    End,
}

pub(super) struct Reader {
    wire: Wire,
    pool: Pool,
    handover: Sender<Frames>,
    shared: Arc<Shared>,
    publication: String,
    receive_timeout: Duration,
    /// A silence of this length is questioned, with each status update from then on.
    question_after: Duration,
    /// Filled up to `filled`; whole, checked messages up to `whole`.
    buffer: Vec<u8>,
    filled: usize,
    whole: usize,
    status: StatusClock,
    pace: Pace,
    /// More of a backlog follows at once: what was received waits for it.
    gathers: bool,
    heard_at: Instant,
    /// The silence has been questioned.
    questioned: bool,
    /// The server's clock in microseconds since 2000-01-01, and when it said so.
    server_time: (i64, Instant),
    /// When the transaction that is being received was committed, by the same clock.
    committed_at_us: i64,
}

impl Reader {
    /// `received` is what came after CopyBothResponse already.
    pub(super) fn new(
        wire: Wire,
        received: &[u8],
        handover: Sender<Frames>,
        shared: Arc<Shared>,
        publication: String,
        settings: &StreamSettings,
    ) -> Reader {
        let now = Instant::now();
        let gathering = if wire.is_loopback() { Gathering::OVER_LOOPBACK } else { Gathering::ELSEWHERE };
        let mut pool = Pool::new(settings.buffers, settings.buffer_bytes, Arc::clone(&shared.wake));
        let mut buffer = pool.take().unwrap_or_default();
        buffer.resize(buffer.len().max(received.len()), 0);
        buffer.iter_mut().zip(received).for_each(|(to, from)| *to = *from);
        Reader {
            wire,
            pool,
            handover,
            status: StatusClock::new(settings.status_interval, shared.confirmed(), now),
            shared,
            publication,
            receive_timeout: settings.receive_timeout,
            question_after: settings.status_interval.min(settings.receive_timeout / 2),
            buffer,
            filled: received.len(),
            whole: 0,
            pace: Pace::new(gathering, now),
            gathers: false,
            heard_at: now,
            questioned: false,
            server_time: (0, now),
            committed_at_us: 0,
        }
    }

    /// Reads until it is told to stop (Ok) or cannot go on. What was received whole is handed over before an error.
    pub(super) fn run(mut self) -> Result<()> {
        let outcome = self.stream();
        if outcome.is_err() && self.whole > 0 {
            self.hand_over_before(Vec::new());
        }
        match self.shared.order() {
            Order::Leave if outcome.is_ok() => self.leave(),
            _ => outcome,
        }
    }

    fn stream(&mut self) -> Result<()> {
        self.check_new()?;
        while self.shared.order() == Order::Stream {
            self.send_due_status()?;
            let waits = self.gathers && self.filled < self.buffer.len();
            if !waits && !self.hand_over() {
                return Ok(());
            }
            if !self.make_room() {
                // Silence counts only while we listen.
                self.heard_at = Instant::now();
                self.wait(false)?;
                self.heard_at = Instant::now();
                continue;
            }
            match self.read()? {
                0 if self.gathers => self.gathers = false,
                0 => {
                    self.pace.idle();
                    self.wait(true)?;
                }
                count => self.received(count)?,
            }
        }
        Ok(())
    }

    fn received(&mut self, count: usize) -> Result<()> {
        self.filled += count;
        (self.heard_at, self.questioned) = (Instant::now(), false);
        if self.check_new()? == Heard::End {
            return Err(Error::new(Kind::PostgresNotReady, "the server ended the stream; it is shutting down"));
        }
        let next = self.pace.after(count, self.age(), self.heard_at);
        self.gathers = next == Next::Gather;
        if let Next::Pause(pause) = next
            && self.hand_over()
        {
            #[allow(clippy::disallowed_methods, reason = "the pause lets the socket gather; being woken is its cost")]
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// How long after its commit the newest data was sent, by the server's clock.
    fn age(&self) -> Duration {
        let micros = self.server_time.0.saturating_sub(self.committed_at_us);
        if self.committed_at_us == 0 {
            Duration::ZERO
        } else {
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        }
    }

    /// Bytes read into the buffer; 0: none are there now.
    fn read(&mut self) -> Result<usize> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.wire.read(room) {
            Ok(0) => Err(broken(io::Error::other("the server closed the connection"))),
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(broken(error)),
        }
    }

    /// Checks the messages that are whole since the last look.
    fn check_new(&mut self) -> Result<Heard> {
        let mut heard = Heard::Stream;
        let mut newest = Newest::default();
        while let Some(rest) = self.buffer.get(self.whole..self.filled) {
            let Some((tag, body, total)) = frame::message(rest, MESSAGE_BYTES_MAX)? else { break };
            match tag {
                b'd' => newest.note(&frame::copy_data(body).ok_or_else(|| malformed("CopyData message"))?),
                b'E' => return Err(Refusal::parse(body).into_error(During::Stream(&self.publication))),
                b'N' | b'S' => {}
                b'c' | b'C' | b'Z' => heard = Heard::End,
                _ => return Err(malformed(&format!("message of type {:?} in the stream", char::from(tag)))),
            }
            self.whole += total;
        }
        self.note(&newest);
        Ok(heard)
    }

    fn note(&mut self, newest: &Newest) {
        if let Some(wal_end) = newest.asked_at {
            self.status.asked(wal_end);
        }
        if newest.server_time_us != 0 {
            self.server_time = (newest.server_time_us, self.heard_at);
        }
        self.committed_at_us = newest.committed_at_us.unwrap_or(self.committed_at_us);
        self.shared.note_received(newest.wal_end);
    }

    /// Hands the whole messages over if a buffer is free to go on with. False: nobody takes them any more.
    fn hand_over(&mut self) -> bool {
        if self.whole == 0 {
            return true;
        }
        self.pool.take().is_none_or(|next| self.hand_over_before(next))
    }

    /// Hands the whole messages over; the beginning of the one that is not whole moves to `next`.
    fn hand_over_before(&mut self, mut next: Vec<u8>) -> bool {
        let tail = self.buffer.get(self.whole..self.filled).unwrap_or_default();
        next.resize(next.len().max(tail.len()), 0);
        next.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        let (whole, tail) = (self.whole, tail.len());
        let full = std::mem::replace(&mut self.buffer, next);
        (self.whole, self.filled) = (0, tail);
        // The channel has room for every buffer there is, so it is never full.
        !matches!(self.handover.try_send(self.pool.frames(full, whole)), Err(TrySendError::Disconnected(_)))
    }

    /// Whether there is room to read into. A buffer that holds nothing but the beginning of one message grows, by no
    /// more than it already holds: a length that is only claimed costs no memory.
    fn make_room(&mut self) -> bool {
        if self.filled < self.buffer.len() {
            return true;
        }
        if self.whole > 0 {
            return false;
        }
        let needed = frame::header(&self.buffer, MESSAGE_BYTES_MAX).ok().flatten().map_or(HEADER_BYTES, |h| h.total);
        self.buffer.resize(needed.min(self.buffer.len() * 2).max(self.buffer.len() + 1), 0);
        true
    }

    fn send_due_status(&mut self) -> Result<()> {
        self.wire.flush().map_err(broken)?;
        let now = Instant::now();
        let silence = now.duration_since(self.heard_at);
        if silence >= self.receive_timeout {
            let seconds = silence.as_secs_f32();
            return Err(broken(io::Error::other(format!("the server has said nothing for {seconds:.1} s"))));
        }
        let silent = silence >= self.question_after;
        let due = silent && !self.questioned || self.status.due_at(self.shared.confirmed()) <= now;
        if self.wire.has_unsent() || !due {
            return Ok(());
        }
        self.questioned |= silent;
        self.send_status(silent, now)
    }

    fn send_status(&mut self, reply_requested: bool, now: Instant) -> Result<()> {
        let confirmed = self.shared.confirmed();
        let (server_time, said_at) = self.server_time;
        let elapsed = i64::try_from(now.duration_since(said_at).as_micros()).unwrap_or_default();
        let update = frame::status_update(confirmed, server_time.saturating_add(elapsed), reply_requested);
        self.wire.send(&update).map_err(broken)?;
        self.status.sent(confirmed, now);
        faults::pass(Failpoint::StatusSent);
        Ok(())
    }

    fn wait(&self, readable: bool) -> Result<()> {
        let now = Instant::now();
        let unsent = self.wire.has_unsent();
        let patience = if self.questioned || unsent { self.receive_timeout } else { self.question_after };
        let status_at = match unsent {
            // The socket's readiness decides, not the clock.
            true => self.heard_at + self.receive_timeout,
            false => self.status.due_at(self.shared.confirmed()),
        };
        let deadline = status_at.min(self.heard_at + patience);
        // Rounded up: a wait that ends just before its deadline would be followed by another.
        let timeout = deadline.saturating_duration_since(now) + Duration::from_micros(1);
        if self.wire.wait(self.shared.wake.fd(), readable, timeout).map_err(broken)? {
            self.shared.wake.clear();
        }
        Ok(())
    }

    /// The last status, CopyDone, the rest of what the server still sends (closing with unread bytes would reset the
    /// connection and could take the status with it), Terminate.
    fn leave(mut self) -> Result<()> {
        self.send_status(false, Instant::now())?;
        let mut goodbye = Vec::new();
        frame::put_message(&mut goodbye, b'c', &[]);
        self.wire.send(&goodbye).map_err(broken)?;
        self.receive_timeout = GOODBYE_TIMEOUT;
        self.heard_at = Instant::now();
        let deadline = self.heard_at + GOODBYE_TIMEOUT;
        while Instant::now() < deadline && !matches!(self.discard(), Ok(Heard::End) | Err(_)) {}
        let mut terminate = Vec::new();
        frame::put_message(&mut terminate, b'X', &[]);
        // A server that has hung up already needs no good-bye.
        drop(self.wire.send(&terminate));
        faults::pass(Failpoint::StreamLeft);
        Ok(())
    }

    fn discard(&mut self) -> Result<Heard> {
        self.buffer.copy_within(self.whole..self.filled, 0);
        (self.filled, self.whole) = (self.filled - self.whole, 0);
        self.make_room();
        match self.read()? {
            0 => self.wait(true)?,
            count => self.filled += count,
        }
        self.wire.flush().map_err(broken)?;
        self.check_new()
    }
}

/// The newest of what a run of messages said.
#[derive(Default)]
struct Newest {
    wal_end: Lsn,
    server_time_us: i64,
    asked_at: Option<Lsn>,
    /// 0: nothing is late.
    committed_at_us: Option<i64>,
}

impl Newest {
    fn note(&mut self, frame: &Frame<'_>) {
        match *frame {
            Frame::Data { wal_end, server_time_us, body, .. } => {
                self.wal_end = self.wal_end.max(wal_end);
                self.server_time_us = server_time_us;
                if let Some(time) = begin_time(body) {
                    self.committed_at_us = Some(time);
                }
            }
            Frame::Keepalive { wal_end, server_time_us, reply_requested } => {
                self.wal_end = self.wal_end.max(wal_end);
                self.server_time_us = server_time_us;
                // A keepalive between data says that the server has nothing more to send at the moment.
                self.committed_at_us = Some(0);
                if reply_requested {
                    self.asked_at = Some(wal_end);
                }
            }
        }
    }
}

/// The commit time in a Begin message: byte `B`, the commit's LSN, the time. The one thing that the reader knows of
/// pgoutput, and only to tell a backlog from fresh data.
fn begin_time(body: &[u8]) -> Option<i64> {
    let (_, time) = body.strip_prefix(b"B")?.split_first_chunk::<8>()?;
    time.first_chunk().map(|time| i64::from_be_bytes(*time))
}

fn broken(error: io::Error) -> Error {
    Error::new(Kind::PostgresUnreachable, format!("the replication connection broke: {error}")).because(error)
}
