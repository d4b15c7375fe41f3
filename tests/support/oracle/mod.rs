//! The judge of what subscribers see: Kafka's own client reads, three witnesses testify, Python compares. They are
//! Postgres' own `test_decoding`, the workload's journal, and the tables themselves.
//!
//! ```text
//! take_rows(), witness slot -> [the daemon works] -> take_rows(), take_witness()  \
//!                                workload's journal, read_committed()              > judge() -> Verdict
//! registry ----------------------------------------------------------------------/
//! ```
//!
//! Nothing here shares code with the daemon. oracle.py says what each counter means. `snapshot` is the judge of a snapshot.

pub(crate) mod snapshot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use walwright::model::Lsn;

use super::cache::{JavaServers, cached};
use super::process::run;
use super::sql::Sql;
use super::{Context, Result};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Changes fetched from the witness at a time; whole transactions, so somewhat more.
const FETCH: i32 = 50_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/oracle")
}

/// Creates the witness: a slot that from now on keeps every change of the database, decoded by Postgres itself.
pub(crate) fn create_witness(sql: &Sql, slot: &str) -> Result<()> {
    sql.query("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", &[&slot])?;
    Ok(())
}

/// Writes all that the witness has seen to a file, in the form of `COPY`, and empties the slot.
pub(crate) fn take_witness(sql: &Sql, slot: &str, into: &Path) -> Result<()> {
    sql.batch("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'; SET extra_float_digits = 1")?;
    let mut file = BufWriter::new(File::create(into).context(into.display())?);
    loop {
        let rows = sql.query(
            "SELECT lsn::text, xid::text, data FROM pg_logical_slot_get_changes($1, NULL, $2,
             'include-xids', '1', 'skip-empty-xacts', '1', 'include-timestamp', 'on')",
            &[&slot, &FETCH],
        )?;
        if rows.is_empty() {
            return Ok(file.flush()?);
        }
        for row in rows {
            let (lsn, xid, data): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let data = data.replace('\\', r"\\").replace('\n', r"\n").replace('\r', r"\r").replace('\t', r"\t");
            writeln!(file, "{lsn}\t{xid}\t{data}")?;
        }
    }
}

/// Writes every row of the publication's tables to a file, one JSON object a line, in Postgres' own text.
pub(crate) fn take_rows(sql: &Sql, publication: &str, into: &Path) -> Result<()> {
    sql.batch("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'; SET extra_float_digits = 1")?;
    let mut file = BufWriter::new(File::create(into).context(into.display())?);
    let query = "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename)
                 FROM pg_publication_tables WHERE pubname = $1";
    for table in sql.query(query, &[&publication])? {
        let table: &str = table.try_get(0)?;
        for row in sql.text_rows(&format!("SELECT * FROM {table}"))? {
            writeln!(file, "{}", serde_json::json!({ "table": table, "row": row }))?;
        }
    }
    Ok(file.flush()?)
}

/// Writes every record that a read_committed consumer finds in the topics to a file, one JSON object a line.
pub(crate) fn read_committed(brokers: &str, topics: &[String], into: &Path) -> Result<()> {
    let output = File::create(into).context(into.display())?;
    run(reader()?.args(["read", brokers]).args(topics).stdout(output))?;
    Ok(())
}

