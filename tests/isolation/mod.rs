//! Several connectors in one daemon: what happens to one is its own affair.

mod many;
mod neighbours;
mod reload;
