//! The sample consumers as their users run them: their own packages, in the user's cache folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cache::{cached, verify};
use crate::support::process::run;
use crate::support::{Context, Result};

/// `sha256sum`'s format, one line for each jar that examples/consumers/java/pom.xml resolves to.
const JARS: &str = include_str!("packages.lock");
const MAVEN_COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/consumers")
}

pub(super) fn java() -> Result<Command> {
    let lock: BTreeMap<_, _> =
        JARS.lines().filter_map(|line| line.split_once("  ")).map(|(sum, file)| (file, sum)).collect();
    let jars = cached("consumer-java", &lock, |jars| {
        let (pom, output) = (folder().join("java/pom.xml"), format!("-DoutputDirectory={}", jars.display()));
        run(Command::new("mvn").args(["-B", "-q", "-ntp", MAVEN_COPY, &output, "-f"]).arg(pom))?;
        verify(jars, &lock)
    })?;
    let mut java = Command::new("java");
    java.args([
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]);
    java.arg("-cp").arg(jars.join("*")).arg(folder().join("java/Consumer.java"));
    Ok(java)
}

pub(super) fn python() -> Result<Command> {
    let requirements = folder().join("python/requirements.txt");
    let locked = std::fs::read_to_string(&requirements).context(requirements.display())?;
    let version = run(Command::new("python3").arg("--version"))?;
    let key = BTreeMap::from([("python", version.trim()), ("requirements", &locked)]);
    // It may be renamed as long as only its bin/python is used.
    let environment = cached("consumer-python", &key, |environment| {
        run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
        run(pip.args(["--only-binary", ":all:", "-r"]).arg(&requirements)).map(drop)
    })?;
    let mut python = Command::new(environment.join("bin/python"));
    python.arg(folder().join("python/consumer.py"));
    Ok(python)
}

/// Cargo builds no example with a test that is asked for by name, so it is asked here; mostly it is there already.
pub(super) fn rust() -> Result<Command> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("the target folder has no name")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--profile", "ci", "--features", "faults", "--example", "consumer"]);
    // What Cargo tells a test about its package, build scripts would take for a change of theirs, and compile anew.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
            cargo.env_remove(name);
        }
    }
    run(cargo.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(Command::new(target.join("ci/examples/consumer")))
}
