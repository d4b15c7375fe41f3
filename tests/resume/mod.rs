//! The start table, row by row, and two daemons for one connector.

mod owners;
mod servers;
mod slots;
