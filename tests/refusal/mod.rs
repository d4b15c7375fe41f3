//! Bad input: what is said, word by word, and that nothing is published of it.

mod brokers;
pub(crate) mod database;
mod files;
mod grants;
mod registry;
mod slots;
mod tables;
