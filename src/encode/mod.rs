//! Stage 4: rows to Avro bytes by programs compiled once for a relation version and a contract. Pure.
//!
//! ```text
//! EventPlan + Relation + schema ids --compile--> EventProgram
//! Change + Meta --EventProgram--> key, value, headers in a reused buffer
//! ```
//!
//! No value tree stands between tuple bytes and Avro bytes. What cannot be held exactly is an error, never rounded.

mod avro;
mod bind;
mod calendar;
mod codes;
mod conversion;
mod fits;
pub mod headers;
mod literal;
mod meta;
mod numeric;
mod program;
mod reason;
mod scalar;
mod step;
mod text;

pub use meta::{Capture, Meta};
pub use program::{EventProgram, SchemaIds, TombstoneProgram};

use crate::error::{Error, Kind, Result};
use crate::model::ColumnType;

/// Appends Postgres' text output of a value's binary form, as keys and headers carry it.
///
/// # Errors
/// `SchemaMismatch` for a type whose text is not reproduced here; as `EventProgram::key` for the value.
pub fn write_text(kind: &ColumnType, binary: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let form = text::TextForm::of(kind)
        .ok_or_else(|| Error::new(Kind::SchemaMismatch, format!("values of type {kind} are not supported as text")))?;
    form.write(binary, out).map_err(|reason| Error::new(reason.kind(), format!("the value {}", reason.text())))
}

#[cfg(test)]
mod tests;
