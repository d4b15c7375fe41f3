//! Days and microseconds as calendar text in UTC, without a table and without an allocation.

/// Microseconds of a day.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// Days from 2000-01-01, the zero of Postgres' dates, to 0000-03-01, the zero of the calculation below.
const DAYS_TO_ERA: i64 = 730_425;

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    /// The day that lies `days` after 2000-01-01. The calculation is Howard Hinnant's `civil_from_days`: years begin in
    /// March, so that the leap day is the last one.
    pub(super) fn since_2000(days: i64) -> Day {
        let days = days + DAYS_TO_ERA;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Day { year: year_of_era + era * 400 + i64::from(month <= 2), month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }

    /// `YYYY-MM-DD`, the year counted before Christ where it is 0 or less; the caller appends ` BC`.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let year = if self.year > 0 { self.year } else { 1 - self.year };
        padded(year.unsigned_abs(), 4, out);
        out.push(b'-');
        padded(self.month.unsigned_abs(), 2, out);
        out.push(b'-');
        padded(self.day.unsigned_abs(), 2, out);
    }
}

/// `HH:MM:SS` and the microseconds that follow the second.
pub(super) fn write_clock(micros_of_day: i64, out: &mut Vec<u8>) -> u64 {
    let micros = micros_of_day.unsigned_abs();
    let seconds = micros / 1_000_000;
    padded(seconds / 3600, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    micros % 1_000_000
}

/// Digits, at least `width` of them.
pub(super) fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if value == 0 {
            break;
        }
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
    }
    out.extend_from_slice(digits.get(20 - used.max(width)..).unwrap_or(&digits));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, (year, month, day)) in [
            (0, (2000, 1, 1)),
            (59, (2000, 2, 29)),
            (-1, (1999, 12, 31)),
            (-10_957, (1970, 1, 1)),
            (9_821, (2026, 11, 21)),
            (-36_465, (1900, 3, 1)),
            (-730_119, (1, 1, 1)),
            (-730_120, (0, 12, 31)),
        ] {
            assert_eq!(Day::since_2000(days), Day { year, month, day }, "{days}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = Day::since_2000(-800_000);
        for days in -799_999..400_000 {
            let next = Day::since_2000(days);
            let leap = next.year % 4 == 0 && (next.year % 100 != 0 || next.year % 400 == 0);
            let length = match last.month {
                4 | 6 | 9 | 11 => 30,
                2 if leap => 29,
                2 => 28,
                _ => 31,
            };
            let expected = if last.day < length {
                Day { day: last.day + 1, ..last }
            } else if last.month < 12 {
                Day { month: last.month + 1, day: 1, ..last }
            } else {
                Day { year: last.year + 1, month: 1, day: 1 }
            };
            assert_eq!(next, expected);
            last = next;
        }
    }
}
