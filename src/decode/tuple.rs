//! TupleData: one row's columns as slots.

use super::reader::Reader;
use crate::error::{At, Result};
use crate::model::{Relation, Slot, SlotKind};

/// Reads a whole row, one slot for each of the relation's columns, into `slots`.
pub(super) fn read_row(reader: &mut Reader<'_>, relation: &Relation, slots: &mut Vec<Slot>) -> Result<()> {
    slots.clear();
    let count = usize::from(reader.u16()?);
    if count != relation.columns.len() {
        let expected = relation.columns.len();
        let fault = reader.fault(format_args!("a row of {count} columns for a table of {expected}"));
        return Err(fault.at(At::table(relation.name.clone())));
    }
    // By value, so that it stays out of memory from column to column.
    let mut columns = *reader;
    for _ in 0..count {
        slots.push(read_slot(&mut columns)?);
    }
    *reader = columns;
    Ok(())
}

/// Reads a key tuple: the columns outside the replica identity were not sent, although the wire pads them as NULL.
pub(super) fn read_key(reader: &mut Reader<'_>, relation: &Relation, slots: &mut Vec<Slot>) -> Result<()> {
    read_row(reader, relation, slots)?;
    for (slot, column) in slots.iter_mut().zip(&relation.columns) {
        if !column.in_identity {
            *slot = Slot { kind: SlotKind::Absent, start: 0, len: 0 };
        }
    }
    Ok(())
}

#[inline]
fn read_slot(reader: &mut Reader<'_>) -> Result<Slot> {
    let kind = match reader.u8()? {
        b'b' => SlotKind::Binary,
        b'n' => return Ok(Slot { kind: SlotKind::Null, start: 0, len: 0 }),
        b'u' => return Ok(Slot { kind: SlotKind::Unchanged, start: 0, len: 0 }),
        b't' => SlotKind::Text,
        _ => return Err(reader.fault("a column of unknown kind")),
    };
    reader.slot(kind)
}
