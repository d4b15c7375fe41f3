//! Exact comparison of decimal numbers where they lie: no conversion, no allocation, no rounding.

use std::cmp::Ordering;

/// A decimal number over the bytes that hold it. Ordered as Postgres orders numeric: NaN equals itself and is the
/// greatest, infinities lie outside the finite numbers (Postgres docs, "Numeric Types").
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    class: Class,
    digits: Digits<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    NegativeInfinity,
    Negative,
    Positive,
    Infinity,
    NaN,
}

/// Digits without sign, by the power of ten that they stand for.
#[derive(Clone, Copy, Debug)]
enum Digits<'a> {
    Int(u64),
    /// Base 10000, big-endian: the first group counts `10000 ^ weight` (numeric.c, `numeric_send`).
    Groups {
        weight: i32,
        groups: &'a [u8],
    },
    /// ASCII digits before and after the point.
    Text {
        whole: &'a [u8],
        fraction: &'a [u8],
    },
}

const NONE: Digits<'static> = Digits::Int(0);

impl<'a> Decimal<'a> {
    pub(super) fn int(value: i64) -> Decimal<'static> {
        let class = if value < 0 { Class::Negative } else { Class::Positive };
        Decimal { class, digits: Digits::Int(value.unsigned_abs()) }
    }

    /// The output of `numeric_send`: four 16-bit fields (group count, weight, sign, display scale), then the groups.
    pub(super) fn binary(bytes: &'a [u8]) -> Option<Decimal<'a>> {
        let (header, groups) = bytes.split_first_chunk::<8>()?;
        let [count_high, count_low, weight_high, weight_low, sign_high, sign_low, _, _] = *header;
        let count = usize::from(u16::from_be_bytes([count_high, count_low]));
        let is_group = |group: &[u8; 2]| u16::from_be_bytes(*group) < 10_000;
        if groups.len() != 2 * count || !groups.as_chunks::<2>().0.iter().all(is_group) {
            return None;
        }
        let class = match u16::from_be_bytes([sign_high, sign_low]) {
            0x0000 => Class::Positive,
            0x4000 => Class::Negative,
            0xC000 => Class::NaN,
            0xD000 => Class::Infinity,
            0xF000 => Class::NegativeInfinity,
            _ => return None,
        };
        let weight = i32::from(i16::from_be_bytes([weight_high, weight_low]));
        Some(Decimal { class, digits: Digits::Groups { weight, groups } })
    }

    /// The output of `numeric_out`, or a literal of the same form.
    pub(super) fn text(text: &'a [u8]) -> Option<Decimal<'a>> {
        let special = match text {
            b"NaN" => Some(Class::NaN),
            b"Infinity" => Some(Class::Infinity),
            b"-Infinity" => Some(Class::NegativeInfinity),
            _ => None,
        };
        if let Some(class) = special {
            return Some(Decimal { class, digits: NONE });
        }
        let (class, digits) = match text.strip_prefix(b"-") {
            Some(digits) => (Class::Negative, digits),
            None => (Class::Positive, text),
        };
        let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
            Some(point) => (digits.get(..point)?, digits.get(point + 1..)?),
            None => (digits, &b""[..]),
        };
        let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        let some = !(whole.is_empty() && fraction.is_empty());
        (all_digits && some).then_some(Decimal { class, digits: Digits::Text { whole, fraction } })
    }

    pub(super) fn compare(&self, other: &Decimal<'_>) -> Ordering {
        let finite = |class| matches!(class, Class::Negative | Class::Positive);
        if !finite(self.class) || !finite(other.class) {
            return self.class.cmp(&other.class);
        }
        match (self.class, other.class) {
            (Class::Positive, Class::Positive) => self.digits.compare(&other.digits),
            (Class::Negative, Class::Negative) => other.digits.compare(&self.digits),
            // A zero may carry a minus in a literal, and equals the other zero.
            _ if self.digits.compare(&NONE).is_eq() && other.digits.compare(&NONE).is_eq() => Ordering::Equal,
            _ => self.class.cmp(&other.class),
        }
    }
}

impl Digits<'_> {
    fn compare(&self, other: &Digits<'_>) -> Ordering {
        let ((low, high), (other_low, other_high)) = (self.powers(), other.powers());
        for power in (low.min(other_low)..high.max(other_high)).rev() {
            let order = self.digit(power).cmp(&other.digit(power));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    /// The powers of ten outside of which every digit is zero: from the first, up to but not including the second.
    fn powers(&self) -> (i32, i32) {
        let size = |digits: &[u8]| i32::try_from(digits.len()).unwrap_or(i32::MAX);
        match self {
            Digits::Int(_) => (0, 20),
            Digits::Groups { weight, groups } => (4 * (weight + 1) - 2 * size(groups), 4 * (weight + 1)),
            Digits::Text { whole, fraction } => (-size(fraction), size(whole)),
        }
    }

    /// The digit that counts `10 ^ power`.
    fn digit(&self, power: i32) -> u8 {
        let found = match self {
            Digits::Int(value) => u32::try_from(power)
                .ok()
                .and_then(|power| 10_u64.checked_pow(power))
                .map(|unit| (value / unit % 10) as u8),
            Digits::Groups { weight, groups } => group(groups, weight - power.div_euclid(4)).map(|group| {
                let unit = [1, 10, 100, 1000].get(power.rem_euclid(4) as usize).copied().unwrap_or(1);
                (group / unit % 10) as u8
            }),
            Digits::Text { whole, .. } if power >= 0 => from_end(whole, power as usize).map(|digit| digit - b'0'),
            Digits::Text { fraction, .. } => fraction.get((-1 - power) as usize).map(|digit| digit - b'0'),
        };
        found.unwrap_or(0)
    }
}

fn group(groups: &[u8], index: i32) -> Option<u16> {
    let index = usize::try_from(index).ok()?;
    groups.as_chunks::<2>().0.get(index).map(|group| u16::from_be_bytes(*group))
}

fn from_end(digits: &[u8], index: usize) -> Option<u8> {
    digits.len().checked_sub(index + 1).and_then(|index| digits.get(index)).copied()
}
