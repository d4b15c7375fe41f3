//! Our partitioner against the one in Kafka's Java client, over keys of all lengths and bytes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use walwright::publish::partition;

use crate::support::cache::JavaServers;
use crate::support::{Context, Result};

/// Keys from 0 to 40 bytes whose bytes take all values; the same each time.
fn keys() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..4000).map(|number| (0..number % 41).map(|_| byte()).collect()).collect()
}

#[test]
fn every_key_goes_where_the_java_client_sends_it() -> Result<()> {
    let (keys, counts) = (keys(), [1, 2, 3, 7, 12, 100]);
    let pairs = || keys.iter().enumerate().map(|(number, key)| (key, counts[number % counts.len()]));
    let mut lines = String::new();
    for (key, count) in pairs() {
        write!(lines, "{count} ")?;
        key.iter().try_for_each(|byte| write!(lines, "{byte:02x}"))?;
        lines.push('\n');
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flow/Partition.java");
    let mut java = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", &JavaServers::resolve()?.class_path()])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start java")?;
    java.stdin.take().ok_or("java has no standard input")?.write_all(lines.as_bytes())?;
    let output = java.wait_with_output()?;
    assert!(output.status.success(), "{}", output.status);
    let theirs: Vec<i32> =
        String::from_utf8(output.stdout)?.lines().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let ours: Vec<i32> = pairs().map(|(key, count)| partition(key, count)).collect();
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(ours, theirs);
    Ok(())
}
