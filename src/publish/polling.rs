//! The thread that takes a producer's delivery reports, and what else its client has to say.
//!
//! A poll of the client lasts until its timeout whatever arrives; it waits for whole milliseconds, and spins through what is
//! left of the last one. So it is polled for long while records are in flight, and looked at now and then while none are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer as _};

use super::delivery::Deliveries;
use crate::error::{Error, Kind, Result};

/// One poll while records are in flight. Its end waits for what is left of it. A little over whole milliseconds: where
/// nothing arrives in it, they are waited for in one go and nothing is left to spin through.
const BUSY: Duration = Duration::from_micros(200_050);
/// How often an idle client is looked at: it may have errors and lines of log.
const IDLE: Duration = Duration::from_millis(100);
/// What it may have to say at each look. A poll takes one thing, and does not tell whether there was one.
const SAID: usize = 16;

/// Ends the thread when dropped.
pub(super) struct Polling {
    ending: Arc<AtomicBool>,
    /// None: it has ended.
    thread: Option<JoinHandle<()>>,
}

impl Polling {
    pub(super) fn start(client: &Arc<BaseProducer<Deliveries>>) -> Result<Polling> {
        let ending = Arc::new(AtomicBool::new(false));
        let (client, ended) = (client.clone(), ending.clone());
        let spawned = Builder::new().name("deliveries".to_owned()).spawn(move || poll(&client, &ended));
        let thread = spawned.map_err(|error| Error::new(Kind::Bug, "cannot start a thread").because(error))?;
        Ok(Polling { ending, thread: Some(thread) })
    }

    /// Records were handed over.
    pub(super) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.wake();
        // What a panic there says has been said.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn poll(client: &BaseProducer<Deliveries>, ending: &AtomicBool) {
    while !ending.load(Ordering::Relaxed) {
        if client.in_flight_count() > 0 {
            client.poll(BUSY);
        } else {
            (0..SAID).for_each(|_| client.poll(Duration::ZERO));
            park_timeout(IDLE);
        }
    }
}
