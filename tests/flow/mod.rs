//! The stages against real servers.

mod publish;
