//! Ids and sequences: texts that spell a record's parts, so that the same input always has the same id.

use crate::model::{Lsn, Position, TableName, hex_upper};

/// What the ids of one rule's records on one table version have in common; only LSN and count are written per record.
///
/// `<source id>:<epoch>:<commit lsn>:<schema.table>:<k>:<contract path>`, where k counts the table's changes in the
/// transaction from 0, and a tombstone has its topic in the contract's place. In each part `%`, `:` and bytes outside
/// 0x21..0x7e are percent-encoded (RFC 3986, section 2.1), in the schema's name also `.`, so that no two records share
/// an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    head: Vec<u8>,
    table: Vec<u8>,
    rule: Vec<u8>,
}

impl Identity {
    /// `rule` is the event's contract path, for a tombstone its topic.
    pub fn new(source_id: &str, epoch: u32, table: &TableName, rule: &str) -> Identity {
        let mut head = Vec::new();
        encode(source_id.as_bytes(), b":%", &mut head);
        head.push(b':');
        write_decimal(epoch.into(), &mut head);
        head.push(b':');
        let mut name = vec![b':'];
        encode(table.schema.as_bytes(), b":%.", &mut name);
        name.push(b'.');
        encode(table.table.as_bytes(), b":%", &mut name);
        name.push(b':');
        let mut tail = vec![b':'];
        encode(rule.as_bytes(), b":%", &mut tail);
        Identity { head, table: name, rule: tail }
    }

    /// Appends the id of the record that this rule makes of the table's change number `k` (from 0) of the transaction
    /// that commits at `lsn`.
    pub fn write(&self, lsn: Lsn, k: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        write_hex((lsn.0 >> 32) as u32, out);
        out.push(b'/');
        write_hex(lsn.0 as u32, out);
        out.extend_from_slice(&self.table);
        write_decimal(k, out);
        out.extend_from_slice(&self.rule);
    }

    /// The LSN and the count that `write` has made this id of; None where it is another rule's, table's, source's or epoch's,
    /// that of a read, or none at all.
    pub fn read(&self, id: &[u8]) -> Option<(Lsn, u64)> {
        let rest = id.strip_prefix(self.head.as_slice())?.strip_suffix(self.rule.as_slice())?;
        let at = rest.iter().position(|byte| *byte == b':')?;
        let (lsn, rest) = rest.split_at(at);
        let k = rest.strip_prefix(self.table.as_slice())?;
        let (lsn, k) = (std::str::from_utf8(lsn).ok()?.parse().ok()?, std::str::from_utf8(k).ok()?.parse().ok()?);
        let mut again = Vec::with_capacity(id.len());
        self.write(lsn, k, &mut again);
        (again == id).then_some((lsn, k))
    }

    /// Appends the id of the record that this rule makes of a row that a snapshot has read. `version` is what
    /// `write_version` makes of the row, so the same version has the same id however often it is read.
    ///
    /// `<source id>:<epoch>:<schema.table>:<key>:<xmin>:<contract path>`
    pub fn write_read(&self, version: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(self.table.strip_prefix(b":").unwrap_or(&self.table));
        out.extend_from_slice(version);
        out.extend_from_slice(&self.rule);
    }
}

/// Appends what names a version of a row: the key's columns as text, joined by `,`, which is percent-encoded in them, and
/// `xmin`. `write_part` appends the text of the column with this number, unencoded, to what it is given.
///
/// # Errors
/// As `write_part`.
pub fn write_version<E>(
    columns: usize,
    xmin: u32,
    mut write_part: impl FnMut(usize, &mut Vec<u8>) -> Result<(), E>,
    out: &mut Vec<u8>,
) -> Result<(), E> {
    for number in 0..columns {
        if number > 0 {
            out.push(b',');
        }
        let start = out.len();
        write_part(number, out)?;
        encode_from(start, b":%,", out);
    }
    out.push(b':');
    write_decimal(xmin.into(), out);
    Ok(())
}

/// Appends `EEEEEEEE-LLLLLLLLLLLLLLLL-NNNNNNNNNN-RRRRRRRRRR`: epoch, LSN, place in the transaction and reads before it
/// in upper-case hex, of one length, so that the order of the bytes is that of the source. Places stop at 2^40 - 1; a
/// change itself has all ones as its last part, reads stay below.
pub fn write_sequence(position: &Position, out: &mut Vec<u8>) {
    const LAST: u64 = 0xFF_FFFF_FFFF;
    let reads = if position.r == u64::MAX { LAST } else { position.r.min(LAST - 1) };
    out.extend_from_slice(&hex::<8>(position.epoch.into()));
    out.push(b'-');
    out.extend_from_slice(&hex::<16>(position.lsn.0));
    out.push(b'-');
    out.extend_from_slice(&hex::<10>(position.n.min(LAST)));
    out.push(b'-');
    out.extend_from_slice(&hex::<10>(reads));
}

/// Encodes what stands from `start` on.
fn encode_from(start: usize, reserved: &[u8], out: &mut Vec<u8>) {
    let part = out.get(start..).unwrap_or_default();
    if part.iter().any(|byte| !stands(*byte, reserved)) {
        let part = part.to_vec();
        out.truncate(start);
        encode(&part, reserved, out);
    }
}

fn stands(byte: u8, reserved: &[u8]) -> bool {
    (0x21..=0x7E).contains(&byte) && !reserved.contains(&byte)
}

fn encode(part: &[u8], reserved: &[u8], out: &mut Vec<u8>) {
    for &byte in part {
        if stands(byte, reserved) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend_from_slice(&hex::<2>(byte.into()));
        }
    }
}

/// The last `DIGITS` hex digits, 16 at most.
#[inline]
fn hex<const DIGITS: usize>(value: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; 16];
    digits[..8].copy_from_slice(&hex_upper((value >> 32) as u32));
    digits[8..].copy_from_slice(&hex_upper(value as u32));
    digits.last_chunk().copied().unwrap_or([b'0'; DIGITS])
}

/// Hex without leading zeros, as Postgres writes each half of an LSN.
fn write_hex(half: u32, out: &mut Vec<u8>) {
    let zeros = (half | 1).leading_zeros() as usize / 4;
    out.extend_from_slice(hex_upper(half).get(zeros..).unwrap_or_default());
}

fn write_decimal(value: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value;
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}
