//! Contracts: Avro schemas in `schemas/<domain>/<Event>/v<N>.avsc`, loaded and checked into plain data.

mod default;
mod field;
mod inline;
mod json;
mod meta;
mod plan;
mod repository;

pub use plan::{Contract, ContractField, FieldType, MetaField, Nullability};
pub use repository::Repository;

#[cfg(test)]
mod tests;
