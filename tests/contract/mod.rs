//! The contracts of this repository against a real registry.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use walwright::contract::{Contract, Repository};
use walwright::error::Kind;
use walwright::registry::{Client, Compatibility, Settings, Subject, push};

use crate::support::Result;
use crate::support::registry::{Registry, get};
use crate::support::sandbox::Sandbox;

fn client(registry: &Registry) -> Result<Client> {
    Ok(Client::new(&Settings { url: registry.url(), credentials: None, ca: None, timeout: Duration::from_secs(10) })?)
}

fn contracts() -> Vec<Arc<Contract>> {
    let (repository, faults) = Repository::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"));
    assert!(faults.is_empty(), "{faults}");
    repository.iter().cloned().collect()
}

/// Faults: REG-03.
#[test]
fn a_pushed_contract_is_found_and_an_incompatible_one_refused() -> Result<()> {
    let registry = Registry::start(&Arc::new(Sandbox::new()?))?;
    let subjects: Vec<Subject> = contracts()
        .into_iter()
        .map(|contract| Subject { name: format!("oms.orders-{}", contract.full_name), contract })
        .collect();
    assert!(subjects.len() >= 10);

    let unknown = client(&registry)?.lookup(&subjects[0].name, &subjects[0].contract.schema).unwrap_err();
    assert_eq!(unknown.kind(), Kind::RegistryRefused);
    assert!(unknown.detail().ends_with("; push it with walwright schemas push"), "{unknown}");

    let pusher = client(&registry)?;
    for pushed in push(&pusher, &subjects, Compatibility::default()) {
        let (Subject { name, contract }, id) = (&pushed.subject, pushed.id?);
        // A client that has not seen them finds the same ids, and the same schema under them.
        assert_eq!(client(&registry)?.lookup(name, &contract.schema)?, id);
        let served: serde_json::Value = serde_json::from_str(&get(&pusher.schema_uri(id))?)?;
        let schema: serde_json::Value = serde_json::from_str(served["schema"].as_str().unwrap_or_default())?;
        assert_eq!(schema, serde_json::from_str::<serde_json::Value>(&contract.schema)?);
        let config = get(&format!("{}/config/{name}", registry.url()))?;
        assert!(config.contains("FULL_TRANSITIVE"), "{config}");
    }

    let first = &subjects[0];
    let broken = first.contract.schema.replacen("\"long\"", "\"string\"", 1);
    assert_ne!(broken, first.contract.schema);
    let refused = client(&registry)?.register(&first.name, &broken).unwrap_err();
    assert_eq!(refused.kind(), Kind::RegistryRefused);
    assert!(refused.detail().contains("the registry said: ") && refused.detail().contains("LONG"), "{refused}");
    Ok(())
}

#[test]
fn a_registry_that_dies_is_unreachable_and_one_that_comes_back_answers() -> Result<()> {
    let mut registry = Registry::start(&Arc::new(Sandbox::new()?))?;
    let (client, schema) = (client(&registry)?, r#"{"type":"record","name":"A","fields":[]}"#);
    let id = client.register("a", schema)?;
    registry.kill_hard()?;
    assert_eq!(client.register("b", schema).unwrap_err().kind(), Kind::RegistryUnreachable);
    // What was seen once is remembered: an id never changes.
    assert_eq!(client.lookup("a", schema)?, id);
    registry.restart()?;
    client.register("b", schema)?;
    Ok(())
}
