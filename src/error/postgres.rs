//! Postgres' errors as ours, by SQLSTATE (Postgres docs, appendix A).

use super::{Error, Kind};

impl Kind {
    /// The kind of a server error with this SQLSTATE.
    pub fn of_sqlstate(code: &str) -> Kind {
        match code {
            "28000" | "28P01" => Kind::PostgresAuthentication,
            "3D000" => Kind::DatabaseMissing,
            "42501" => Kind::Permission,
            "42P01" => Kind::SchemaMismatch,
            "53300" | "53400" | "53000" | "53100" | "53200" => Kind::PostgresExhausted,
            "55006" => Kind::SlotHeld,
            "55P03" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "57014" | "40001" | "40P01" => {
                Kind::PostgresNotReady
            }
            _ if code.starts_with("08") || code.starts_with("58") || code.starts_with("XX") => {
                Kind::PostgresUnreachable
            }
            _ => Kind::PostgresRefused,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        match error.as_db_error() {
            Some(db) => Error::new(Kind::of_sqlstate(db.code().code()), format!("the server said: {}", db.message())),
            None => Error::new(Kind::PostgresUnreachable, error.to_string()).because(error),
        }
    }
}
