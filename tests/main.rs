//! The integration tests: one binary, so that the servers start once.

mod stack;
mod support;
