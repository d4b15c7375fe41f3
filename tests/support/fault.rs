//! Where a daemon is to end, or stand still: a failpoint, how often it is passed before, and what happens there.

use std::fmt;
use std::time::Duration;

use walwright::faults::Failpoint;

/// The environment variable that a daemon built with the feature `faults` reads.
pub(crate) const FAILPOINT: &str = "WALWRIGHT_FAILPOINT";
/// The one that switches a mistake on.
pub(crate) const MUTATION: &str = "WALWRIGHT_MUTATION";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) point: Failpoint,
    /// It happens at this passing, from 1 on.
    pub(crate) count: u32,
    pub(crate) deed: Deed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// SIGKILL there.
    Kill,
    /// The process goes on and gets SIGKILL so much later.
    KillAfter(Duration),
    /// The thread stays there, the others go on.
    Hold,
    /// SIGSTOP: the process stands still until it gets SIGCONT.
    Stop,
}

impl Fault {
    pub(crate) fn kill(point: Failpoint, count: u32) -> Self {
        Self { point, count, deed: Deed::Kill }
    }

    pub(crate) fn hold(point: Failpoint, count: u32) -> Self {
        Self { point, count, deed: Deed::Hold }
    }

    pub(crate) fn stop(point: Failpoint, count: u32) -> Self {
        Self { point, count, deed: Deed::Stop }
    }
}

/// As the environment variable has it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.point.name(), self.count)?;
        match self.deed {
            Deed::Kill => Ok(()),
            Deed::KillAfter(delay) => write!(f, ":{}", delay.as_micros()),
            Deed::Hold => f.write_str(":hold"),
            Deed::Stop => f.write_str(":stop"),
        }
    }
}
