//! Places in the write-ahead log and in a connector's total order of changes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A position in the write-ahead log, in bytes (Postgres: "pg_lsn type"). Written as `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes from `earlier` to here, 0 where `earlier` lies ahead.
    pub fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text was not of the form `16/B374D848`.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidLsn;

impl fmt::Display for InvalidLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an LSN of the form 16/B374D848")
    }
}

impl std::error::Error for InvalidLsn {}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Lsn, InvalidLsn> {
        let (high, low) = text.split_once('/').ok_or(InvalidLsn)?;
        let half = |part: &str| {
            let hex = (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u64::from_str_radix(part, 16).map_err(|_| InvalidLsn) } else { Err(InvalidLsn) }
        };
        Ok(Lsn(half(high)? << 32 | half(low)?))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lsn, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a change stands in a connector's total order: epoch first, then the LSN of its transaction's commit record,
/// then its place in the transaction. `r` counts the snapshot reads that stand before a change; a change itself has
/// `u64::MAX` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Grows only when an operator accepts a gap.
    pub epoch: u32,
    /// The commit record's LSN; for a non-transactional message its own.
    pub lsn: Lsn,
    /// Place in the transaction, from 0.
    pub n: u64,
    /// Snapshot reads before the change, or `u64::MAX` for the change itself.
    pub r: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} change {}", self.lsn, self.n)?;
        if self.epoch > 0 { write!(f, " epoch {}", self.epoch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_text_is_that_of_postgres() {
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert_eq!("0/0".parse(), Ok(Lsn(0)));
        assert_eq!("FFFFFFFF/FFFFFFFF".parse(), Ok(Lsn(u64::MAX)));
        for bad in ["", "/", "0", "0/", "1/G", "+1/0", "123456789/0"] {
            assert_eq!(bad.parse::<Lsn>(), Err(InvalidLsn), "{bad}");
        }
    }

    #[test]
    fn reads_stand_before_the_change_they_precede() {
        let change = Position { epoch: 0, lsn: Lsn(9), n: 1, r: u64::MAX };
        let read = Position { r: 3, ..change };
        assert!(read < change && Position { n: 0, ..change } < read);
        assert!(change < Position { epoch: 1, lsn: Lsn(1), n: 0, r: 0 });
    }
}
