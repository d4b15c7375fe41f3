//! From files and environment to checked settings: every fault of every file in one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment;
use super::process::{AdminSettings, KafkaSettings, LogFormat, LogSettings, Process, RegistrySettings};
use super::{kafka, registry};
use crate::connector::document::{Document, Reader, Section, Variable};
use crate::connector::{self, Connector, ResolvedSource};
use crate::contract::Repository;
use crate::error::{Error, Fault, Faults, Kind, Result};
use crate::registry::SubjectNameStrategy;

/// Everything that a start needs, checked.
pub struct Loaded {
    /// The process settings.
    pub process: Process,
    /// The connectors, by name.
    pub connectors: Vec<Connector>,
}

/// Loads the process file, the contracts and all connector files.
///
/// # Errors
/// `Configuration` with all faults of all files and of the environment.
pub fn load_all(file: &Path) -> Result<Loaded> {
    let (found, mut faults) = read_process(file, &environment::variables()?);
    let mut connectors = Vec::new();
    if let (Some(folder), Some(schemas)) = (&found.connectors, &found.schemas) {
        let (repository, wrong) = Repository::load(schemas);
        faults.extend(wrong);
        let prefix = found.kafka.as_ref().map_or("", |kafka| kafka.topic_prefix.as_str());
        for path in connector_files(file, folder, &mut faults) {
            match connector::load(&path, &repository, prefix) {
                Ok(connector) => connectors.push(connector),
                Err(wrong) => faults.extend(wrong),
            }
        }
    }
    if let Some(registry) = &found.registry {
        subjects(file, registry, &connectors, &mut faults);
    }
    if let Some(folder) = &found.connectors {
        slots(folder, &connectors, &mut faults);
    }
    let process = found.checked();
    faults.into_result()?;
    let process = process.ok_or_else(|| Error::new(Kind::Bug, "settings are missing without a fault"))?;
    Ok(Loaded { process, connectors })
}

/// What of the process file could be read; a part with a fault is None.
#[derive(Default)]
struct Found {
    connectors: Option<PathBuf>,
    schemas: Option<PathBuf>,
    kafka: Option<KafkaSettings>,
    registry: Option<RegistrySettings>,
    admin: Option<AdminSettings>,
    log: Option<LogSettings>,
}

impl Found {
    fn checked(self) -> Option<Process> {
        Some(Process {
            connectors: self.connectors?,
            schemas: self.schemas?,
            kafka: self.kafka?,
            registry: self.registry?,
            admin: self.admin?,
            log: self.log?,
        })
    }
}

/// Reads and checks the process file with `overlay` laid over it.
fn read_process(file: &Path, overlay: &[Variable]) -> (Found, Faults) {
    let document = match Document::read(file) {
        Ok(document) => document,
        Err(fault) => return (Found::default(), Faults(vec![fault])),
    };
    let table = match document.parse() {
        Ok(table) => table,
        Err(faults) => return (Found::default(), faults),
    };
    let reader = Reader::new(&document, overlay);
    let found = read(reader.root(&table));
    let asked = reader.asked();
    let unknown = overlay.iter().filter(|variable| !asked.contains(&path_of(variable)));
    let unknown: Vec<Fault> =
        unknown.map(|variable| variable.fault(String::new(), format!("no setting {}", path_of(variable)))).collect();
    unknown.into_iter().for_each(|fault| reader.push(fault));
    (found, reader.finish())
}

/// The process file alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn load_process(file: &Path) -> Result<Process, Faults> {
    let (found, faults) = read_process(file, &[]);
    match found.checked() {
        Some(process) if faults.is_empty() => Ok(process),
        _ => Err(faults),
    }
}

fn path_of(variable: &Variable) -> String {
    if variable.section.is_empty() { variable.key.clone() } else { format!("{}.{}", variable.section, variable.key) }
}

fn read(mut root: Section<'_>) -> Found {
    let found = Found {
        connectors: root.need("connectors", "\"connectors/\"").and_then(|entry| entry.file_path()),
        schemas: root.need("schemas", "\"schemas/\"").and_then(|entry| entry.file_path()),
        kafka: root.section("kafka").and_then(kafka::read),
        registry: root.section("registry").and_then(registry::read),
        admin: root.section("admin").and_then(admin),
        log: root.section("log").and_then(log),
    };
    root.report_unknown();
    found
}

fn admin(mut section: Section<'_>) -> Option<AdminSettings> {
    let listen = section.get("listen").map(|entry| entry.name().map(str::to_owned));
    section.report_unknown();
    Some(AdminSettings { listen: listen.unwrap_or_else(|| Some("127.0.0.1:9848".to_owned()))? })
}

fn log(mut section: Section<'_>) -> Option<LogSettings> {
    let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    let levels = [
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    let format = section.get("format").map(|entry| entry.choice(&formats));
    let level = section.get("level").map(|entry| entry.choice(&levels));
    section.report_unknown();
    Some(LogSettings {
        format: format.unwrap_or(Some(LogFormat::Auto))?,
        level: level.unwrap_or(Some(tracing::Level::INFO))?,
    })
}

/// The `*.toml` of the folder in the order of their names; none is a fault.
fn connector_files(file: &Path, folder: &Path, faults: &mut Faults) -> Vec<PathBuf> {
    let fault = |message: String| Fault {
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: "connectors".to_owned(),
        message,
        excerpt: None,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(fault(format!("folder {} cannot be read: {error}", folder.display())));
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    if files.is_empty() {
        faults.push(fault(format!("folder {} holds no connector file (*.toml)", folder.display())));
    }
    files
}

/// With TopicNameStrategy a topic has one subject, so it can carry one contract.
fn subjects(file: &Path, registry: &RegistrySettings, connectors: &[Connector], faults: &mut Faults) {
    if registry.subject_name_strategy != SubjectNameStrategy::TopicName {
        return;
    }
    let mut contracts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for plan in connectors.iter().map(|connector| &connector.plan) {
        for event in &plan.events {
            let of = contracts.entry(&plan.topics[event.topic].name).or_default();
            if !of.contains(&event.contract.full_name.as_str()) {
                of.push(&event.contract.full_name);
            }
        }
    }
    for (topic, names) in contracts.into_iter().filter(|(_, names)| names.len() > 1) {
        let message = format!(
            "TopicNameStrategy has one subject for topic {topic}, which carries {}: choose TopicRecordNameStrategy",
            names.join(", ")
        );
        faults.push(Fault {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: "registry.subject_name_strategy".to_owned(),
            message,
            excerpt: None,
        });
    }
}

/// A slot has one reader: two connectors that name the same one would take turns and halt each other. Whose references
/// cannot be looked up here (a secret that is on another machine) is not compared.
fn slots(folder: &Path, connectors: &[Connector], faults: &mut Faults) {
    let mut taken: Vec<(&str, ResolvedSource)> = Vec::new();
    for connector in connectors {
        let Ok(source) = connector.source.without_secrets().resolve() else { continue };
        let name = connector.plan.name.as_str();
        let same = |of: &ResolvedSource| {
            of.slot == source.slot && of.port == source.port && of.hosts.iter().any(|host| source.hosts.contains(host))
        };
        if let Some((other, _)) = taken.iter().find(|(_, of)| same(of)) {
            faults.push(Fault {
                file: folder.join(format!("{name}.toml")),
                line: 0,
                column: 0,
                path: "source.slot".to_owned(),
                message: format!("connector {other} reads slot {} of this server already", source.slot),
                excerpt: None,
            });
        }
        taken.push((name, source));
    }
}
#[cfg(test)]
mod tests;
