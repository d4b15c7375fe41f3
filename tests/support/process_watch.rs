//! What a daemon holds of its machine, once a second: resident memory and open file descriptors, and whether they grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Result;

const PERIOD: Duration = Duration::from_secs(1);

/// One look at a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds since the process was first seen.
    pub(crate) age_s: f64,
    pub(crate) resident_bytes: f64,
    pub(crate) descriptors: f64,
}

/// A process from its first look to its last. Slopes are by least squares, over what is behind the first quarter of its
/// life: in that, caches and queues fill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) seconds: f64,
    pub(crate) samples: usize,
    pub(crate) resident_bytes_max: f64,
    pub(crate) resident_bytes_last: f64,
    pub(crate) resident_bytes_per_hour: f64,
    pub(crate) descriptors_max: f64,
    pub(crate) descriptors_last: f64,
    pub(crate) descriptors_per_hour: f64,
}

impl Life {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let Some(last) = samples.last() else { return Self::default() };
        let grown: Vec<_> = samples.iter().filter(|sample| sample.age_s >= last.age_s / 4.0).collect();
        let per_hour = |value: fn(&Sample) -> f64| {
            let points: Vec<_> = grown.iter().map(|sample| (sample.age_s, value(sample))).collect();
            slope(&points) * 3_600.0
        };
        let most = |value: fn(&Sample) -> f64| samples.iter().map(value).fold(0.0, f64::max);
        Self {
            seconds: last.age_s,
            samples: samples.len(),
            resident_bytes_max: most(|sample| sample.resident_bytes),
            resident_bytes_last: last.resident_bytes,
            resident_bytes_per_hour: per_hour(|sample| sample.resident_bytes),
            descriptors_max: most(|sample| sample.descriptors),
            descriptors_last: last.descriptors,
            descriptors_per_hour: per_hour(|sample| sample.descriptors),
        }
    }
}

/// Of the line that is nearest to the points; 0 where there is none.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (rise, run) = points.iter().fold((0.0, 0.0), |(rise, run), point| {
        (rise + (point.0 - x) * (point.1 - y), run + (point.0 - x) * (point.0 - x))
    });
    if run > 0.0 { rise / run } else { 0.0 }
}

pub(crate) struct ProcessWatch {
    process: Arc<AtomicU32>,
    stop: Sender<()>,
    thread: JoinHandle<Life>,
}

impl ProcessWatch {
    pub(crate) fn start() -> Result<Self> {
        let ((stop, stopped), process) = (channel(), Arc::new(AtomicU32::new(0)));
        let watched = Arc::clone(&process);
        let thread = Builder::new().name("process-watch".to_owned()).spawn(move || watch(&stopped, &watched))?;
        Ok(Self { process, stop, thread })
    }

    /// This one from now on.
    pub(crate) fn follow(&self, process: u32) {
        self.process.store(process, Ordering::SeqCst);
    }

    /// The longest life that was seen.
    pub(crate) fn finish(self) -> Result<Life> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the watchdog of the process panicked".into())
    }
}

fn watch(stop: &Receiver<()>, process: &AtomicU32) -> Life {
    let (mut longest, mut samples, mut begun, mut current) = (Life::default(), Vec::new(), Instant::now(), 0);
    loop {
        let ended = !matches!(stop.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout));
        let id = process.load(Ordering::SeqCst);
        if ended || id != current {
            let life = Life::of(&samples);
            if life.seconds > longest.seconds {
                longest = life;
            }
            samples.clear();
            (begun, current) = (Instant::now(), id);
        }
        if ended {
            return longest;
        }
        samples.extend(look(id, begun));
    }
}

/// None where it does not run.
fn look(process: u32, begun: Instant) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = resident.split_whitespace().next()?.parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    let age_s = begun.elapsed().as_secs_f64();
    Some(Sample { age_s, resident_bytes: kilobytes * 1024.0, descriptors: descriptors as f64 })
}
