//! The start table, row by row, and two daemons for one connector.

mod gaps;
mod owners;
mod removal;
mod servers;
mod slots;
mod unreadable;
