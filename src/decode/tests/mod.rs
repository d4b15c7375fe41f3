//! Golden bytes by hand from the documentation, bytes captured from a server, and hostile bytes.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects, reason = "a test may panic")]

mod captured;
mod copy;
mod golden;
mod hostile;
mod partitions;

use super::*;
use crate::model::{Datum, Row};

/// Builds messages as the documentation describes them.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(kind: u8) -> Bytes {
        Bytes(vec![kind])
    }

    fn u8(mut self, value: u8) -> Bytes {
        self.0.push(value);
        self
    }

    fn u16(mut self, value: u16) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn text(mut self, value: &str) -> Bytes {
        self.0.extend(value.as_bytes());
        self.u8(0)
    }

    fn counted(mut self, value: &[u8]) -> Bytes {
        self = self.u32(u32::try_from(value.len()).unwrap());
        self.0.extend(value);
        self
    }

    fn tuple(mut self, row: &[Datum<'_>]) -> Bytes {
        self = self.u16(u16::try_from(row.len()).unwrap());
        for datum in row {
            self = match *datum {
                Datum::Null | Datum::Absent => self.u8(b'n'),
                Datum::Unchanged => self.u8(b'u'),
                Datum::Text(value) => self.u8(b't').counted(value),
                Datum::Binary(value) => self.u8(b'b').counted(value),
            };
        }
        self
    }
}

/// A table of `columns` int4 columns, the first `keys` of which are the replica identity.
fn relation(oid: u32, table: &str, identity: u8, columns: u16, keys: u16) -> Vec<u8> {
    let mut bytes = Bytes::of(b'R').u32(oid).text("public").text(table).u8(identity).u16(columns);
    for column in 0..columns {
        bytes = bytes.u8(u8::from(column < keys)).text(&format!("c{column}")).u32(23).u32(u32::MAX);
    }
    bytes.0
}

fn data<'a>(row: Option<Row<'a>>) -> Vec<Datum<'a>> {
    let row = row.unwrap();
    (0..row.len()).map(|column| row.get(column)).collect()
}
