//! The part between start and proof: the workload writes, the screen shows what becomes of it.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Arguments;
use super::screen::{Screen, grouped};
use super::watch::{Watch, percentiles_ms};
use crate::support::daemon::Daemon;
use crate::support::oms::expected::{Counts, since};
use crate::support::oms::site::{Site, metric};
use crate::support::oms::workload::journal::Journal;
use crate::support::oms::workload::{Pace, Workload};
use crate::support::sandbox::random;
use crate::support::{Context, Result, runtime};

const TICK: Duration = Duration::from_secs(1);
/// An event is shown this often.
const TICKS_PER_SAMPLE: u32 = 4;

pub(super) struct Live<'a> {
    pub(super) screen: &'a Screen,
    pub(super) watch: &'a Watch,
    pub(super) daemon: &'a Daemon,
    pub(super) seconds: Option<u64>,
}

/// What was written in which time.
pub(super) struct Lived {
    pub(super) journal: Journal,
    pub(super) elapsed: Duration,
    pub(super) due: Counts,
}

impl Lived {
    pub(super) fn events_per_second(&self) -> f64 {
        self.due.values().sum::<u64>() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Live<'_> {
    /// Runs the workload until it is told to end.
    pub(super) fn run(&self, site: &Site<'_>, arguments: &Arguments) -> Result<Lived> {
        let before = site.expected_counts()?;
        let mut workload = Workload::new(&site.connection()?, arguments.seed.unwrap_or_else(random), arguments.writers);
        let pace = Pace { rate: Some(arguments.rate), transactions_per_writer: None };
        let (stop, stopped) = watch::channel(false);
        let mut interrupts = Interrupts::new()?;
        let begun = Instant::now();
        let running = runtime()?.spawn(async move { workload.run(&stopped, pace).await });
        let shown = self.show(begun, &mut interrupts, || running.is_finished());
        stop.send_replace(true);
        let journal = runtime()?.block_on(running).context("the workload")?;
        shown?;
        let elapsed = begun.elapsed();
        Ok(Lived { journal, elapsed, due: since(&before, &site.expected_counts()?) })
    }

    /// Once a second, until a signal, the end of the time, or the end of those who are watched.
    fn show(&self, begun: Instant, interrupts: &mut Interrupts, ended: impl Fn() -> bool) -> Result<()> {
        for tick in 1.. {
            let due = begun + TICK * tick;
            if interrupts.come_before(due)? || ended() || self.watch.has_ended() {
                break;
            }
            if let Some(sample) = self.watch.with(|seen| seen.take_sample()) {
                self.screen.print(&sample);
            }
            self.screen.status(&self.line(begun)?);
            if tick % TICKS_PER_SAMPLE == 0 {
                self.watch.with(|seen| seen.ask_for_sample());
            }
            if self.seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds)) {
                break;
            }
        }
        Ok(())
    }

    fn line(&self, begun: Instant) -> Result<String> {
        let log = self.daemon.log_file();
        let metrics = self.daemon.get("/metrics").context(format!("walwright ({}) does not answer", log.display()))?;
        let value = |name| metric(&metrics, name).unwrap_or(f64::NAN);
        let (lag_s, lag_bytes) = (value("walwright_lag_seconds"), value("walwright_lag_bytes"));
        let ([p50, p95, p99], recent, total) = self.watch.with(|seen| {
            let figures = (percentiles_ms(&seen.recent_us), seen.recent_us.len(), seen.total);
            seen.recent_us.reset();
            figures
        });
        let elapsed = begun.elapsed().as_secs();
        Ok(format!(
            "{:>3}:{:02}  {:>6} events/s  lag {lag_s:.3} s {:>5.0} kB  p50 {p50:.1}  p95 {p95:.1}  p99 {p99:.1} ms  {} seen",
            elapsed / 60,
            elapsed % 60,
            grouped(recent),
            lag_bytes / 1000.0,
            grouped(total),
        ))
    }
}

/// Ctrl-C and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        let _entered = runtime()?.enter();
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    fn come_before(&mut self, due: Instant) -> Result<bool> {
        let signal = async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        };
        let wait = due.saturating_duration_since(Instant::now());
        Ok(runtime()?.block_on(async { timeout(wait, signal).await }).is_ok())
    }
}
