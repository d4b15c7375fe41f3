//! The repository of contracts: `schemas/<domain>/<Event>/v<N>.avsc`, and shared types in `schemas/common/<Type>/v1.avsc`.
//!
//! A contract names a shared type by its full name, which carries no version. Since a released contract must not change,
//! a shared type has one version for ever; another shape is another type, under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inline::{self, Inliner};
use super::json::Json;
use super::{Contract, field};
use crate::error::{Fault, Faults};

const SHARED: &str = "common";

/// All contracts that are in order.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    contracts: BTreeMap<String, Arc<Contract>>,
    /// Paths of contracts that have faults of their own, so that nobody reports them as missing too.
    faulty: BTreeSet<String>,
}

/// One `.avsc` file, read.
struct SchemaFile {
    file: PathBuf,
    domain: String,
    name: String,
    version: u32,
    schema: Json,
}

impl Repository {
    /// Loads every contract below `dir`. Whatever is wrong is in the faults, the rest in the repository.
    pub fn load(dir: &Path) -> (Repository, Faults) {
        let mut faults = Faults::default();
        let mut repository = Repository::default();
        let mut files = Vec::new();
        for path in schema_files(dir, &mut faults) {
            match read(dir, &path) {
                Ok(file) => files.push(file),
                Err(fault) => {
                    repository.faulty.insert(contract_path(dir, &path));
                    faults.push(fault);
                }
            }
        }
        let (shared, events): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.domain == SHARED);
        let shared = repository.shared_types(&shared, &mut faults);
        for file in &events {
            if repository.names_faulty_type(&file.schema) {
                repository.faulty.insert(file.path());
                continue;
            }
            match contract(file, &shared) {
                Ok(contract) => drop(repository.contracts.insert(contract.path.clone(), Arc::new(contract))),
                Err(found) => {
                    repository.faulty.insert(file.path());
                    faults.extend(found);
                }
            }
        }
        (repository, faults)
    }

    /// The contract that a connector file names `oms/OrderPlaced/v1`.
    pub fn get(&self, path: &str) -> Option<Arc<Contract>> {
        self.contracts.get(path).cloned()
    }

    /// Whether the contract's file is there, but has faults of its own.
    pub fn is_faulty(&self, path: &str) -> bool {
        self.faulty.contains(path)
    }

    /// All contracts in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.contracts.values()
    }

    /// The shared types by full name.
    fn shared_types(&mut self, files: &[SchemaFile], faults: &mut Faults) -> BTreeMap<String, Json> {
        let mut shared = BTreeMap::new();
        for file in files {
            match file.check_name().and_then(|()| file.check_shared()) {
                Ok(()) => drop(shared.insert(file.full_name(), file.schema.clone())),
                Err(fault) => {
                    self.faulty.insert(file.path());
                    faults.push(fault);
                }
            }
        }
        shared
    }

    /// Whether `schema` names a shared type that has faults of its own.
    fn names_faulty_type(&self, schema: &Json) -> bool {
        let text = schema.to_string();
        let name = |path: &str| Some(format!("\"{SHARED}.{}\"", path.strip_prefix("common/")?.strip_suffix("/v1")?));
        self.faulty.iter().filter_map(|path| name(path)).any(|name| text.contains(&name))
    }
}

