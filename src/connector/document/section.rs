//! A table of a document: its keys are asked for by name, and what nobody asked for is reported.

use toml::de::DeTable;

use crate::connector::Place;
use crate::error::Fault;

use super::{Entry, Reader, Variable, join, nearest};

/// A table, or the place where an absent one would be (whose keys the overlay may still have).
pub(crate) struct Section<'r> {
    reader: &'r Reader<'r>,
    table: Option<&'r DeTable<'r>>,
    /// Where the table begins; None: the document itself.
    offset: Option<usize>,
    path: String,
    asked: Vec<&'static str>,
}

impl<'r> Section<'r> {
    pub(super) fn new(
        reader: &'r Reader<'r>,
        table: Option<&'r DeTable<'r>>,
        offset: Option<usize>,
        path: String,
    ) -> Section<'r> {
        Section { reader, table, offset, path, asked: Vec::new() }
    }

    /// The entry of `key`, where there is one.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Entry<'r>> {
        self.asked.push(key);
        let path = join(&self.path, key);
        self.reader.asked.borrow_mut().insert(path.clone());
        if let Some(variable) = self.variables().find(|variable| variable.key == key) {
            return Some(Entry::variable(self.reader, path, variable));
        }
        let value = self.table?.get(key)?;
        Some(Entry::new(self.reader, path, value))
    }

    /// The entry of `key`; a fault that shows `example` where there is none.
    pub(crate) fn need(&mut self, key: &'static str, example: &str) -> Option<Entry<'r>> {
        let entry = self.get(key);
        if entry.is_none() {
            self.fault(format!("`{key}` is missing: {key} = {example}"));
        }
        entry
    }

    /// The table under `key`, an empty one where it is absent; None where something else stands there.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'r>> {
        let absent = Section::new(self.reader, None, self.offset, join(&self.path, key));
        self.get(key).map_or(Some(absent), Entry::into_section)
    }

    fn variables(&self) -> impl Iterator<Item = &'r Variable> {
        self.reader.overlay.iter().filter(|variable| variable.section == self.path)
    }

    /// The tables of the `[[key]]` of this section.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'r>> {
        let entries = self.get(key).map(Entry::items).unwrap_or_default();
        entries.into_iter().filter_map(Entry::into_section).collect()
    }

    /// All entries in the order of the file, then those of variables, for tables whose keys are the user's own.
    pub(crate) fn entries(&self) -> Vec<(String, Entry<'r>)> {
        let mut pairs: Vec<_> = self.table.into_iter().flatten().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        let overlaid = |key: &str| self.variables().any(|variable| variable.key == key);
        let from_file = pairs.into_iter().filter(|(key, _)| !overlaid(key.get_ref())).map(|(key, value)| {
            let path = join(&self.path, key.get_ref());
            (key.get_ref().to_string(), Entry::new(self.reader, path, value))
        });
        let from_variables = self.variables().map(|variable| {
            let path = join(&self.path, &variable.key);
            self.reader.asked.borrow_mut().insert(path.clone());
            (variable.key.clone(), Entry::variable(self.reader, path, variable))
        });
        from_file.chain(from_variables).collect()
    }

    pub(crate) fn fault(&self, message: impl Into<String>) {
        self.reader.push(self.reader.fault(self.offset, self.path.clone(), message.into()));
    }

    pub(crate) fn push(&self, fault: Fault) {
        self.reader.push(fault);
    }

    /// Where the table begins.
    pub(crate) fn place(&self) -> Place {
        let Fault { file, line, column, .. } = self.reader.fault(self.offset, String::new(), String::new());
        Place { file, line, column }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn report_unknown(&self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let known = match nearest(name, self.asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let path = join(&self.path, name);
            self.reader.push(self.reader.fault(Some(key.span().start), path, format!("unknown key; {known}")));
        }
    }
}
