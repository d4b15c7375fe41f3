//! When to report and when to pause: the reader's two decisions about time, without a clock of their own.

use std::time::{Duration, Instant};

use crate::model::Lsn;

/// A confirmed position that has moved is reported no later than this, and no more often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// A shutting-down walsender asks again as soon as it is answered: the same answer is not given more often than this.
const REPEAT_INTERVAL: Duration = Duration::from_millis(10);

/// When the next standby status update is due.
#[derive(Debug)]
pub(super) struct StatusClock {
    interval: Duration,
    sent_at: Instant,
    sent: Lsn,
    /// The server asked for a reply that it has not got.
    reply_owed: bool,
    /// The `wal_end` with which it asked: a server that wants to stop waits for this to be confirmed.
    asked_for: Option<Lsn>,
}

impl StatusClock {
    /// `sent` is what the server knows already: the position at which the stream was started.
    pub(super) fn new(interval: Duration, sent: Lsn, now: Instant) -> StatusClock {
        StatusClock { interval, sent_at: now, sent, reply_owed: false, asked_for: None }
    }

    /// The server asked for a reply at `wal_end`.
    pub(super) fn asked(&mut self, wal_end: Lsn) {
        self.reply_owed = true;
        self.asked_for = Some(wal_end);
    }

    /// When to send, if `confirmed` stays what it is.
    pub(super) fn due_at(&self, confirmed: Lsn) -> Instant {
        let moved = confirmed > self.sent;
        let wait = match self.asked_for {
            _ if self.reply_owed && moved => Duration::ZERO,
            Some(wal_end) if moved && confirmed >= wal_end => Duration::ZERO,
            _ if self.reply_owed => REPEAT_INTERVAL,
            _ if moved => PROGRESS_INTERVAL,
            _ => self.interval,
        };
        self.sent_at + wait.min(self.interval)
    }

    /// An update with `confirmed` was sent.
    pub(super) fn sent(&mut self, confirmed: Lsn, now: Instant) {
        (self.sent, self.sent_at, self.reply_owed) = (confirmed, now, false);
        self.asked_for = self.asked_for.filter(|wal_end| confirmed < *wal_end);
    }
}

/// A transaction that is sent so long after its commit, by the server's own clock, is part of a backlog.
const BACKLOG_AGE: Duration = Duration::from_millis(50);
/// So many bytes within `WINDOW` mean that the server is sending as fast as it can.
const FLOOD_BYTES: usize = 16 * 1024;
const WINDOW: Duration = Duration::from_millis(2);
/// In a flood, a pause that gathered less than this was one too many.
const GATHERED_BYTES: usize = 2 * 1024;
/// Long enough to gather, short enough for what is not late yet.
const FLOOD_PAUSE: Duration = Duration::from_micros(400);

/// How a backlog gathers between us and the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathering {
    /// Reads that yield less than this leave room for more to gather.
    short_read_bytes: usize,
    pause: Duration,
}

impl Gathering {
    /// In the server's send queue, behind the narrow window of `Wire`: the pause is long beside the time in which the
    /// window fills. Reads that yield about half a window or more find the next half sent already.
    pub(super) const OVER_LOOPBACK: Gathering =
        Gathering { short_read_bytes: 16 * 1024, pause: Duration::from_millis(5) };
    /// In our receive queue: the pause is short enough that it does not fill and stop the sender.
    pub(super) const ELSEWHERE: Gathering =
        Gathering { short_read_bytes: 64 * 1024, pause: Duration::from_micros(400) };
}

/// What to do after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Hand over, read again.
    Read,
    /// Read again, there is more: of a backlog, so nothing is late by it.
    Gather,
    /// Hand over, pause for so long, then read again.
    Pause(Duration),
}

/// Whether to pause before the next read.
///
/// A walsender sends one message per system call and wakes a waiting reader each time. A reader that lets some hundred
/// microseconds gather costs a tenth of the CPU and leaves the server more for decoding. That is right only while there
/// is a backlog, where nothing is late by it: caught up, the reader takes every byte as it comes.
#[derive(Debug)]
pub(super) struct Pace {
    gathering: Gathering,
    window_start: Instant,
    window_bytes: usize,
    in_flood: bool,
}

