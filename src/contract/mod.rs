//! Contracts: Avro schemas in `schemas/<domain>/<Event>/v<N>.avsc`, loaded and checked into plain data.

mod compatibility;
mod default;
mod difference;
mod field;
mod inline;
mod json;
mod meta;
mod plan;
mod repository;

pub use compatibility::{Compatibility, Lineage, unreadable};
pub use difference::difference;
pub use plan::{Contract, ContractField, FieldType, MetaField, Nullability};
pub use repository::Repository;

#[cfg(test)]
mod tests;
