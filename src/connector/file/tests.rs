use std::path::Path;

use super::*;

#[test]
fn the_worked_example_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (contracts, faults) = Repository::load(&root.join("schemas"));
    assert_eq!(faults.to_string(), "");
    let connector =
        load(&root.join("connectors/oms.toml"), &contracts, "").map_err(|faults| faults.to_string()).unwrap();
    let plan = connector.plan;
    assert_eq!((plan.name.as_str(), plan.source_id.as_str()), ("oms", "/oms/demo"));
    assert_eq!((plan.topics.len(), plan.events.len(), plan.tombstones.len(), plan.tables.len()), (5, 10, 1, 7));
}
