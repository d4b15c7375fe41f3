//! The start table, row by row, and two daemons for one connector.

mod fast;
mod gaps;
mod owners;
mod removal;
pub(crate) mod servers;
pub(crate) mod slots;
mod unreadable;
