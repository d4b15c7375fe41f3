//! Files that a person wrote.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;
use crate::connector;
use crate::contract::{Lineage, Repository, difference};
use crate::error::Faults;

/// A folder for the files under test, and the contracts of this repository for connectors to name.
pub struct Files {
    folder: PathBuf,
    contracts: Repository,
}

impl Files {
    /// `folder` is there and empty.
    pub fn new(folder: &Path) -> Files {
        let (contracts, faults) = Repository::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"));
        assert!(faults.is_empty(), "{faults}");
        Files { folder: folder.to_owned(), contracts }
    }

    /// A connector file.
    pub fn connector(&self, input: &[u8]) {
        let file = self.write("oms.toml", input);
        match connector::load(&file, &self.contracts, "shop.") {
            Ok(connector) => assert_eq!(connector.plan.name, "oms"),
            Err(faults) => self.are_told(&faults),
        }
    }

    /// `walwright.toml`.
    pub fn process(&self, input: &[u8]) {
        let file = self.write("walwright.toml", input);
        match config::load_process(&file) {
            Ok(process) => drop(format!("{process:?}")),
            Err(faults) => self.are_told(&faults),
        }
    }

    /// Contracts: the event's first version, then, each behind a NUL, its second version and the shared types `A` and `B`.
    pub fn contract(&self, input: &[u8]) {
        let schemas = self.folder.join("schemas");
        let places = ["oms/OrderPlaced/v1", "oms/OrderPlaced/v2", "common/EventMeta/v1", "common/A/v1", "common/B/v1"];
        let mut texts = input.split(|byte| *byte == 0);
        for place in places {
            let file = schemas.join(place).with_extension("avsc");
            match texts.next() {
                Some(text) => drop(self.write(&format!("schemas/{place}.avsc"), text)),
                None => drop(fs::remove_file(file)),
            }
        }
        let (repository, faults) = Repository::load(&schemas);
        if !faults.is_empty() {
            self.are_told(&faults);
        }
        for lineage in Lineage::all(&repository) {
            drop(lineage.breaches(Default::default()));
            if let [old, new] = &*lineage.versions {
                drop(difference(old, new));
            }
        }
    }

    fn write(&self, path: &str, text: &[u8]) -> PathBuf {
        let file = self.folder.join(path);
        let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text));
        assert!(written.is_ok(), "{written:?}");
        file
    }

    /// Each fault has a file of ours and says something.
    fn are_told(&self, faults: &Faults) {
        assert!(!faults.is_empty(), "refused without a fault");
        for fault in &faults.0 {
            assert!(fault.file.starts_with(&self.folder) && !fault.message.is_empty(), "{fault:?}");
            drop(fault.to_string());
        }
    }
}
