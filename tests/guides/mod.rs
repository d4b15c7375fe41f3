//! The guides, tried: commands are run as the page has them, samples against a daemon.

mod clients;
mod consumers;
mod quickstart;
mod takeover;
