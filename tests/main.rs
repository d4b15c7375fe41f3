//! The integration tests: one binary, so that the servers start once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod contract;
mod deploy;
mod face;
mod faults;
mod flow;
mod guides;
mod isolation;
mod login;
mod majors;
mod oracle;
mod property;
mod refusal;
mod resume;
mod snapshot;
mod stack;
mod support;