/// All `.avsc` files below `dir` in the order of their names; hidden ones are left out.
fn schema_files(dir: &Path, faults: &mut Faults) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match entries {
            Err(error) => faults.push(whole(&folder, format!("this folder of contracts cannot be read: {error}"))),
            Ok(entries) => {
                for path in entries.into_iter().map(|entry| entry.path()).filter(|path| !is_hidden(path)) {
                    match path.extension() {
                        _ if path.is_dir() => open.push(path),
                        Some(extension) if extension == "avsc" => found.push(path),
                        _ => {}
                    }
                }
            }
        }
    }
    found.sort();
    found
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// `schemas/oms/OrderPlaced/v1.avsc` as `oms/OrderPlaced/v1`.
fn contract_path(dir: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(dir).unwrap_or(file).with_extension("");
    relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn read(dir: &Path, file: &Path) -> Result<SchemaFile, Fault> {
    let path = contract_path(dir, file);
    let parts: Vec<&str> = path.split('/').collect();
    let place = match parts.as_slice() {
        [domain, name, version] => parse_version(version).map(|version| (*domain, *name, version)),
        _ => None,
    };
    let Some((domain, name, version)) = place else {
        return Err(whole(file, "a contract's place is <domain>/<Event>/v<N>.avsc, N from 1 on"));
    };
    let text = fs::read_to_string(file).map_err(|error| whole(file, format!("cannot be read: {error}")))?;
    let schema = serde_json::from_str(&text).map_err(|error| malformed(file, &error))?;
    Ok(SchemaFile { file: file.to_owned(), domain: domain.to_owned(), name: name.to_owned(), version, schema })
}

fn parse_version(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('v').filter(|digits| !digits.starts_with(['0', '+']))?;
    digits.parse().ok()
}

fn malformed(file: &Path, error: &serde_json::Error) -> Fault {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = format!("malformed JSON: {}", message.strip_suffix(&position).unwrap_or(&message));
    Fault { line: error.line(), column: error.column(), ..whole(file, message) }
}

fn contract(file: &SchemaFile, shared: &BTreeMap<String, Json>) -> Result<Contract, Faults> {
    file.check_name().map_err(|fault| Faults(vec![fault]))?;
    if file.schema.text_of("type") != Some("record") {
        return Err(Faults(vec![whole(&file.file, "a contract is a record: \"type\": \"record\"")]));
    }
    let mut inliner = Inliner::new(shared);
    let schema = inliner.schema(&file.schema, "");
    let mut faults = Faults(inliner.messages.iter().map(|message| whole(&file.file, message)).collect());
    let mut fields = Vec::new();
    for declared in schema.get("fields").and_then(Json::array).unwrap_or_default() {
        match field::field(declared, &inliner.defined) {
            Ok(field) => fields.push(field),
            Err(message) => {
                let path = format!("fields.{}", declared.text_of("name").unwrap_or("?"));
                faults.push(Fault { path, ..whole(&file.file, message) });
            }
        }
    }
    let text = schema.to_string();
    // The reference implementation has the last word on names, symbols and defaults.
    if faults.is_empty()
        && let Err(error) = apache_avro::Schema::parse_str(&text)
    {
        faults.push(whole(&file.file, format!("no valid Avro schema: {error}")));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (path, full_name, version) = (file.path(), file.full_name(), file.version);
    Ok(Contract { path, full_name, version, file: file.file.clone(), fields, schema: text })
}

impl SchemaFile {
    fn path(&self) -> String {
        format!("{}/{}/v{}", self.domain, self.name, self.version)
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.domain, self.name)
    }

    fn check_name(&self) -> Result<(), Fault> {
        let (found, expected) = (inline::defined_name(&self.schema, ""), self.full_name());
        if found == expected {
            return Ok(());
        }
        Err(whole(
            &self.file,
            format!(
                "the schema's full name is `{found}`, its place says `{expected}`: write \"namespace\": \"{}\", \"name\": \"{}\"",
                self.domain, self.name
            ),
        ))
    }

    fn check_shared(&self) -> Result<(), Fault> {
        // What has a name of its own is written out once; anything else could be written out in itself, without an end.
        if !matches!(self.schema.text_of("type"), Some("record" | "enum" | "fixed")) {
            return Err(whole(&self.file, "a shared type is a record, an enum or a fixed: \"type\": \"record\""));
        }
        if self.version == 1 {
            return Ok(());
        }
        Err(whole(
            &self.file,
            format!(
                "a shared type has no versions but v1: contracts name {} without one, and released contracts must not \
             change; give the new shape another name",
                self.full_name()
            ),
        ))
    }
}

fn whole(file: &Path, message: impl Into<String>) -> Fault {
    Fault { file: file.to_owned(), line: 0, column: 0, path: String::new(), message: message.into(), excerpt: None }
}
