//! Stage 4: rows to Avro bytes by programs compiled once for a relation version and a contract. Pure.
