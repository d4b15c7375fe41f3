//! Stands alone, so that a test can compile it in both ways.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests: a release build must not have it");
