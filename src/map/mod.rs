//! Stage 3: which events a change yields. Pure.
