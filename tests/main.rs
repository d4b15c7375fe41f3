//! The integration tests: one binary, so that the servers start once.

mod contract;
mod flow;
mod property;
mod oracle;
mod stack;
mod support;
