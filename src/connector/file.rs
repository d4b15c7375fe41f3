//! `connectors/<name>.toml`: read with positions and checked against the contracts. All faults are found in one run.
//!
//! ```text
//! source, topics -> tables -> events, tombstones -> cross (what only several rules together show) -> hash
//! ```

mod cross;
mod field;
mod hash;
mod literal;
mod rule;
mod table;
mod topic;

use std::path::Path;
use std::sync::Arc;

use super::document::{Document, Entry, Reader, Section, nearest};
use super::source::SourceSection;
use super::{ByTable, LargeTransactions, Place, Plan, SnapshotMode, SnapshotPlan, Unhandled};
use crate::contract::{Contract, Repository};
use crate::error::{Fault, Faults};
use topic::TopicDraft;

/// One connector file, checked.
#[derive(Clone, Debug)]
pub struct Connector {
    /// What it publishes.
    pub plan: Plan,
    /// Where it reads.
    pub source: SourceSection,
}

/// What rules refer to.
struct Scope<'a> {
    repository: &'a Repository,
    topics: &'a [TopicDraft],
}

/// What was read of the `[[key]]`s of a file.
struct Sections<T> {
    read: Vec<T>,
    /// The number of each in the file, from 1.
    numbers: Vec<usize>,
    /// Whether none of them was faulty.
    is_complete: bool,
}

impl<T> Sections<T> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &T)> + Clone {
        self.numbers.iter().copied().zip(&self.read)
    }
}

/// Reads and checks the connector file at `path`; its topics' names on Kafka begin with `topic_prefix`.
pub fn load(path: &Path, repository: &Repository, topic_prefix: &str) -> Result<Connector, Faults> {
    let document = Document::read(path).map_err(|fault| Faults(vec![fault]))?;
    let table = document.parse()?;
    let reader = Reader::new(&document, &[]);
    let connector = read(&mut reader.root(&table), path, repository, topic_prefix);
    let faults = reader.finish();
    match connector {
        Some(connector) if faults.is_empty() => Ok(connector),
        _ => Err(faults),
    }
}

fn read(root: &mut Section<'_>, path: &Path, repository: &Repository, topic_prefix: &str) -> Option<Connector> {
    let name = connector_name(root, path);
    let head = root.section("source").and_then(read_source);
    let snapshot = root.section("snapshot").and_then(read_snapshot);
    let topics = sections(root, "topic", |section| topic::read(section, repository, topic_prefix));
    let scope = Scope { repository, topics: &topics.read };
    let events = sections(root, "event", |section| rule::event(section, &scope));
    let tombstones = sections(root, "tombstone", |section| rule::tombstone(section, &scope));
    let tables = sections(root, "table", table::read);
    let unnamed = table::read_unnamed(root);
    root.report_unknown();
    cross::check(root, &topics, &events, &tombstones, &tables);

    let (events, tombstones) = (events.read, tombstones.read);
    let (head, topics) = (head?, topics.read.into_iter().map(TopicDraft::finish).collect::<Option<Vec<_>>>()?);
    let mut plan = Plan {
        name: name?,
        source_id: head.id,
        tables: table::all(tables.read, &events, &tombstones),
        topics,
        events,
        tombstones,
        unnamed: unnamed.unwrap_or(Unhandled::Filter),
        large_transactions: head.large_transactions,
        snapshot: snapshot?,
        mapping_hash: String::new(),
        by_table: ByTable::default(),
    };
    plan.mapping_hash = hash::of(&plan);
    Some(Connector { plan, source: head.connection })
}

/// The file's stem: it becomes part of topic names and transactional ids.
fn connector_name(root: &Section<'_>, path: &Path) -> Option<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-');
    if stem.starts_with(|char: char| char.is_ascii_lowercase()) && stem.len() <= 63 && stem.chars().all(fits) {
        return Some(stem.to_owned());
    }
    root.fault(format!(
        "the file's name is the connector's, and {stem:?} is none: a lower-case letter, then up to 62 lower-case letters, \
         digits, _ and -"
    ));
    None
}

/// `[source]`.
struct Head {
    id: String,
    connection: SourceSection,
    large_transactions: LargeTransactions,
}

