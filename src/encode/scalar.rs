//! Fixed-width values in network byte order, as the send functions write them.

use super::reason::Reason;

/// The width of an integer column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two,
    Four,
    Eight,
}

impl Width {
    #[inline]
    pub(super) fn read(self, binary: &[u8]) -> Result<i64, Reason> {
        Ok(match self {
            Width::Two => i64::from(i16::from_be_bytes(array(binary)?)),
            Width::Four => i64::from(i32::from_be_bytes(array(binary)?)),
            Width::Eight => i64::from_be_bytes(array(binary)?),
        })
    }
}

/// Exactly `N` bytes.
#[inline]
pub(super) fn array<const N: usize>(binary: &[u8]) -> Result<[u8; N], Reason> {
    binary.try_into().map_err(|_| Reason::Malformed)
}

/// Text as it is. A database in SQL_ASCII sends whatever bytes it holds, and an Avro string is UTF-8.
#[inline]
pub(super) fn utf8(bytes: &[u8]) -> Result<&[u8], Reason> {
    // Most text is, and this looks at many bytes at once where the general check of so short a text does not.
    if bytes.is_ascii() {
        return Ok(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Reason::OutOfRange("is not valid UTF-8")),
    }
}
