//! A running replication stream, as seen by whoever takes its frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use super::frames::{Frames, Wake};
use super::reader::Reader;
use super::settings::StreamSettings;
use super::wire::Wire;
use crate::error::{Error, Kind, Result};
use crate::model::Lsn;

/// What the reader is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Stream,
    /// Report once more, say good-bye, end.
    Leave,
    /// End at once.
    Quit,
}

/// What both sides see.
pub(super) struct Shared {
    confirmed: AtomicU64,
    received: AtomicU64,
    order: AtomicU8,
    pub(super) wake: Arc<Wake>,
}

impl Shared {
    pub(super) fn new(confirmed: Lsn, wake: Wake) -> Shared {
        let (received, order) = (AtomicU64::new(confirmed.0), AtomicU8::new(0));
        Shared { confirmed: AtomicU64::new(confirmed.0), received, order, wake: Arc::new(wake) }
    }

    pub(super) fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::Acquire))
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Stream,
            1 => Order::Leave,
            _ => Order::Quit,
        }
    }

    pub(super) fn note_received(&self, wal_end: Lsn) {
        self.received.fetch_max(wal_end.0, Ordering::AcqRel);
    }

    fn give(&self, order: Order) {
        let code = match order {
            Order::Stream => 0,
            Order::Leave => 1,
            Order::Quit => 2,
        };
        self.order.fetch_max(code, Ordering::AcqRel);
        self.wake.ring();
    }
}

/// A stream that a thread of its own reads. Dropping it ends the thread without a good-bye.
pub struct Stream {
    /// The frames in stream order. The channel closes when the stream ends; `finish` then says why.
    pub frames: Receiver<Frames>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<Result<()>>>,
}

impl Stream {
    pub(super) fn spawn(
        wire: Wire,
        received: &[u8],
        from: Lsn,
        publication: &str,
        settings: &StreamSettings,
    ) -> Result<Stream> {
        let failed =
            |error: std::io::Error| Error::new(Kind::Bug, "the replication reader did not start").because(error);
        wire.start_streaming().map_err(failed)?;
        let shared = Arc::new(Shared::new(from, Wake::new().map_err(failed)?));
        let (handover, frames) = crossbeam_channel::bounded(settings.buffers);
        let reader = Reader::new(wire, received, handover, Arc::clone(&shared), publication.to_owned(), settings);
        let reader = std::thread::Builder::new().name("source".to_owned()).spawn(|| reader.run()).map_err(failed)?;
        Ok(Stream { frames, shared, reader: Some(reader) })
    }

    /// Gives a buffer back; the same as dropping it.
    pub fn recycle(&self, frames: Frames) {
        drop(frames);
    }

    /// Kafka has committed everything below `lsn`: the server may forget it. A lower position than before is ignored.
    pub fn confirm(&self, lsn: Lsn) {
        if self.shared.confirmed.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.shared.wake.ring();
        }
    }

    /// What was confirmed last.
    pub fn confirmed(&self) -> Lsn {
        self.shared.confirmed()
    }

    /// The newest position that the server has named.
    pub fn received_wal_end(&self) -> Lsn {
        Lsn(self.shared.received.load(Ordering::Acquire))
    }

    /// Ends the stream in good order: what was received and not taken is dropped, the confirmed position (`last`, if
    /// it is further) is reported a last time.
    ///
    /// # Errors
    /// The stream had ended by itself, or the last report could not be sent.
    pub fn stop(mut self, last: Option<Lsn>) -> Result<()> {
        last.into_iter().for_each(|lsn| self.confirm(lsn));
        self.end(Order::Leave)
    }

    /// Why the channel closed.
    pub fn finish(mut self) -> Error {
        match self.end(Order::Quit) {
            Err(error) => error,
            Ok(()) => Error::new(Kind::Bug, "the replication stream was finished while it ran"),
        }
    }

    fn end(&mut self, order: Order) -> Result<()> {
        self.shared.give(order);
        let Some(reader) = self.reader.take() else { return Ok(()) };
        reader.join().unwrap_or_else(|_| Err(Error::new(Kind::Bug, "the replication reader panicked")))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Whoever drops it has a reason of its own; the reader's is no news.
        drop(self.end(Order::Quit));
    }
}

#[cfg(test)]
mod tests;