impl Pace {
    pub(super) fn new(gathering: Gathering, now: Instant) -> Pace {
        Pace { gathering, window_start: now, window_bytes: 0, in_flood: false }
    }

    /// A read yielded `bytes`, sent `age` after their transaction's commit.
    pub(super) fn after(&mut self, bytes: usize, age: Duration, now: Instant) -> Next {
        if now.duration_since(self.window_start) > WINDOW {
            (self.window_start, self.window_bytes) = (now, 0);
        }
        self.window_bytes += bytes;
        let flood = if self.in_flood { bytes >= GATHERED_BYTES } else { self.window_bytes >= FLOOD_BYTES };
        let is_short = bytes < self.gathering.short_read_bytes;
        self.in_flood = flood && is_short;
        match age >= BACKLOG_AGE {
            true if is_short => Next::Pause(self.gathering.pause),
            true => Next::Gather,
            false if self.in_flood => Next::Pause(FLOOD_PAUSE),
            false => Next::Read,
        }
    }

    /// Nothing was there to read.
    pub(super) fn idle(&mut self) {
        self.in_flood = false;
        self.window_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn status_is_due_by_interval_by_progress_and_at_once_when_asked() {
        let t0 = Instant::now();
        let mut clock = StatusClock::new(MS * 3000, Lsn(10), t0);
        assert_eq!(clock.due_at(Lsn(10)), t0 + MS * 3000);
        assert_eq!(clock.due_at(Lsn(11)), t0 + MS * 1000, "progress");
        clock.asked(Lsn(20));
        assert_eq!(clock.due_at(Lsn(10)), t0 + MS * 10, "asked");
        clock.sent(Lsn(10), t0 + MS);
        assert_eq!(clock.due_at(Lsn(15)), t0 + MS * 1001, "answered, and not yet where the server waits");
        assert_eq!(clock.due_at(Lsn(20)), t0 + MS, "what the server waits for goes at once");
        clock.sent(Lsn(20), t0 + MS * 2);
        assert_eq!(clock.due_at(Lsn(21)), t0 + MS * 1002, "and only once");
    }

    #[test]
    fn a_short_interval_bounds_every_wait() {
        let t0 = Instant::now();
        let clock = StatusClock::new(MS * 300, Lsn(1), t0);
        assert_eq!(clock.due_at(Lsn(2)), t0 + MS * 300);
    }

    const PAUSE: Next = Next::Pause(FLOOD_PAUSE);

    #[test]
    fn a_trickle_is_never_delayed_and_a_flood_is() {
        let t0 = Instant::now();
        let mut pace = Pace::new(Gathering::ELSEWHERE, t0);
        // Two hundred transactions of 3 KiB a second, each in twelve messages at once.
        for tick in 0..200 {
            for _ in 0..12 {
                assert_eq!(pace.after(250, MS, t0 + MS * 5 * tick), Next::Read);
            }
            pace.idle();
        }
        let flood = t0 + MS * 2000;
        let first_pause = (0..100).position(|_| pace.after(300, MS, flood) == PAUSE).unwrap();
        assert_eq!(first_pause, 16 * 1024 / 300);
        assert_eq!(pace.after(20_000, MS, flood + MS), PAUSE, "goes on while pauses gather");
        assert_eq!(pace.after(100_000, MS, flood + MS * 2), Next::Read, "a long read needs no pause");
        assert_eq!(pace.after(20_000, MS, flood + MS * 3), PAUSE);
        assert_eq!(pace.after(100, MS, flood + MS * 4 + MS), Next::Read, "a pause that gathered nothing was the last");
    }

    #[test]
    fn what_is_late_already_may_gather_however_slow_the_server() {
        let t0 = Instant::now();
        for gathering in [Gathering::OVER_LOOPBACK, Gathering::ELSEWHERE] {
            let mut pace = Pace::new(gathering, t0);
            assert_eq!(pace.after(300, MS * 50, t0), Next::Pause(gathering.pause));
            assert_eq!(pace.after(300, MS * 5000, t0 + MS * 10), Next::Pause(gathering.pause));
            assert_eq!(pace.after(gathering.short_read_bytes, MS * 50, t0 + MS * 15), Next::Gather, "more is there");
            assert_eq!(pace.after(300, MS, t0 + MS * 20), Next::Read);
        }
    }
}
