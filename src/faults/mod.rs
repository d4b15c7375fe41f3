//! Faults on purpose: points at which a test ends or stops the process, and mistakes that a test switches on.
//!
//! Only a build with the feature `faults` has them, and a build without debug assertions (a release) refuses the feature.
//! Elsewhere each call is an empty function, so that it may stand on the path of a row. Both are chosen by the
//! environment: `WALWRIGHT_FAILPOINT=commit-sent:3` and `WALWRIGHT_MUTATION=ack-on-send`.

#[cfg(feature = "faults")]
mod armed;
mod guard;
mod name;

pub use name::{Failpoint, Mutation};

/// Whether this build has them.
pub const ENABLED: bool = cfg!(feature = "faults");

/// The process passes this point.
#[inline]
pub fn pass(point: Failpoint) {
    #[cfg(feature = "faults")]
    armed::pass(point);
    #[cfg(not(feature = "faults"))]
    let _ = point;
}

/// Whether this mistake is to be made.
#[inline]
pub fn mutated(mutation: Mutation) -> bool {
    #[cfg(feature = "faults")]
    return armed::mutated(mutation);
    #[cfg(not(feature = "faults"))]
    {
        let _ = mutation;
        false
    }
}

/// Says in the log what is switched on. The error is a variable that cannot be read: a point that is never reached
/// because its name is misspelt would prove nothing.
pub fn check() -> Result<(), String> {
    #[cfg(feature = "faults")]
    armed::check()?;
    Ok(())
}
