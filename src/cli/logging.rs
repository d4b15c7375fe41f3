//! Log lines: human on a terminal, JSON elsewhere. Lines that nobody takes are lost, and hold nothing up.

use std::io::{self, IsTerminal, Stderr, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bars::Bars;
use super::takes_colours;
use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

/// How long a line waits for whoever reads standard error; behind one that was lost, it does not wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a pipe takes at once that has room (pipe(7), PIPE_BUF).
const PIECE: usize = 4096;

/// Installs the subscriber; lines go to standard error. On a terminal, the bars that may stand below them.
pub(super) fn init(format: LogFormat, level: tracing::Level) -> Result<Option<Arc<Bars>>> {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let is_terminal = io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let bars = (human && is_terminal).then(Arc::<Bars>::default);
    let done = match &bars {
        Some(bars) => {
            let bars = bars.clone();
            builder.with_ansi(takes_colours(&io::stderr())).with_writer(move || bars.above()).try_init()
        }
        None => {
            let lost = Arc::new(Mutex::new(0));
            let writer = move || Lines { to: io::stderr(), lost: lost.clone(), human };
            match human {
                true => builder.with_ansi(false).with_writer(writer).try_init(),
                false => builder.json().flatten_event(true).with_writer(writer).try_init(),
            }
        }
    };
    done.map_err(|error| Error::new(Kind::Bug, format!("logging cannot be started: {error}")))?;
    Ok(bars)
}

/// Standard error, of which a full pipe or disk stops nobody who logs: the thread that moves rows does, too.
struct Lines<W = Stderr> {
    to: W,
    /// Lines since the last one that was written. Its lock is also whose turn it is, so that a piece that fits still does.
    lost: Arc<Mutex<u64>>,
    human: bool,
}

impl<W: Write + AsFd> Lines<W> {
    /// Whether all of it was taken.
    fn taken(&mut self, line: &[u8], patience: Duration) -> bool {
        let mut pieces = line.chunks(PIECE);
        pieces.all(|piece| has_room(&self.to, patience) && self.to.write_all(piece).is_ok())
    }

    fn note(&self, lost: u64) -> String {
        match self.human {
            true => format!("WARN lines of the log were lost, nobody took them lines={lost}\n"),
            false => {
                format!(
                    "{{\"level\":\"WARN\",\"message\":\"lines of the log were lost, nobody took them\",\"lines\":{lost}}}\n"
                )
            }
        }
    }
}

impl<W: Write + AsFd> Write for Lines<W> {
    /// Never an error, which the subscriber would print to where it came from, and panic.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = self.lost.clone();
        let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if *lost == 0 { PATIENCE } else { Duration::ZERO };
        if *lost > 0 && self.taken(self.note(*lost).as_bytes(), patience) {
            *lost = 0;
        }
        if !self.taken(line, patience) {
            *lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn has_room(to: &impl AsFd, patience: Duration) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    poll(&mut [PollFd::new(to, PollFlags::OUT)], Some(&patience)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read};

    use super::*;

    fn lines() -> (PipeReader, Lines<PipeWriter>) {
        let (from, to) = io::pipe().unwrap();
        (from, Lines { to, lost: Arc::default(), human: false })
    }

    /// Faults: PRC-18.
    #[test]
    fn lines_that_nobody_takes_are_lost_and_counted() {
        let (mut from, mut lines) = lines();
        let line = [b'x'; 1000];
        for _ in 0..200 {
            assert_eq!(lines.write(&line).unwrap(), 1000);
        }
        let lost = *lines.lost.lock().unwrap();
        assert!((100..200).contains(&lost), "a pipe takes some: {lost} are lost");
        let mut taken = vec![0; 200_000];
        assert!(from.read(&mut taken).unwrap() < 100_000);
        lines.write_all(b"again\n").unwrap();
        let read = from.read(&mut taken).unwrap();
        let text = String::from_utf8_lossy(&taken[..read]).into_owned();
        assert!(text.ends_with(&format!("nobody took them\",\"lines\":{lost}}}\nagain\n")), "{text}");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (from, mut lines) = lines();
        drop(from);
        lines.write_all(b"line\n").unwrap();
        assert_eq!(*lines.lost.lock().unwrap(), 1);
    }
}
