//! The column types that can become fields, resolved from the catalog (a domain to its base type).

use std::fmt;

/// Microseconds from the Unix epoch to 2000-01-01, the zero of Postgres' dates and timestamps.
pub const PG_EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;

/// A column's type as far as mapping and encoding tell types apart.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// text, varchar, bpchar, name, citext: bytes of the client encoding, UTF-8 here.
    Text,
    Bytea,
    Uuid,
    /// `precision` and `scale` are None for an unconstrained numeric.
    Numeric {
        precision: Option<u16>,
        scale: Option<i16>,
    },
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Json,
    Jsonb,
    /// The labels in their sort order.
    Enum(Vec<String>),
    /// Not supported yet; its name as `format_type` gives it.
    Other(String),
}

impl ColumnType {
    /// The type with this OID in `pg_type.dat`, for the built-in types; None: ask the catalog.
    /// `modifier` is `atttypmod`, which carries a numeric's precision and scale (numeric.c, `make_numeric_typmod`).
    pub fn builtin(oid: u32, modifier: i32) -> Option<ColumnType> {
        Some(match oid {
            16 => ColumnType::Bool,
            17 => ColumnType::Bytea,
            19 | 25 | 1042 | 1043 => ColumnType::Text,
            20 => ColumnType::Int8,
            21 => ColumnType::Int2,
            23 => ColumnType::Int4,
            114 => ColumnType::Json,
            700 => ColumnType::Float4,
            701 => ColumnType::Float8,
            1082 => ColumnType::Date,
            1083 => ColumnType::Time,
            1114 => ColumnType::Timestamp,
            1184 => ColumnType::TimestampTz,
            1700 => numeric(modifier),
            2950 => ColumnType::Uuid,
            3802 => ColumnType::Jsonb,
            _ => return None,
        })
    }
}

fn numeric(modifier: i32) -> ColumnType {
    if modifier < 4 {
        return ColumnType::Numeric { precision: None, scale: None };
    }
    let packed = modifier - 4;
    let precision = u16::try_from((packed >> 16) & 0xFFFF).ok();
    let scale = i16::try_from(((packed & 0x7FF) ^ 1024) - 1024).ok();
    ColumnType::Numeric { precision, scale }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            ColumnType::Bool => "boolean",
            ColumnType::Int2 => "smallint",
            ColumnType::Int4 => "integer",
            ColumnType::Int8 => "bigint",
            ColumnType::Float4 => "real",
            ColumnType::Float8 => "double precision",
            ColumnType::Text => "text",
            ColumnType::Bytea => "bytea",
            ColumnType::Uuid => "uuid",
            ColumnType::Numeric { precision: Some(p), scale: Some(s) } => return write!(f, "numeric({p},{s})"),
            ColumnType::Numeric { .. } => "numeric",
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "timestamp",
            ColumnType::TimestampTz => "timestamptz",
            ColumnType::Json => "json",
            ColumnType::Jsonb => "jsonb",
            ColumnType::Enum(_) => "enum",
            ColumnType::Other(name) => name,
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_modifier_is_unpacked_as_postgres_packs_it() {
        let of = |modifier| ColumnType::builtin(1700, modifier);
        assert_eq!(of(-1), Some(ColumnType::Numeric { precision: None, scale: None }));
        assert_eq!(of((12 << 16 | 2) + 4), Some(ColumnType::Numeric { precision: Some(12), scale: Some(2) }));
        assert_eq!(of((5 << 16 | 0x7FE) + 4), Some(ColumnType::Numeric { precision: Some(5), scale: Some(-2) }));
    }
}
