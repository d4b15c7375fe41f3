//! What the environment has switched on.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};

use super::{Failpoint, Mutation};

const FAILPOINT: &str = "WALWRIGHT_FAILPOINT";
const MUTATION: &str = "WALWRIGHT_MUTATION";

/// A failpoint with what happens at its count-th passing.
struct Armed {
    point: Failpoint,
    left: AtomicU64,
    deed: Deed,
}

#[derive(Clone, Copy)]
enum Deed {
    /// SIGKILL.
    Kill,
    /// The process goes on, and is killed so much later: for what begins here and cannot be seen on its way.
    KillAfter(Duration),
    /// This thread stays here for good, the others go on.
    Hold,
    /// This thread panics.
    Panic,
    /// SIGSTOP: the whole process stands still until somebody sends SIGCONT.
    Stop,
}

static ARMED: LazyLock<Result<Option<Armed>, String>> =
    LazyLock::new(|| std::env::var(FAILPOINT).ok().map(|text| armed(&text)).transpose());
static MUTATED: LazyLock<Result<Option<Mutation>, String>> =
    LazyLock::new(|| std::env::var(MUTATION).ok().map(|text| mutation(&text)).transpose());

#[inline]
pub(super) fn pass(point: Failpoint) {
    if let Ok(Some(armed)) = &*ARMED
        && armed.point == point
    {
        armed.pass();
    }
}

#[inline]
pub(super) fn mutated(mutation: Mutation) -> bool {
    matches!(&*MUTATED, Ok(Some(chosen)) if *chosen == mutation)
}

pub(super) fn check() -> Result<(), String> {
    let armed = ARMED.as_ref().map_err(String::clone)?;
    let mutation = MUTATED.as_ref().map_err(String::clone)?;
    if armed.is_some() || mutation.is_some() {
        let failpoint = armed.as_ref().map(|armed| armed.point.name());
        tracing::warn!(failpoint, mutation = mutation.map(Mutation::name), "faults are switched on");
    }
    Ok(())
}

/// `NAME:COUNT`, `NAME:COUNT:MICROSECONDS`, `NAME:COUNT:hold`, `NAME:COUNT:panic` or `NAME:COUNT:stop`.
fn armed(text: &str) -> Result<Armed, String> {
    let fault = || format!("{FAILPOINT}={text:?} is not NAME:COUNT[:MICROSECONDS|:hold|:panic|:stop]");
    let (name, rest) = text.split_once(':').ok_or_else(fault)?;
    let (count, deed) = rest.split_once(':').map_or((rest, None), |(count, deed)| (count, Some(deed)));
    let point = Failpoint::ALL.iter().find(|point| point.name() == name).ok_or_else(fault)?;
    let deed = match deed {
        None => Deed::Kill,
        Some("hold") => Deed::Hold,
        Some("panic") => Deed::Panic,
        Some("stop") => Deed::Stop,
        Some(micros) => Deed::KillAfter(Duration::from_micros(micros.parse().map_err(|_| fault())?)),
    };
    let count: u64 = count.parse().map_err(|_| fault())?;
    if count == 0 {
        return Err(fault());
    }
    Ok(Armed { point: *point, left: AtomicU64::new(count), deed })
}

fn mutation(text: &str) -> Result<Mutation, String> {
    let known = Mutation::ALL.iter().find(|mutation| mutation.name() == text);
    known.copied().ok_or_else(|| format!("{MUTATION}={text:?} names no mutation"))
}

impl Armed {
    #[cold]
    fn pass(&self) {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken == Ok(1) {
            self.act();
        }
    }

    fn act(&self) {
        match self.deed {
            Deed::Kill => kill(),
            Deed::KillAfter(delay) => {
                let late = move || {
                    let _elapsed = crossbeam_channel::after(delay).recv();
                    kill();
                };
                if std::thread::Builder::new().name("fault".to_owned()).spawn(late).is_err() {
                    kill();
                }
            }
            Deed::Hold => loop {
                std::thread::park();
            },
            Deed::Panic => panic!("a failpoint"),
            Deed::Stop => {
                // To this thread: one to the process may be taken by another, while this one goes on for a while.
                let _stopped = raise(Signal::SIGSTOP);
            }
        }
    }
}

/// The end as the kernel's OOM killer makes it: no destructor, no flush, no last word.
fn kill() {
    let _dying = raise(Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_name_a_count_and_what_is_done() {
        for text in
            ["commit-sent:3", "commit-sent:3:1500", "commit-sent:1:hold", "commit-sent:1:panic", "commit-sent:1:stop"]
        {
            assert_eq!(armed(text).map(|armed| armed.point), Ok(Failpoint::CommitSent), "{text}");
        }
        for text in ["commit-sent", "commit-sent:0", "commit-sent:x", "comit-sent:1", "commit-sent:1:later", ""] {
            assert!(armed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_unique_and_a_misspelt_one_is_refused() {
        let points: std::collections::BTreeSet<_> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(points.len(), Failpoint::ALL.len());
        assert!(Mutation::ALL.iter().all(|known| mutation(known.name()) == Ok(*known)));
        assert!(mutation("ack_on_send").is_err());
    }
}
