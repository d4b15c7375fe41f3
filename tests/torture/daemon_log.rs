//! What the daemon may not say while its servers die around it.

/// Lines that are faults: panics, and whatever the daemon itself calls an error. A connector that halts is one.
pub(super) fn faults(log: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains("panicked at") || is_error(line)).map(str::to_owned).collect()
}

/// Whether the line is of level ERROR. A line that a kill cut off has the next start's first line at its end.
fn is_error(line: &str) -> bool {
    line.contains(r#""level":"ERROR""#) || line.split_whitespace().any(|word| word == "ERROR")
}
