//! The thread that takes a producer's delivery reports, and what else its client has to say.
//!
//! A poll of the client lasts until its timeout whatever arrives; it waits for whole milliseconds, and spins through what is
//! left of the last one. So it is polled for long while records are in flight, and looked at now and then while none are.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
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
    /// None: it is to end.
    woken: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Polling {
    pub(super) fn start(client: &Arc<BaseProducer<Deliveries>>) -> Result<Polling> {
        let (woken, wakes) = bounded(1);
        let client = client.clone();
        let spawned = Builder::new().name("deliveries".to_owned()).spawn(move || poll(&client, &wakes));
        let thread = spawned.map_err(|error| Error::new(Kind::Bug, "cannot start a thread").because(error))?;
        Ok(Polling { woken: Some(woken), thread: Some(thread) })
    }

    /// Records were handed over.
    pub(super) fn wake(&self) {
        // Full: it has been told.
        let _told = self.woken.as_ref().map(|woken| woken.try_send(()));
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.woken = None;
        // What a panic there says has been said.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn poll(client: &BaseProducer<Deliveries>, wakes: &Receiver<()>) {
    loop {
        if matches!(wakes.recv_timeout(IDLE), Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        (0..SAID).for_each(|_| client.poll(Duration::ZERO));
        while client.in_flight_count() > 0 {
            client.poll(BUSY);
            if matches!(wakes.try_recv(), Err(TryRecvError::Disconnected)) {
                return;
            }
        }
    }
}
