//! What the source committed against what a subscriber sees, per event type, and the report.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use rdkafka::message::Message;
use serde_json::json;

use super::live::Lived;
use super::reading::Read;
use super::screen::{Colours, grouped};
use crate::support::event::Decoder;
use crate::support::kafka::Kafka;
use crate::support::oms::expected::Counts;
use crate::support::subscriber::{header, read_to_end};
use crate::support::{Context, Result};

/// Counts by event type.
pub(super) struct Proof {
    committed: Counts,
    seen: Counts,
    /// Events that say of themselves that their row was there before.
    pub(super) read: u64,
    /// Records whose `ce_id` another record of the same topic has.
    pub(super) duplicates: u64,
}

impl Proof {
    /// Reads all topics with a consumer that has seen nothing before.
    pub(super) fn read(kafka: &Kafka, topics: &[String], registry: String, committed: Counts) -> Result<Self> {
        let mut decoder = Decoder::new(registry);
        let mut proof = Self { committed, seen: Counts::new(), read: 0, duplicates: 0 };
        // Ids as 64 bits: one run's events are far too few for two of them to meet by chance.
        let (hasher, mut ids) = (RandomState::new(), BTreeSet::new());
        read_to_end(kafka, topics, |message| {
            let id = header(message, "ce_id").ok_or("a record has no header ce_id")?;
            if !ids.insert(hasher.hash_one((message.topic(), id))) {
                proof.duplicates += 1;
            }
            let name = match message.payload() {
                None => format!("{} tombstone", message.topic()),
                Some(value) => {
                    let event = decoder.decode(value)?;
                    if event.id() != Some(id) {
                        return Err(format!("ce_id {id} is not the id in the event's value").into());
                    }
                    proof.read += u64::from(event.capture() == Some("SNAPSHOT"));
                    event.name.to_owned()
                }
            };
            *proof.seen.entry(name).or_default() += 1;
            Ok(())
        })?;
        Ok(proof)
    }

    /// Event type, committed, seen.
    fn rows(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let names: BTreeSet<&str> = self.committed.keys().chain(self.seen.keys()).map(String::as_str).collect();
        let count = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or(0);
        names.into_iter().map(move |name| (name, count(&self.committed, name), count(&self.seen, name)))
    }

    pub(super) fn events(&self) -> u64 {
        self.seen.values().sum()
    }

    /// The sum of the differences of all types, so that a loss here does not make up for a surplus there.
    pub(super) fn difference(&self) -> u64 {
        self.rows().map(|(_, committed, seen)| committed.abs_diff(seen)).sum()
    }

    pub(super) fn holds(&self) -> bool {
        self.difference() == 0 && self.duplicates == 0 && self.events() > 0
    }

    pub(super) fn table(&self, colours: Colours) -> String {
        let title = format!("{:<32}{:>12}{:>12}{:>12}", "event", "committed", "seen", "difference");
        let mut text = format!("\n{}\n", colours.title(&title));
        for (name, committed, seen) in self.rows() {
            let difference = i128::from(seen) - i128::from(committed);
            let row = format!("{name:<32}{:>12}{:>12}{difference:>12}\n", grouped(committed), grouped(seen));
            text.push_str(&if difference == 0 { row } else { colours.bad(&row) });
        }
        let committed = self.committed.values().sum();
        let (all, seen) = (grouped(committed), grouped(self.events()));
        text + &colours.title(&format!("{:<32}{all:>12}{seen:>12}{:>12}", "total", self.difference()))
    }

    /// Writes `target/demo/report.json` of this checkout.
    pub(super) fn report(&self, reading: &Read, live: &Lived, latency_ms: [f64; 3]) -> Result<PathBuf> {
        let [p50, p95, p99] = latency_ms;
        let by_event: serde_json::Map<_, _> = self
            .rows()
            .map(|(name, committed, seen)| {
                let difference = i64::try_from(seen).unwrap_or(i64::MAX) - i64::try_from(committed).unwrap_or(0);
                (name.to_owned(), json!({ "committed": committed, "seen": seen, "difference": difference }))
            })
            .collect();
        let report = json!({
            "events": self.events(),
            "difference": self.difference(),
            "duplicates": self.duplicates,
            "read": { "events": self.read, "seconds": reading.took.as_secs_f64() },
            "seconds": live.elapsed.as_secs_f64(),
            "events_per_second": live.events_per_second(),
            "latency_ms": { "p50": p50, "p95": p95, "p99": p99 },
            "by_event": by_event,
        });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/demo");
        std::fs::create_dir_all(&folder).context(folder.display())?;
        let file = folder.join("report.json");
        std::fs::write(&file, format!("{report:#}\n")).context(file.display())?;
        Ok(file)
    }
}