/// The partitions that Kafka's Java producer takes for these keys in a topic of `count` partitions.
pub(crate) fn producer_partitions(keys: &[Vec<u8>], count: u32) -> Result<Vec<u32>> {
    let mut reader = reader()?;
    let mut child =
        reader.args(["partition", &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // The reader answers once it has all keys, so it cannot block us.
    let mut input = child.stdin.take().ok_or("the reader has no standard input")?;
    let lines: String = keys.iter().map(|key| hex(key) + "\n").collect();
    input.write_all(lines.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| line.parse().context(line)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reader() -> Result<Command> {
    let mut java = Command::new("java");
    java.args([
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
    ]);
    java.args(["-cp", &JavaServers::resolve()?.class_path()]).arg(folder().join("Reader.java"));
    Ok(java)
}

/// What is compared with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// Base of the registry's REST API.
    pub(crate) registry: &'a str,
    /// As [`take_witness`] wrote it.
    pub(crate) witness: &'a Path,
    /// As the workload's journal wrote it, where there is one.
    pub(crate) journal: Option<&'a Path>,
    /// As [`take_rows`] wrote them: when the witness was created, and at rest.
    pub(crate) before: Option<&'a Path>,
    pub(crate) after: Option<&'a Path>,
    /// As [`read_committed`] wrote it.
    pub(crate) records: &'a Path,
    /// The connector's `[source] id`.
    pub(crate) source_id: &'a str,
    /// What the process file puts before each topic.
    pub(crate) topic_prefix: &'a str,
    /// The newest checkpoint's: everything before it is due, and nothing behind it may be seen.
    pub(crate) next_lsn: Lsn,
}

/// oracle.py's answer. From `loss` on they count mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) events: u64,
    /// Those of the source that yield events.
    pub(crate) transactions: u64,
    /// Those of them whose commit record starts where the one before ends.
    pub(crate) adjacent_commits: u64,
    /// Records of transactions behind the checkpoint, which are not due yet.
    pub(crate) unpublished: u64,
    pub(crate) loss: u64,
    pub(crate) phantom: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) torn: u64,
    pub(crate) wrong_values: u64,
    pub(crate) schema: u64,
    pub(crate) journal_loss: u64,
    pub(crate) journal_phantom: u64,
    pub(crate) journal_duplicates: u64,
    pub(crate) journal_reordered: u64,
    pub(crate) state: u64,
    /// The first mistakes of each counter.
    pub(crate) findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) counter: String,
    pub(crate) what: String,
}

impl Verdict {
    /// Every counter of mistakes by its name.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 12] {
        [
            ("loss", self.loss),
            ("phantom", self.phantom),
            ("duplicates", self.duplicates),
            ("reordered", self.reordered),
            ("torn", self.torn),
            ("wrong_values", self.wrong_values),
            ("schema", self.schema),
            ("journal_loss", self.journal_loss),
            ("journal_phantom", self.journal_phantom),
            ("journal_duplicates", self.journal_duplicates),
            ("journal_reordered", self.journal_reordered),
            ("state", self.state),
        ]
    }

    pub(crate) fn mistakes(&self) -> u64 {
        self.counters().iter().map(|(_, count)| count).sum()
    }
}

/// Compares; mistakes are in the verdict, a fault is when nothing can be said.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Result<Verdict> {
    let mut command = python()?;
    command.arg("oracle.py").args(["--registry", evidence.registry, "--source-id", evidence.source_id]);
    command.args(["--next-lsn", &evidence.next_lsn.to_string(), "--topic-prefix", evidence.topic_prefix]);
    let files = [
        ("--records", Some(evidence.records)),
        ("--witness", Some(evidence.witness)),
        ("--journal", evidence.journal),
        ("--before", evidence.before),
        ("--after", evidence.after),
    ];
    for (name, file) in files {
        command.args(file.map(|file| [name.as_ref(), file.as_os_str()]).into_iter().flatten());
    }
    let output = command.output().context("run oracle.py")?;
    let fault = || format!("oracle.py failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    let verdict: Verdict = serde_json::from_slice(&output.stdout).context(fault())?;
    if output.status.success() == (verdict.mistakes() == 0) { Ok(verdict) } else { Err(fault().into()) }
}

/// Shows every counter of oracle.py and snapshot.py red.
pub(crate) fn self_test() -> Result<()> {
    run(python()?.args(["-m", "unittest", "--quiet", "oracle_test", "snapshot_test"])).map(drop)
}

/// Python with the locked packages, in the folder of oracle.py.
fn python() -> Result<Command> {
    let version = run(Command::new("python3").arg("--version"))?;
    let key = BTreeMap::from([("python", version.trim()), ("requirements", REQUIREMENTS)]);
    let environment = cached("python", &key, fetch_packages)?;
    let mut python = Command::new(environment.join("bin/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder());
    Ok(python)
}

/// A virtual environment may be renamed as long as only its `bin/python` is used.
fn fetch_packages(folder: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let requirements = self::folder().join("requirements.txt");
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "-r"])
        .arg(requirements))?;
    Ok(())
}
