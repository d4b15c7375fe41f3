//! What the unit tests of this stage share, and the golden bytes of its page.

pub(super) mod fixture;
mod golden;
