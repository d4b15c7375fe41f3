//! Compiles what takes the place of a function of glibc (`src/kafka/condition.c`).

fn main() {
    println!("cargo::rerun-if-changed=src/kafka/condition.c");
    let glibc = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if glibc {
        // Nothing names it before librdkafka does, whose turn comes later: it must not be left out.
        let mut build = cc::Build::new();
        build.file("src/kafka/condition.c").std("c17").link_lib_modifier("+whole-archive").compile("condition");
    }
}
