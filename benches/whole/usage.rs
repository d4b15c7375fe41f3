//! What processes have used so far, as Linux counts it; see proc(5).

use std::time::{Duration, Instant};

use crate::support::Result;

/// The kernel reports times in this unit to every program, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu_s: f64,
    /// The highest resident set size.
    pub(crate) peak_mib: f64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak_kib: f64 = peak.ok_or("/proc/PID/status has no VmHWM")?.parse()?;
        Ok(Self { cpu_s: cpu_s(process)?, peak_mib: peak_kib / 1024.0 })
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        (self.peak_mib * f64::from(1 << 20)) as u64
    }
}

/// User and system time of all threads, also of a process that has ended and that nobody has waited for.
pub(crate) fn cpu_s(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may contain anything; utime and stime are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/PID/stat has no name")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// The time that the threads with these names have run, all together; see sched-stats in the kernel's documentation.
pub(crate) fn threads_s(process: u32, names: &[&str]) -> Result<f64> {
    let mut run_ns = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        // A thread may end between two looks.
        let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
        let Ok(times) = std::fs::read_to_string(task.join("schedstat")) else { continue };
        if names.contains(&name.trim_end()) {
            run_ns += times.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(run_ns as f64 / 1e9)
}

/// The time for which all cores of the machine were busy.
fn busy_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or("/proc/stat has no cpu line")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq ..
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field)).sum();
    Ok(busy / TICKS_PER_SECOND)
}

/// Measures a stretch of time: of Kafka's broker what it uses, of the machine what others do.
pub(crate) struct Meter {
    pub(crate) begun: Instant,
    kafka: Option<u32>,
    kafka_s: f64,
    busy_s: f64,
    own_s: f64,
}

pub(crate) struct Stretch {
    pub(crate) elapsed: Duration,
    pub(crate) kafka_s: f64,
    pub(crate) foreign_cores: f64,
}

impl Meter {
    pub(crate) fn start(kafka: Option<u32>) -> Result<Self> {
        let kafka_s = kafka.map_or(Ok(0.0), cpu_s)?;
        let (busy_s, own_s) = (busy_s()?, cpu_s(std::process::id())?);
        Ok(Self { begun: Instant::now(), kafka, kafka_s, busy_s, own_s })
    }

    /// `used_s`: what those who were measured beside it used of the CPU.
    pub(crate) fn stop(&self, used_s: f64) -> Result<Stretch> {
        let elapsed = self.begun.elapsed();
        let kafka_s = self.kafka.map_or(Ok(0.0), cpu_s)? - self.kafka_s;
        let known_s = used_s + kafka_s + cpu_s(std::process::id())? - self.own_s;
        let foreign_s = (busy_s()? - self.busy_s - known_s).max(0.0);
        Ok(Stretch { elapsed, kafka_s, foreign_cores: foreign_s / elapsed.as_secs_f64() })
    }
}
