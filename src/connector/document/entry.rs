//! One value of a document, read as the type that is wanted there.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Section, Variable, nearest};
use crate::connector::Place;
use crate::error::Fault;

/// A value with its place and its key path, in which the items of arrays are counted from 1.
#[derive(Clone)]
pub(crate) struct Entry<'r> {
    reader: &'r Reader<'r>,
    path: String,
    value: Value<'r>,
}

#[derive(Clone, Copy)]
enum Value<'r> {
    File(&'r Spanned<DeValue<'r>>),
    Variable(&'r Variable),
}

impl<'r> Entry<'r> {
    pub(super) fn new(reader: &'r Reader<'r>, path: String, value: &'r Spanned<DeValue<'r>>) -> Entry<'r> {
        Entry { reader, path, value: Value::File(value) }
    }

    pub(super) fn variable(reader: &'r Reader<'r>, path: String, variable: &'r Variable) -> Entry<'r> {
        Entry { reader, path, value: Value::Variable(variable) }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The environment variable that the value comes from.
    pub(crate) fn variable_name(&self) -> Option<&'r str> {
        match self.value {
            Value::File(_) => None,
            Value::Variable(variable) => Some(&variable.name),
        }
    }

    /// Where the value begins.
    pub(crate) fn place(&self) -> Place {
        let Fault { file, line, column, .. } = self.fault_of(String::new());
        Place { file, line, column }
    }

    /// Where the text of a string begins, behind its quotes.
    pub(crate) fn text_place(&self) -> Place {
        let Value::File(value) = self.value else { return self.place() };
        let text = &self.reader.document.text;
        let raw = text.as_str().get(value.span()).unwrap_or_default();
        let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
        let newline = raw.get(quotes..).map_or(0, |rest| rest.len() - rest.trim_start_matches(['\r', '\n']).len());
        let (line, column) = text.position(value.span().start + quotes + newline);
        Place { file: self.reader.document.file.clone(), line, column }
    }

    pub(crate) fn fault(&self, message: impl Into<String>) {
        self.reader.push(self.fault_of(message.into()));
    }

    /// Reports a fault that was made elsewhere (in an expression) as one of this entry.
    pub(crate) fn adopt(&self, fault: Fault) {
        self.reader.push(Fault { path: self.path.clone(), ..fault });
    }

    fn fault_of(&self, message: String) -> Fault {
        match self.value {
            Value::File(value) => self.reader.fault(Some(value.span().start), self.path.clone(), message),
            Value::Variable(variable) => variable.fault(self.path.clone(), message),
        }
    }

    fn misfit<T>(&self, expected: &str) -> Option<T> {
        let found = match self.value {
            Value::File(value) => value.get_ref().type_str(),
            Value::Variable(_) => "something else",
        };
        self.fault(format!("expected {expected}, found {}", article(found)));
        None
    }

    /// Whether a string stands here.
    pub(crate) fn is_text(&self) -> bool {
        self.as_text().is_some()
    }

    /// Whether a table stands here.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, Value::File(value) if value.get_ref().is_table())
    }

    /// Whether an array stands here.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self.value, Value::File(value) if value.get_ref().is_array())
    }

    fn as_text(&self) -> Option<&'r str> {
        match self.value {
            Value::File(value) => value.get_ref().as_str(),
            Value::Variable(variable) => Some(&variable.text),
        }
    }

    pub(crate) fn text(&self) -> Option<&'r str> {
        self.as_text().or_else(|| self.misfit("a string"))
    }

    /// A string that is not empty.
    pub(crate) fn name(&self) -> Option<&'r str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.fault("is empty");
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match (self.value, self.as_text()) {
            (Value::File(value), _) => value.get_ref().as_bool().or_else(|| self.misfit("true or false")),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => self.misfit("true or false"),
        }
    }

    pub(crate) fn integer(&self, range: &RangeInclusive<i64>) -> Option<i64> {
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        let number = match self.value {
            Value::Variable(variable) => variable.text.parse().ok(),
            Value::File(value) => match value.get_ref().as_integer() {
                Some(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
                None => return self.misfit(&expected()),
            },
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(format!("must be {}", expected()));
        }
        number
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let hint = nearest(text, choices.iter().map(|(word, _)| *word))
                .map(|near| format!("; did you mean \"{near}\"?"))
                .unwrap_or_default();
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.fault(format!("must be {}, not {text:?}{hint}", words.join(" or ")));
        }
        chosen
    }

    /// A path, relative to the folder of the file that names it.
    pub(crate) fn file_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.name()?);
        match (self.value, self.reader.document.file.parent()) {
            (Value::File(_), Some(folder)) => Some(folder.join(path)),
            _ => Some(path),
        }
    }

    /// A string, number or boolean as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        let Value::File(value) = self.value else { return self.as_text().map(str::to_owned) };
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(digits) => Some(digits.to_string()),
            DeValue::Float(digits) => Some(digits.to_string()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.misfit("a string, a number, true or false")
            }
        }
    }

    /// The values of an array.
    pub(crate) fn items(self) -> Vec<Entry<'r>> {
        let Value::File(value) = self.value else { return self.misfit("an array").unwrap_or_default() };
        let Some(array) = value.get_ref().as_array() else { return self.misfit("an array").unwrap_or_default() };
        let item = |(i, value)| Entry::new(self.reader, format!("{}[{}]", self.path, i + 1), value);
        array.iter().enumerate().map(item).collect()
    }

    pub(crate) fn into_section(self) -> Option<Section<'r>> {
        let Value::File(value) = self.value else { return self.misfit("a table") };
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(self.reader, Some(table), Some(value.span().start), self.path)),
            None => self.misfit("a table"),
        }
    }
}

impl Variable {
    /// A fault of the variable's value.
    pub(crate) fn fault(&self, path: String, message: String) -> Fault {
        let file = PathBuf::from(format!("environment variable {}", self.name));
        Fault { file, line: 0, column: 0, path, message, excerpt: None }
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    if noun == "something else" { noun.to_owned() } else { format!("{article} {noun}") }
}
