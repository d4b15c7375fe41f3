//! Style as a test: who may import whom, and how long files and functions may be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use walwright::error::Kind;

/// What a top-level module may import of the crate. A stage imports only the vocabulary; `pipeline` alone sees two stages.
/// `faults`, which is empty in a release, everybody may.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &["model"]),
    ("faults", &[]),
    ("model", &[]),
    ("contract", &["error", "model"]),
    ("connector", &["contract", "error", "model"]),
    ("config", &["connector", "contract", "error", "kafka", "model", "registry"]),
    ("source", &["error", "model"]),
    ("decode", &["error", "model"]),
    ("map", &["connector", "contract", "error", "model"]),
    ("encode", &["connector", "contract", "error", "model"]),
    ("registry", &["connector", "contract", "error", "model"]),
    ("kafka", &["error"]),
    ("publish", &["error", "kafka", "model"]),
    ("checkpoint", &["error", "kafka", "model"]),
    ("snapshot", &["error", "model"]),
    (
        "pipeline",
        &[
            "checkpoint",
            "config",
            "connector",
            "contract",
            "decode",
            "encode",
            "error",
            "kafka",
            "map",
            "model",
            "publish",
            "registry",
            "snapshot",
            "source",
        ],
    ),
    ("admin", &["error", "model", "pipeline"]),
    (
        "cli",
        &[
            "admin",
            "checkpoint",
            "config",
            "connector",
            "contract",
            "error",
            "kafka",
            "model",
            "pipeline",
            "publish",
            "registry",
            "source",
        ],
    ),
    ("main", &["cli"]),
    // In no build but the tests' and the fuzzer's.
    ("hostile", &["checkpoint", "config", "connector", "contract", "decode", "error", "model", "snapshot", "source"]),
];

/// Pure modules: no sockets, no clock, no runtime, no Kafka.
const PURE: &[&str] = &[
    "src/decode",
    "src/map",
    "src/encode",
    "src/model",
    "src/checkpoint/ledger.rs",
    "src/checkpoint/judge.rs",
    "src/checkpoint/record.rs",
    "src/checkpoint/repeats.rs",
    "src/snapshot",
];
const IMPURE: &[&str] = &["tokio", "rdkafka", "std::net", "std::time::Instant", "SystemTime", "std::thread", "std::fs"];

const FILE_LINES_MAX: usize = 500;
const FILE_LINES_P95: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const FUNCTION_LINES_P95: usize = 45;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The code of a file: without its `mod tests { .. }`, and empty for a file that is a tests module itself.
fn code(path: &Path, text: &str) -> String {
    let is_tests = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    if is_tests { String::new() } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned() }
}

