//! Received buffers on their way to whoever decodes them, and back.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, eventfd};

use super::frame::FrameIter;

/// Wakes the reader out of its wait for the socket.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> std::io::Result<Wake> {
        Ok(Wake(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn ring(&self) {
        // It fails only when the counter is full, and then the reader is as good as awake.
        rustix::io::write(&self.0, &1u64.to_ne_bytes()).ok();
    }

    /// Makes the next wait wait again.
    pub(super) fn clear(&self) {
        rustix::io::read(&self.0, &mut [0; 8]).ok();
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where buffers come home to.
#[derive(Debug)]
pub(super) struct Home {
    back: Sender<Vec<u8>>,
    starved: AtomicBool,
    wake: Arc<Wake>,
    buffer_bytes: usize,
}

/// The reader's side: at most so many buffers exist, made when they are first needed.
pub(super) struct Pool {
    home: Arc<Home>,
    returned: Receiver<Vec<u8>>,
    unmade: usize,
}

impl Pool {
    pub(super) fn new(buffers: usize, buffer_bytes: usize, wake: Arc<Wake>) -> Pool {
        let (back, returned) = crossbeam_channel::bounded(buffers);
        let home = Home { back, starved: AtomicBool::new(false), wake, buffer_bytes };
        Pool { home: Arc::new(home), returned, unmade: buffers }
    }

    /// A free buffer, all its length to be filled. None: all are in use, and the wake rings when one comes home.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if let Ok(buffer) = self.returned.try_recv() {
            return Some(buffer);
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return Some(vec![0; self.home.buffer_bytes]);
        }
        self.home.starved.store(true, Ordering::SeqCst);
        // One may have come home between the look and the flag.
        self.returned.try_recv().ok()
    }

    /// `buffer` with its first `len` bytes, whole messages, to be handed over.
    pub(super) fn frames(&self, buffer: Vec<u8>, len: usize) -> Frames {
        Frames { buffer, len, home: Arc::clone(&self.home) }
    }
}

/// A run of whole messages in an owned buffer. Dropping it (or `Stream::recycle`) gives the buffer back to the reader,
/// which waits once all of them are out.
pub struct Frames {
    buffer: Vec<u8>,
    len: usize,
    home: Arc<Home>,
}

impl Frames {
    /// The frames in stream order, as views over the buffer.
    pub fn iter(&self) -> FrameIter<'_> {
        FrameIter::new(self.buffer.get(..self.len).unwrap_or_default())
    }

    /// Received bytes, the envelopes included.
    pub fn bytes(&self) -> usize {
        self.len
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = super::Frame<'a>;
    type IntoIter = FrameIter<'a>;

    fn into_iter(self) -> FrameIter<'a> {
        self.iter()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() > self.home.buffer_bytes {
            // It had grown for a long message; memory goes back to what was promised.
            buffer = vec![0; self.home.buffer_bytes];
        }
        // There is room for every buffer that exists; only a reader that is gone refuses one.
        drop(self.home.back.try_send(buffer));
        if self.home.starved.swap(false, Ordering::SeqCst) {
            self.home.wake.ring();
        }
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("bytes", &self.len).finish_non_exhaustive()
    }
}
