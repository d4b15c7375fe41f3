use super::*;
use crate::connector::document::tests::{Outcome, hold, rows};

const TITLE: &str = "walwright.toml";

/// Every section, and the keys that are required.
const MINIMAL: &str = r#"connectors = "connectors/"
schemas = "schemas/"
[kafka]
brokers = "localhost:9092"
[kafka.client]
[registry]
url = "http://localhost:8081"
[admin]
[log]
"#;

#[test]
fn every_key_of_the_process_file_is_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("walwright.toml");
    hold(TITLE, MINIMAL, |text| {
        std::fs::write(&file, text).unwrap();
        let document = Document::read(&file).unwrap();
        let table = document.parse().unwrap();
        let reader = Reader::new(&document, &[]);
        let found = read(reader.root(&table));
        let (asked, faults) = (reader.asked(), reader.finish());
        let checked = found.checked().filter(|_| faults.is_empty());
        Outcome { checked: checked.map(|process| format!("{process:?}")).ok_or(faults.to_string()), asked }
    });
}

#[test]
fn the_page_names_the_variable_of_each_key() {
    for row in rows(TITLE) {
        let variable = format!("WALWRIGHT_{}", row.path().replace('.', "__").to_uppercase());
        assert_eq!(row.variable(), if row.is_free() { "none" } else { &variable });
    }
}
