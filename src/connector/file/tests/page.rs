//! Every key of a connector file is on the page of the keys, as it is.

use super::*;
use crate::connector::document::tests::{Outcome, hold};

/// Every section, and the keys that are required.
const MINIMAL: &str = r#"[source]
id = "/oms/test"
host = "localhost"
database = "oms"
user = "walwright"
slot = "oms"
publication = "oms"
[snapshot]
mode = "none"
[[topic]]
name = "oms.orders"
[topic.create]
partitions = 3
replication = 1
[[topic]]
name = "oms.state"
config = { "cleanup.policy" = "compact" }
[[event]]
contract = "oms/OrderPlaced/v1"
table = "public.orders"
on = ["insert"]
topic = "oms.orders"
key = "id"
[event.fields]
meta = "meta"
order_id = "id"
total = "total"
note = "note"
[event.fields.status]
value = "status"
[event.headers]
[[tombstone]]
table = "public.orders"
topic = "oms.state"
key = "old.id"
[[table]]
name = "public.orders"
[tables]
"#;

#[test]
fn every_key_of_a_connector_file_is_on_the_page() {
    let (_, dir) = load_named("oms.toml", &format!("{HEAD}{EVENT}{FILLER}")).unwrap();
    let (contracts, _) = Repository::load(&dir.path().join("schemas"));
    let file = dir.path().join("oms.toml");
    hold("connectors/NAME.toml", MINIMAL, |text| {
        fs::write(&file, text).unwrap();
        let document = Document::read(&file).unwrap();
        let table = document.parse().unwrap();
        let reader = Reader::new(&document, &[]);
        let connector = read(&mut reader.root(&table), &file, &contracts, "");
        let (asked, faults) = (reader.asked(), reader.finish());
        let checked = |connector: Connector| {
            let resolved = connector.source.resolve_with(&|_| None).unwrap();
            format!("{:?} {resolved:?}", connector.plan)
        };
        let checked = connector.filter(|_| faults.is_empty()).map(checked).ok_or(faults.to_string());
        Outcome { checked, asked }
    });
}
