//! The oracle over many trials: one reading of all their topics, one judgement each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::connector::Left;
use super::lanes::in_lanes;
use crate::support::oracle::{self, Evidence, Verdict};
use crate::support::stack::Stack;
use crate::support::{Context, Result};

/// Judges all of them, `lanes` at a time. One without a checkpoint has published nothing.
pub(super) fn judge(stack: &Stack, all: &[Left], lanes: usize) -> Result<Vec<Result<Verdict>>> {
    let folder = stack.sandbox.folder("judged")?;
    let judged: Vec<&Left> = all.iter().filter(|left| left.next_lsn.is_some()).collect();
    let topics: Vec<String> = judged.iter().flat_map(|left| left.topics.iter().cloned()).collect();
    if !topics.is_empty() {
        let records = folder.join("records");
        oracle::read_committed(&stack.kafka.bootstrap(), &topics, &records)?;
        part(&records, &folder, &judged)?;
    }
    Ok(in_lanes(all, lanes, |left| {
        let next_lsn = left.next_lsn.ok_or("there is no checkpoint")?;
        oracle::judge(&Evidence {
            registry: &stack.registry.url(),
            witness: &left.witness,
            // The script has no journal, and its rows are no business that a fold of events would give back.
            journal: None,
            before: None,
            after: None,
            records: &records_of(&folder, &left.name),
            source_id: &format!("/oms/{}", left.name),
            topic_prefix: &format!("{}.", left.name),
            next_lsn,
        })
    }))
}

fn records_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.records"))
}

/// A file of records for each trial, by its topics' prefix, which has no dot.
fn part(records: &Path, folder: &Path, judged: &[&Left]) -> Result<()> {
    let mut parts = BTreeMap::new();
    for left in judged {
        let file = records_of(folder, &left.name);
        parts.insert(left.name.as_str(), BufWriter::new(File::create(&file).context(file.display())?));
    }
    for line in BufReader::new(File::open(records).context(records.display())?).lines() {
        let line = line?;
        let name = line.strip_prefix("{\"topic\":\"").and_then(|topic| topic.split('.').next());
        let part = name.and_then(|name| parts.get_mut(name)).ok_or("a record of no trial")?;
        writeln!(part, "{line}")?;
    }
    parts.into_values().try_for_each(|mut part| part.flush()).context("write the records")
}
