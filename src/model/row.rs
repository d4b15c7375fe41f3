//! Rows as views over received bytes: nothing is copied, nothing allocated per row.

/// What the stream says about one column of a row. Four different things:
/// a NULL is a value, `Unchanged` is a TOASTed value that the server did not resend, `Absent` was never part of the tuple.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datum<'a> {
    Null,
    /// An out-of-line value that the update left as it was (protocol docs, TupleData, byte `u`).
    Unchanged,
    /// Not in the tuple: a column outside the replica identity of a key tuple, which the wire pads as NULL.
    Absent,
    /// The type's text output in the client encoding (UTF-8).
    Text(&'a [u8]),
    /// The type's send function's output.
    Binary(&'a [u8]),
}

/// Where one column's datum lies in the bytes of its row.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub kind: SlotKind,
    /// Offset of the value in the row's bytes.
    pub start: u32,
    /// Length of the value in bytes.
    pub len: u32,
}

/// The kind of a datum without its bytes.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    Null,
    Unchanged,
    Absent,
    Text,
    Binary,
}

/// A row: slots that point into received bytes. Slots are reused from row to row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    bytes: &'a [u8],
    slots: &'a [Slot],
}

impl<'a> Row<'a> {
    /// `slots` point into `bytes`; a slot that points outside reads as an empty value, never out of bounds.
    pub fn new(bytes: &'a [u8], slots: &'a [Slot]) -> Row<'a> {
        Row { bytes, slots }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has no column.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The datum of column `index`; `Absent` past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Datum<'a> {
        let Some(slot) = self.slots.get(index) else { return Datum::Absent };
        match slot.kind {
            SlotKind::Null => Datum::Null,
            SlotKind::Unchanged => Datum::Unchanged,
            SlotKind::Absent => Datum::Absent,
            SlotKind::Text => Datum::Text(self.value(*slot)),
            SlotKind::Binary => Datum::Binary(self.value(*slot)),
        }
    }

    #[inline]
    fn value(&self, slot: Slot) -> &'a [u8] {
        let start = slot.start as usize;
        self.bytes.get(start..start + slot.len as usize).unwrap_or_default()
    }
}
