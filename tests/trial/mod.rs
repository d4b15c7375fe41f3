//! Trials: connectors of their own on one set of servers, each with a fault on purpose, each judged.
//!
//! ```text
//! sweep   every failpoint, in both delivery modes: the daemon is killed there and started again, or stopped there and woken
//!         up behind another that has taken over; nothing may be amiss
//! proof   every mutation: the daemon makes a mistake, and a judge must say so; without it the same trial is clean
//!
//! connector   one trial's database, slot, topics, daemons and watchdog     script   what is written to its database
//! lanes       several at a time                                           judge    the oracle over all of them
//! ```

mod connector;
mod counts;
mod judge;
mod lanes;
pub(crate) mod proof;
mod scenario;
mod script;
pub(crate) mod sweep;
