//! The rows of `COPY .. TO STDOUT (FORMAT binary)` as rows of the stream (Postgres docs, COPY, "Binary Format"): each
//! value is the same output of the same send function.

use super::reader::Reader;
use crate::error::Result;
use crate::model::{Row, Slot, SlotKind};

/// What every file begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xFF\r\n\0";

/// Rows over the bytes of a whole COPY.
pub struct CopyRows<'a> {
    reader: Reader<'a>,
    /// How each column is written: `Binary`, or `Text` where the query made text of it.
    columns: &'a [SlotKind],
    slots: Vec<Slot>,
}

impl<'a> CopyRows<'a> {
    /// Reads the header. An error is of kind `Protocol`.
    pub fn new(bytes: &'a [u8], columns: &'a [SlotKind]) -> Result<CopyRows<'a>> {
        let mut reader = Reader::copy(bytes);
        for expected in SIGNATURE {
            if reader.u8()? != *expected {
                return Err(reader.fault("no signature"));
            }
        }
        let flags = reader.u32()?;
        if flags != 0 {
            return Err(reader.fault(format_args!("the flags {flags:#x}, which are not known")));
        }
        reader.counted()?;
        Ok(CopyRows { reader, columns, slots: Vec::with_capacity(columns.len()) })
    }

    /// The next row; None after the last one, where the trailer and nothing behind it must stand.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        let count = self.reader.u16()?;
        if count == u16::MAX {
            return self.reader.end().map(|()| None);
        }
        if usize::from(count) != self.columns.len() {
            let expected = self.columns.len();
            return Err(self.reader.fault(format_args!("a row of {count} columns where {expected} were asked for")));
        }
        self.slots.clear();
        let mut reader = self.reader;
        for kind in self.columns {
            self.slots.push(reader.slot_or_null(*kind)?);
        }
        self.reader = reader;
        Ok(Some(Row::new(self.reader.body(), &self.slots)))
    }
}
