//! Bad input: what is said, word by word, and that nothing is published of it.

mod brokers;
mod database;
mod files;
mod registry;
mod slots;
mod tables;
