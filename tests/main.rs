//! The integration tests: one binary, so that the servers start once.

mod contract;
mod flow;
mod oracle;
mod property;
mod stack;
mod support;