fn top_module(path: &Path) -> String {
    let part = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    part.trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_import_only_downwards() {
    let may: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = top_module(&path);
        if module == "lib" {
            continue;
        }
        let allowed = may.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table of imports"));
        for (number, line) in code(&path, &text).lines().enumerate() {
            let line = line.split("//").next().unwrap();
            for prefix in ["crate::", "walwright::"] {
                for rest in line.split(prefix).skip(1) {
                    let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let known = [module.as_str(), "faults", ""].contains(&target.as_str());
                    if !known && !allowed.contains(&target.as_str()) {
                        wrong.push(format!("{}:{}: {module} imports {target}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "new edges between modules:\n{}", wrong.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        if !PURE.iter().any(|pure| path.starts_with(pure)) {
            continue;
        }
        for (number, line) in code(&path, &text).lines().enumerate() {
            let line = line.split("//").next().unwrap();
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "I/O, clock or threads in pure modules:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let mut sizes: Vec<(usize, PathBuf)> =
        sources("src").into_iter().map(|(path, text)| (code(&path, &text).lines().count(), path)).collect();
    sizes.sort();
    let (longest, path) = sizes.last().unwrap();
    assert!(*longest <= FILE_LINES_MAX, "{} has {longest} lines, the limit is {FILE_LINES_MAX}", path.display());
    let (p95, path) = &sizes[sizes.len() * 95 / 100];
    assert!(*p95 <= FILE_LINES_P95, "p95 of files is {p95} lines ({}), the limit is {FILE_LINES_P95}", path.display());
}

/// Lines of each function, from `fn` to the brace that closes it at the same indentation (rustfmt's form).
fn functions(path: &Path, text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let is_function =
            line.trim_start().split(' ').take(4).any(|word| word == "fn") && !line.trim_start().starts_with("//");
        if !is_function || line.trim_end().ends_with(';') {
            continue;
        }
        let end = (start + 1..lines.len())
            .find(|i| lines[*i].trim_end() == format!("{}}}", " ".repeat(indent)))
            .filter(|_| !line.trim_end().ends_with('}'));
        let length = end.map_or(1, |end| end - start + 1);
        found.push((length, format!("{}:{}", path.display(), start + 1)));
    }
    found
}

#[test]
fn functions_stay_short() {
    let mut sizes: Vec<(usize, String)> =
        sources("src").iter().flat_map(|(path, text)| functions(path, &code(path, text))).collect();
    sizes.sort();
    let (longest, place) = sizes.last().unwrap();
    assert!(*longest <= FUNCTION_LINES_MAX, "{place} has {longest} lines, the limit is {FUNCTION_LINES_MAX}");
    let (p95, place) = &sizes[sizes.len() * 95 / 100];
    assert!(*p95 <= FUNCTION_LINES_P95, "p95 of functions is {p95} lines ({place}), the limit is {FUNCTION_LINES_P95}");
}

#[test]
fn main_is_short() {
    let lines = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap().lines().count();
    assert!(lines <= 120, "main.rs has {lines} lines");
}

#[test]
fn architecture_page_is_short() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let lines = fs::read_to_string(page).unwrap().lines().count();
    assert!(lines <= 200, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn no_unwrap_is_excused_outside_tests() {
    for (path, text) in sources("src") {
        let code = code(&path, &text);
        for word in ["allow(clippy::unwrap_used", "allow(clippy::expect_used", "expect(clippy::unwrap_used"] {
            assert!(!code.contains(word), "{} excuses {word}", path.display());
        }
    }
}

/// Wall clocks jump, so nothing is decided by one. These show it to people, and compare it with the server's for the lag.
/// Faults: PRC-13.
#[test]
fn wall_clocks_are_read_in_named_places_only() {
    let reading = sources("src").into_iter().filter(|(path, text)| code(path, text).contains("SystemTime"));
    let places: Vec<_> = reading.map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(places, ["src/cli/consent.rs", "src/pipeline/metrics/mod.rs", "src/pipeline/start.rs"]);
}

/// A test's name, as the pages spell it: module and function, below `tests/`; those of `src/` begin with the crate's name.
/// With it the faults of the matrix that it names above itself (`/// Faults: ACK-01, PG-03.`). What `make torture` and
/// `make sweep` run is named by its function.
fn shown() -> BTreeMap<String, BTreeSet<String>> {
    let mut shown = BTreeMap::new();
    for (path, text) in sources("tests").into_iter().chain(sources("src")) {
        let command = path.starts_with("tests/torture") || path.starts_with("tests/trial");
        let (mut faults, mut is_test) = (BTreeSet::new(), false);
        for line in text.lines() {
            let words = line.trim_start();
            if let Some(named) = words.strip_prefix("/// Faults: ") {
                faults = named.trim_end_matches('.').split(", ").map(str::to_owned).collect();
            } else if words == "#[test]" {
                is_test = true;
            } else if let Some(rest) = words.trim_start_matches("pub(crate) ").strip_prefix("fn ") {
                let name = rest.split('(').next().unwrap();
                if is_test || command && !faults.is_empty() {
                    shown.insert(test_name(&path, line.starts_with(' '), name), std::mem::take(&mut faults));
                }
                assert!(faults.is_empty(), "{}: {name} names faults and is no test", path.display());
                is_test = false;
            }
        }
    }
    shown
}

fn test_name(path: &Path, indented: bool, function: &str) -> String {
    let module = path.with_extension("").display().to_string();
    let module = module.trim_end_matches("/mod").replace('/', "::");
    match module.split_once("::").unwrap() {
        ("tests", module) => format!("{module}::{function}"),
        // Within proptest's macro what stands in a file of tests is indented too.
        (_, module) if indented && !module.ends_with("tests") && !module.contains("::tests::") => {
            format!("walwright::{module}::tests::{function}")
        }
        (_, module) => format!("walwright::{module}::{function}"),
    }
}

/// The names between backticks that have the form of a test's.
fn tests_in(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).map(str::to_owned).collect()
}

/// The rows of a page's tables that begin with an id: it, and the rest of the row.
fn rows(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
    let row = |line: &str| {
        let (id, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        let is_id = id.ends_with(|last: char| last.is_ascii_digit()) && id.contains('-');
        is_id.then(|| (id.to_owned(), rest.trim_end_matches(" |").to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// The pages claim nothing that no test shows: what they name exists.
#[test]
fn every_test_that_a_page_names_exists() {
    let shown = shown();
    for page in ["fault-model.md", "their-bugs.md", "fault-matrix.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
        let names =
            tests_in(&text).into_iter().filter(|name| name.matches("::").count() >= 2 || page != "fault-model.md");
        let missing: Vec<_> = names.filter(|name| !shown.contains_key(name)).collect();
        assert!(missing.is_empty(), "{page}: no such test: {missing:#?}");
        assert!(tests_in(&text).len() > 20, "{page}");
    }
}

/// The page of the fault matrix and the tests name each other.
#[test]
fn the_fault_matrix_is_that_of_the_tests() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (test, faults) in shown() {
        for fault in faults {
            named.entry(fault).or_default().insert(test.clone());
        }
    }
    let rows = rows("fault-matrix.md");
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), rows.len(), "an id has two rows");
    for (id, rest) in &rows {
        let tests = rest.rsplit(" | ").next().map(tests_in).unwrap_or_default();
        assert_eq!(named.remove(id).unwrap_or_default(), tests, "{id}: the tests that name it, and the page");
        assert!(!tests.is_empty() || rest.len() > 30, "{id} has neither a test nor a reason");
    }
    assert!(named.is_empty(), "not on the page: {named:?}");
    let automated = rows.iter().filter(|(_, rest)| !tests_in(rest).is_empty()).count();
    println!("{automated} faults are shown by tests, {} are not", rows.len() - automated);
    assert!(automated >= 100, "{automated} faults are shown by tests");
}

/// Incidents of other systems: each has a test here, or the reason why it has none.
#[test]
fn what_others_got_wrong_is_tried_here() {
    let rows = rows("their-bugs.md");
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), rows.len(), "an incident has two rows");
    let last = |rest: &str| rest.rsplit(" | ").next().unwrap().to_owned();
    let shown = rows.iter().filter(|(_, rest)| !tests_in(&last(rest)).is_empty()).count();
    assert!(rows.iter().all(|(_, rest)| last(rest).len() > 20), "neither a test nor a reason");
    println!("{shown} incidents are tried by tests, {} are not", rows.len() - shown);
    assert!(shown >= 75, "{shown} of {} incidents are tried", rows.len());
}

/// Each kind of error is brought about on real servers somewhere, and what is said is compared from its first word on.
#[test]
fn every_kind_of_error_is_compared_with_its_text() {
    let tests: Vec<String> = sources("tests").into_iter().map(|(_, text)| text).collect();
    let assertions: Vec<&str> = tests
        .iter()
        .flat_map(|text| text.split("assert_eq!(").skip(1))
        .filter_map(|rest| rest.split(");\n").next())
        .collect();
    let compared = |kind: &Kind| {
        let begins = [format!("\"{kind}: "), format!("\"error: {kind}: ")];
        assertions.iter().any(|assertion| begins.iter().any(|begin| assertion.contains(begin)))
    };
    let missing: Vec<_> = Kind::ALL.iter().filter(|kind| !compared(kind)).collect();
    assert!(missing.is_empty(), "no test compares the text of {missing:?}");
}

/// `rustc` on the file that refuses it, with the feature and debug assertions on or off; true where it compiles.
fn guard_compiles(feature: bool, debug_assertions: bool) -> bool {
    let mut rustc = std::process::Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()));
    rustc.args(["--crate-name=guard", "--crate-type=lib", "--emit=metadata", "--edition=2024", "-o"]);
    rustc.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guard-{feature}-{debug_assertions}.rmeta")));
    rustc.arg(format!("-Cdebug-assertions={debug_assertions}"));
    if feature {
        rustc.arg("--cfg=feature=\"faults\"");
    }
    let guard = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/faults/guard.rs");
    let output = rustc.arg(guard).output().unwrap();
    let refused = String::from_utf8_lossy(&output.stderr).contains("a release build must not have it");
    assert_ne!(output.status.success(), refused, "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

#[test]
fn a_release_cannot_have_faults() {
    assert!(!guard_compiles(true, false), "the feature is refused without debug assertions");
    assert!(guard_compiles(true, true) && guard_compiles(false, false));
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(!release.contains("debug-assertions"), "a release has no debug assertions");
    assert!(!manifest.contains("default = ["), "and no feature by default");
}
