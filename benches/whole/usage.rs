//! What a process has used so far, as Linux counts it; see proc(5).

use crate::support::Result;

/// The kernel reports times in this unit to every program, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu_s: f64,
    /// The highest resident set size.
    pub(crate) peak_mib: f64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name in parentheses may contain anything; utime and stime are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/PID/stat has no name")?;
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak_kib: f64 = peak.ok_or("/proc/PID/status has no VmHWM")?.parse()?;
        Ok(Self { cpu_s: ticks as f64 / TICKS_PER_SECOND, peak_mib: peak_kib / 1024.0 })
    }
}
