//! Which transactions a snapshot sees, and xids of 32 and 64 bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A `pg_snapshot`: what `pg_current_snapshot()` answers, as text `xmin:xmax:xip,xip`. Its xids are 64 bits wide and those
/// of top-level transactions, as pgoutput's are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PgSnapshot {
    xmin: u64,
    xmax: u64,
    in_progress: Vec<u64>,
}

/// The text was not of the form `xmin:xmax:xip,xip`.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidSnapshot;

impl PgSnapshot {
    /// Everything below has ended; the oldest transaction that was running.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// Nothing from here on is seen.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Whether what this transaction committed is visible; true for one that has rolled back, too.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }

    /// Whether it sees all that `other` sees. Of two snapshots of one server the later one does.
    pub fn covers(&self, other: &PgSnapshot) -> bool {
        let beyond = (self.xmax..other.xmax).any(|xid| other.sees(xid));
        !beyond && !self.in_progress.iter().any(|xid| other.sees(*xid))
    }
}

impl FromStr for PgSnapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<PgSnapshot, InvalidSnapshot> {
        let number = |part: &str| part.parse::<u64>().map_err(|_| InvalidSnapshot);
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or(InvalidSnapshot);
        let (xmin, xmax, list) = (number(next()?)?, number(next()?)?, next()?);
        let in_progress: Vec<u64> =
            list.split(',').filter(|part| !part.is_empty()).map(number).collect::<Result<_, _>>()?;
        let inside = in_progress.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin > xmax || !inside || !in_progress.is_sorted() {
            return Err(InvalidSnapshot);
        }
        Ok(PgSnapshot { xmin, xmax, in_progress })
    }
}

impl fmt::Display for PgSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, xid) in self.in_progress.iter().enumerate() {
            write!(f, "{}{xid}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for InvalidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a snapshot of the form xmin:xmax:xip,xip")
    }
}

impl std::error::Error for InvalidSnapshot {}

impl Serialize for PgSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PgSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PgSnapshot, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The xid of 64 bits that has `xid` as its lower half and lies nearest to `reference`: no two transactions that matter
/// at the same time are further apart than half of the 32 bits' range.
pub(super) fn widen(xid: u32, reference: u64) -> u64 {
    let distance = i64::from(xid.wrapping_sub(reference as u32) as i32);
    reference.checked_add_signed(distance).unwrap_or(u64::from(xid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> PgSnapshot {
        text.parse().unwrap()
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let s = snapshot("10:14:10,12");
        let seen: Vec<u64> = (8..16).filter(|xid| s.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 13]);
        assert_eq!((s.xmin(), s.xmax(), s.to_string().as_str()), (10, 14, "10:14:10,12"));
        assert_eq!(snapshot("7:7:").to_string(), "7:7:");
    }

    #[test]
    fn a_text_that_is_no_snapshot_is_refused() {
        for bad in ["", "1", "1:2", "2:1:", "1:2:x", "1:5:7", "1:9:5,3", "1:2:,0", "-1:2:"] {
            assert_eq!(bad.parse::<PgSnapshot>(), Err(InvalidSnapshot), "{bad}");
        }
    }

    #[test]
    fn the_later_snapshot_covers_the_earlier() {
        let history = ["10:10:", "10:12:10", "10:14:10,12", "12:14:12", "14:14:", "14:20:14,15,16,17,18"];
        for (i, earlier) in history.iter().enumerate() {
            for (j, later) in history.iter().enumerate() {
                assert_eq!(snapshot(later).covers(&snapshot(earlier)), j >= i, "{later} covers {earlier}");
            }
        }
        assert!(snapshot("14:14:").covers(&snapshot("14:16:14,15")), "both see the same");
    }

    /// Faults: ACK-19.
    #[test]
    fn short_xids_are_widened_to_the_nearest() {
        let epoch = 1 << 32;
        assert_eq!(widen(7, 5), 7);
        assert_eq!(widen(5, epoch + 7), epoch + 5);
        assert_eq!(widen(u32::MAX, epoch + 7), epoch - 1);
        assert_eq!(widen(3, epoch - 1), epoch + 3);
        assert_eq!(widen(u32::MAX, 5), u64::from(u32::MAX), "nothing lies before the first");
    }
}
