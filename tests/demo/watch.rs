//! The subscriber that watches while the demo runs: it counts, times and decodes every event as it comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rdkafka::message::{BorrowedMessage, Message};

use super::sample::sample;
use super::screen::Colours;
use crate::support::event::Decoder;
use crate::support::oms::expected::Counts;
use crate::support::subscriber::Subscriber;
use crate::support::{Result, poll};

/// After so many events a sample is taken of a type that was shown before.
const SAMPLE_AFTER: u64 = 200;
/// What takes longer counts as an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Latencies in microseconds, from the commit's time on the source to the receipt of the event.
pub(super) struct Seen {
    pub(super) counts: Counts,
    pub(super) total: u64,
    pub(super) latency_us: Histogram<u64>,
    /// Since it was last taken.
    pub(super) recent_us: Histogram<u64>,
    wish: Wish,
    shown: BTreeMap<String, u64>,
}

/// Whether the main thread would like to show an event.
enum Wish {
    None,
    /// Events passed by since.
    Wanted(u64),
    Granted(String),
}

impl Watch {
    /// Reads from the topics' beginnings.
    pub(super) fn start(subscriber: Subscriber, decoder: Decoder, colours: Colours) -> Result<Self> {
        let seen = Seen {
            counts: Counts::new(),
            total: 0,
            latency_us: Histogram::new_with_max(LATENCY_MAX_US, 3)?,
            recent_us: Histogram::new_with_max(LATENCY_MAX_US, 3)?,
            wish: Wish::Wanted(0),
            shown: BTreeMap::new(),
        };
        let (seen, stop) = (Arc::new(Mutex::new(seen)), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let watch = move || read(&subscriber, decoder, colours, &shared, &stopped);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(watch)?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An error of the reader ends the watch early.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has seen as many events of each type as are due, or has ended; false: they have not come.
    pub(super) fn await_events(&self, due: &Counts, within: Duration) -> Result<bool> {
        let all_there = || self.with(|seen| due.iter().all(|(name, due)| seen.counts.get(name).unwrap_or(&0) >= due));
        Ok(poll(within, || Ok((all_there() || self.has_ended()).then_some(())))?.is_some())
    }

    /// Stops reading; an error of the reader comes up here.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("the watch was stopped before")?;
        thread.join().unwrap_or_else(|_| Err("the subscriber that watches panicked".into()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(
    subscriber: &Subscriber,
    mut decoder: Decoder,
    colours: Colours,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        if let Some(message) = subscriber.next(Duration::from_millis(100))? {
            let received_us = now_us();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.record(&message, received_us, &mut decoder, colours)?;
        }
    }
    Ok(())
}

impl Seen {
    fn record(
        &mut self,
        message: &BorrowedMessage<'_>,
        received_us: i64,
        decoder: &mut Decoder,
        colours: Colours,
    ) -> Result<()> {
        let event = message.payload().map(|value| decoder.decode(value)).transpose()?;
        if let Some(committed_us) = event.as_ref().and_then(|event| event.occurred_at_us()) {
            let latency = u64::try_from(received_us - committed_us).unwrap_or(0);
            self.latency_us.saturating_record(latency);
            self.recent_us.saturating_record(latency);
        }
        let name =
            event.as_ref().map_or_else(|| format!("{} tombstone", message.topic()), |event| event.name.to_owned());
        if self.is_wanted(&name) {
            self.wish = Wish::Granted(sample(message, event.as_ref(), colours));
            *self.shown.entry(name.clone()).or_default() += 1;
        }
        *self.counts.entry(name).or_default() += 1;
        self.total += 1;
        Ok(())
    }

    /// Types that were not shown yet come first.
    fn is_wanted(&mut self, name: &str) -> bool {
        let Wish::Wanted(passed) = &mut self.wish else { return false };
        *passed += 1;
        let least = self.shown.values().min().copied().unwrap_or(0);
        !self.shown.contains_key(name) || (*passed > SAMPLE_AFTER && self.shown.get(name) == Some(&least))
    }

    /// The sample that was asked for, if there is one by now.
    pub(super) fn take_sample(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.wish, Wish::None) {
            Wish::Granted(sample) => Some(sample),
            wish => {
                self.wish = wish;
                None
            }
        }
    }

    /// Latencies count from now on.
    pub(super) fn forget_latencies(&mut self) {
        self.latency_us.reset();
        self.recent_us.reset();
    }

    pub(super) fn ask_for_sample(&mut self) {
        if matches!(self.wish, Wish::None) {
            self.wish = Wish::Wanted(0);
        }
    }
}

/// `p50`, `p95` and `p99` in milliseconds.
pub(super) fn percentiles_ms(latency_us: &Histogram<u64>) -> [f64; 3] {
    [0.50, 0.95, 0.99].map(|quantile| latency_us.value_at_quantile(quantile) as f64 / 1000.0)
}

#[allow(clippy::disallowed_methods, reason = "commit times are wall-clock times, of the server on this machine")]
fn now_us() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_micros()).unwrap_or(i64::MAX)
}
