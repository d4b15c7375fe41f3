//! Contracts: Avro schemas in `schemas/<domain>/<Event>/v<N>.avsc`, loaded and checked into plain data.

mod plan;

pub use plan::{Contract, ContractField, FieldType, MetaField, Nullability};
