//! The registry's ids of what a connector publishes, looked up once before the first row.

use super::connector::Connector;
use super::programs::ContractIds;
use crate::connector::KeyKind;
use crate::contract::Contract;
use crate::error::{At, Kind, Result};
use crate::registry::SubjectNameStrategy;

/// Ids, and where subscribers find the schemas.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) ids: ContractIds,
    /// By index of `Plan::events`, for `ce_dataschema`.
    pub(super) schema_uris: Vec<String>,
}

/// Looks all contracts of the plan up (with `register = true`: registers them); the answer is kept, so that the registry
/// may be away later.
pub(super) fn ids(connector: &mut Connector) -> Result<Ids> {
    if let Some(known) = &connector.ids {
        return Ok(known.clone());
    }
    let found = find(connector, connector.process.registry.register)?;
    connector.ids = Some(found.clone());
    Ok(found)
}

/// What a start would find, in words; nothing is registered.
pub(super) fn outlook(connector: &Connector) -> Result<String> {
    match find(connector, false) {
        Ok(found) => Ok(format!("{} contracts are registered", found.schema_uris.len())),
        Err(error) if error.kind() == Kind::RegistryRefused && connector.process.registry.register => {
            Ok("the start registers what is missing".to_owned())
        }
        Err(error) => Err(error),
    }
}

fn find(connector: &Connector, register: bool) -> Result<Ids> {
    let (plan, registry) = (&connector.plan, &connector.process.registry);
    let client = registry.client()?;
    let id = |subject: &str, contract: &Contract| {
        let found = match register {
            true => client.register(subject, &contract.schema),
            false => client.lookup(subject, &contract.schema),
        };
        found.map_err(|error| error.at(At::contract(&contract.path)))
    };
    let mut found = Ids { ids: ContractIds::default(), schema_uris: Vec::new() };
    for event in &plan.events {
        let topic = &plan.topics[event.topic].name;
        let id = id(&registry.subject_name_strategy.value(topic, &event.contract), &event.contract)?;
        found.schema_uris.push(client.schema_uri(id));
        found.ids.values.push(id);
    }
    for topic in &plan.topics {
        let key = match &topic.key {
            KeyKind::String => None,
            KeyKind::Avro(contract) => Some(id(&SubjectNameStrategy::key(&topic.name), contract)?),
        };
        found.ids.keys.push(key);
    }
    Ok(found)
}
