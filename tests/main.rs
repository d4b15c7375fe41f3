//! The integration tests: one binary, so that the servers start once.

mod flow;
mod stack;
mod support;
