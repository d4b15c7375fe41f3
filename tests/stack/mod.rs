//! The servers of the stack start, die and come back.