fn read_source(mut section: Section<'_>) -> Option<Head> {
    let id = section.need("id", "\"/oms/prod\"").and_then(|entry| source_id(&entry));
    let connection = SourceSection::read(&mut section);
    let choices = [("whole", LargeTransactions::Whole), ("split", LargeTransactions::Split)];
    let large_transactions = match section.get("large_transactions") {
        Some(entry) => entry.choice(&choices),
        None => Some(LargeTransactions::Whole),
    };
    section.report_unknown();
    Some(Head { id: id?, connection: connection?, large_transactions: large_transactions? })
}

/// The ids of all events begin with it, so it is the same wherever the file is checked.
fn source_id(entry: &Entry<'_>) -> Option<String> {
    if entry.is_table() {
        entry.fault("the ids of all events begin with it: it is written here, not looked up elsewhere");
        return None;
    }
    let id = entry.name()?;
    if id.chars().any(|char| char.is_whitespace() || char.is_control()) {
        entry.fault("must have no spaces, such as \"/oms/prod\"");
        return None;
    }
    Some(id.to_owned())
}

fn read_snapshot(mut section: Section<'_>) -> Option<SnapshotPlan> {
    let modes = [("none", SnapshotMode::None), ("initial", SnapshotMode::Initial)];
    let mode = section.get("mode").map(|entry| entry.choice(&modes));
    let workers = section.get("workers").map(|entry| entry.integer(&(1..=16)));
    let mut limit = |key, most| -> Result<Option<u64>, ()> {
        let given = section.get(key).map(|entry| entry.integer(&(1..=most)));
        given.map(|limit| limit.and_then(|limit| u64::try_from(limit).ok()).ok_or(())).transpose()
    };
    let rows_per_second = limit("rows_per_second", 1_000_000_000);
    let bytes_per_second = limit("bytes_per_second", 1_000_000_000_000);
    section.report_unknown();
    Some(SnapshotPlan {
        mode: mode.unwrap_or(Some(SnapshotMode::Initial))?,
        workers: usize::try_from(workers.unwrap_or(Some(2))?).ok()?,
        rows_per_second: rows_per_second.ok()?,
        bytes_per_second: bytes_per_second.ok()?,
    })
}

/// Reads every `[[key]]` and reports the keys that nobody asked for.
fn sections<'r, T>(
    root: &mut Section<'r>,
    key: &'static str,
    read: impl Fn(&mut Section<'r>) -> Option<T>,
) -> Sections<T> {
    let mut all = Sections { read: Vec::new(), numbers: Vec::new(), is_complete: true };
    for (i, mut section) in root.sections(key).into_iter().enumerate() {
        match read(&mut section) {
            Some(read) => {
                all.read.push(read);
                all.numbers.push(i + 1);
            }
            None => all.is_complete = false,
        }
        section.report_unknown();
    }
    all
}

impl Scope<'_> {
    /// The index of the topic that an entry names, and the topic.
    fn topic(&self, entry: &Entry<'_>) -> Option<(usize, &TopicDraft)> {
        let name = entry.name()?;
        let found = self.topics.iter().enumerate().find(|(_, topic)| topic.written == name);
        if found.is_none() {
            let near = nearest(name, self.topics.iter().map(|topic| topic.written.as_str()));
            let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            entry.fault(format!("no [[topic]] has the name {name:?}{hint}"));
        }
        found
    }
}

/// The contract that an entry names; one that has faults of its own is not reported a second time.
fn contract(entry: &Entry<'_>, repository: &Repository) -> Option<Arc<Contract>> {
    let path = entry.name()?;
    let found = repository.get(path);
    if found.is_none() && !repository.is_faulty(path) {
        let near = nearest(path, repository.iter().map(|contract| contract.path.as_str()));
        let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        entry.fault(format!("no such contract: {path}.avsc is not among the schemas{hint}"));
    }
    found
}

/// A fault at a place that was noted before.
fn fault_at(place: &Place, path: String, message: impl Into<String>) -> Fault {
    let Place { file, line, column } = place.clone();
    Fault { file, line, column, path, message: message.into(), excerpt: None }
}

#[cfg(test)]
mod tests;
