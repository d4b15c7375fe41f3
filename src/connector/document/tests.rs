//! `docs/configuration.md` against what the readers of both files ask for: every key has a row and every row a key, a
//! default that is written out changes nothing, a key that is required is missed, and the words are those that are taken.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// A key's row.
pub(crate) struct Row {
    /// The heading of its table as a path: `kafka`, `topic[]`, `event[].fields.*`, empty outside of sections.
    section: String,
    key: String,
    /// The cells between the key and the last one: the variable in `walwright.toml`, type, default.
    cells: Vec<String>,
}

/// What came of a text.
pub(crate) struct Outcome {
    /// All that was checked, as text, or the faults.
    pub(crate) checked: Result<String, String>,
    pub(crate) asked: BTreeSet<String>,
}

impl Row {
    pub(crate) fn path(&self) -> String {
        if self.section.is_empty() { self.key.clone() } else { format!("{}.{}", self.section, self.key) }
    }

    /// Whether the user names the keys of this section.
    pub(crate) fn is_free(&self) -> bool {
        self.section == "kafka.client"
    }

    pub(crate) fn variable(&self) -> &str {
        &self.cells[0]
    }

    fn default(&self) -> &str {
        &self.cells[self.cells.len() - 1]
    }

    /// The words that the type lists.
    fn words(&self) -> Vec<&str> {
        quoted(&self.cells[self.cells.len() - 2])
    }
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// `[kafka]` is `kafka`, `[[topic]]` is `topic[]`, and of what lies below an array of tables that one is one, too.
fn section(heading: &str) -> String {
    let Some(name) = heading.split('`').nth(1) else { return String::new() };
    if let Some(name) = name.strip_prefix("[[") {
        return name.replace("]]", "[]");
    }
    match name.trim_matches(['[', ']']) {
        "event.fields" => "event[].fields.*".to_owned(),
        "topic.create" => "topic[].create".to_owned(),
        name => name.to_owned(),
    }
}

/// The rows of the part of the page with this title.
pub(crate) fn rows(title: &str) -> Vec<Row> {
    let part = PAGE.split("\n## ").find_map(|part| part.strip_prefix(title)).unwrap();
    let tables = part.split("\n### ").skip(1);
    let row = |heading: &str, line: &str| {
        let mut cells: Vec<String> =
            line.trim_matches(['|', ' ']).split(" | ").map(|cell| cell.replace('`', "")).collect();
        // The last cell may be empty, the others are counted from the front.
        cells.truncate(if title.starts_with("walwright") { 4 } else { 3 });
        Row { section: section(heading), key: cells.remove(0), cells }
    };
    let of_table = |table: &'static str| {
        let heading = table.lines().next().unwrap();
        table.lines().filter(|line| line.starts_with("| `")).map(move |line| row(heading, line)).collect::<Vec<_>>()
    };
    tables.flat_map(of_table).collect()
}

/// `topic[2].create` as the page has it. None: part of a reference.
fn normal(path: &str) -> Option<String> {
    if path.ends_with(".env") || path.ends_with(".file") {
        return None;
    }
    let path: String = path.chars().filter(|char| !char.is_ascii_digit()).collect();
    match path.strip_prefix("event[].fields.").and_then(|field| field.split_once('.')) {
        Some((_, key)) => Some(format!("event[].fields.*.{key}")),
        None => Some(path),
    }
}

/// Holds the rows against a reader. `minimal` has the keys that are required and each section as a table of its own.
pub(crate) fn hold(title: &str, minimal: &str, read: impl Fn(&str) -> Outcome) {
    let rows = rows(title);
    assert!(rows.len() > 12, "{}", rows.len());
    let outcome = read(minimal);
    assert!(outcome.checked.is_ok(), "{:?}", outcome.checked);
    let sections: BTreeSet<&str> = rows.iter().map(|row| row.section.trim_end_matches("[]")).collect();
    let asked: BTreeSet<String> = outcome.asked.iter().filter_map(|path| normal(path)).collect();
    let listed: BTreeSet<String> = rows.iter().filter(|row| !row.is_free()).map(Row::path).collect();
    let unlisted: Vec<_> =
        asked.iter().filter(|path| !listed.contains(*path) && !sections.contains(path.as_str())).collect();
    assert!(unlisted.is_empty(), "docs/configuration.md lacks {unlisted:?}");
    let unasked: Vec<_> = listed.difference(&asked).collect();
    assert!(unasked.is_empty(), "docs/configuration.md has {unasked:?}, which nobody reads");
    rows.iter().for_each(|row| hold_row(row, minimal, &read));
}

fn hold_row(row: &Row, minimal: &str, read: &impl Fn(&str) -> Outcome) {
    let (path, text) = (row.path(), |value: Option<&str>| with(minimal, row, value));
    let without = read(&text(None)).checked;
    match row.default() {
        "required" => {
            let missed = format!("`{}` is missing", row.key);
            assert!(without.is_err_and(|faults| faults.contains(&missed)), "{path} is not required");
        }
        "none" => {}
        default => assert_eq!(read(&text(Some(default))).checked, without, "{path} has another default"),
    }
    if !row.words().is_empty() {
        let faults = read(&text(Some("\"?\""))).checked.expect_err(&path);
        let (_, allowed) = faults.split_once("must be ").unwrap_or_else(|| panic!("{path}: {faults}"));
        let words: Vec<_> = quoted(allowed).into_iter().filter(|word| *word != "?").collect();
        assert_eq!(words, row.words(), "{path} takes other words");
    }
}

/// The text with this value under the row's key, or without the key; no other line moves.
fn with(minimal: &str, row: &Row, value: Option<&str>) -> String {
    let header = match row.section.as_str() {
        "" => None,
        "event[].fields.*" => Some("[event.fields.status]".to_owned()),
        section => match section.strip_suffix("[]") {
            Some(array) => Some(format!("[[{array}]]")),
            None => Some(format!("[{}]", section.replace("[]", ""))),
        },
    };
    let line = value.map(|value| format!("{} = {value}", row.key)).unwrap_or_default();
    // Room for one more key at the beginning of each section.
    let mut lines = vec![String::new()];
    for line in minimal.lines() {
        lines.push(line.to_owned());
        if line.starts_with('[') {
            lines.push(String::new());
        }
    }
    let start = header.map_or(0, |header| lines.iter().position(|line| *line == header).expect(&header) + 1);
    let end = lines[start..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |count| start + count);
    let key = format!("{} = ", row.key);
    let place = lines[start..end].iter().position(|line| line.starts_with(&key)).map_or(start, |count| start + count);
    lines[place] = line;
    lines.join("\n")
}
