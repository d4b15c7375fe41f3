//! `numeric` from its binary form (numeric.c, `numeric_send`): exact, of any size, never rounded.
//!
//! The form is four 16-bit words (number of digits, weight, sign, display scale), then the digits in base 10000. The
//! value is the sum of `digit[i] * 10000^(weight - i)`.

use super::avro;
use super::reason::Reason;
use crate::faults::{Mutation, mutated};

/// Decimal digits in one digit of base 10000.
const GROUP: i64 = 4;

/// How many digits `i128` surely holds.
pub(super) const DIGITS_OF_I128: usize = 38;

/// Precision and scale of an Avro decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) precision: usize,
    pub(super) scale: usize,
}

impl Digits {
    fn too_large<T>() -> Result<T, Reason> {
        Err(Reason::OutOfRange("has more digits before the decimal point than the field's precision holds"))
    }

    /// Writes an integer as a decimal.
    pub(super) fn write_integer(self, value: i64, out: &mut Vec<u8>) -> Result<(), Reason> {
        let digits = if value == 0 { 0 } else { value.unsigned_abs().ilog10() as usize + 1 };
        if digits + self.scale > self.precision.min(DIGITS_OF_I128) && value != 0 {
            return Self::too_large();
        }
        let scaled = if value == 0 { 0 } else { i128::from(value) * pow10(self.scale) };
        avro::decimal(scaled, out);
        Ok(())
    }

    /// Writes a `numeric` as a decimal; NaN, infinity, too many digits and a scale that would be lost are refused.
    pub(super) fn write_numeric(self, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        let Finite { negative, groups, weight, .. } = match Numeric::read(binary)? {
            Numeric::Finite(finite) => finite.trimmed(),
            Numeric::Nan => return Err(Reason::OutOfRange("is NaN, which a decimal cannot hold")),
            Numeric::Infinite { .. } => return Err(Reason::OutOfRange("is infinite, which a decimal cannot hold")),
        };
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
            avro::decimal(0, out);
            return Ok(());
        };
        let (first, last) = (digit(*first)?, digit(*last)?);
        let scale = self.scale as i64 + i64::from(mutated(Mutation::WrongScale));
        let leading = i64::from(first.ilog10()) + 1 + GROUP * weight + scale;
        if leading > self.precision as i64 {
            return Self::too_large();
        }
        // The power of ten that the last group's ones have in the unscaled value.
        let shift = GROUP * (weight + 1 - groups.len() as i64) + scale;
        if shift + i64::from(trailing_zeros(last)) < 0 {
            return Err(Reason::OutOfRange("has more digits after the decimal point than the field's scale holds"));
        }
        if leading <= DIGITS_OF_I128 as i64 {
            let unscaled = small(groups, shift)?;
            avro::decimal(if negative { -unscaled } else { unscaled }, out);
            return Ok(());
        }
        avro::prefixed(out, |out| large(groups, shift, negative, out))
    }
}

/// Writes Postgres' text output (numeric.c, `numeric_out`).
pub(super) fn write_text(binary: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let Finite { negative, groups, weight, scale } = match Numeric::read(binary)? {
        Numeric::Finite(finite) => finite,
        Numeric::Nan => return append(out, b"NaN"),
        Numeric::Infinite { negative: false } => return append(out, b"Infinity"),
        Numeric::Infinite { negative: true } => return append(out, b"-Infinity"),
    };
    if negative {
        out.push(b'-');
    }
    let group = |at: i64| match usize::try_from(weight - at).ok().and_then(|i| groups.get(i)) {
        Some(bytes) => digit(*bytes),
        None => Ok(0),
    };
    let whole = out.len();
    for at in (0..=weight).rev() {
        let value = group(at)?;
        let skip = if out.len() == whole { 3 - value.max(1).ilog10() as usize } else { 0 };
        if value > 0 || out.len() > whole {
            out.extend(decimal_digits(value).into_iter().skip(skip));
        }
    }
    if out.len() == whole {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale;
        let mut at = -1;
        while out.len() < end {
            out.extend_from_slice(&decimal_digits(group(at)?));
            at -= 1;
        }
        out.truncate(end);
    }
    Ok(())
}

fn append(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Reason> {
    out.extend_from_slice(text);
    Ok(())
}

enum Numeric<'a> {
    Finite(Finite<'a>),
    Nan,
    Infinite { negative: bool },
}

struct Finite<'a> {
    negative: bool,
    groups: &'a [[u8; 2]],
    weight: i64,
    /// Digits after the decimal point in the text output.
    scale: usize,
}

impl<'a> Numeric<'a> {
    fn read(binary: &'a [u8]) -> Result<Numeric<'a>, Reason> {
        let (words, rest) = binary.as_chunks::<2>();
        let [count, weight, sign, scale, groups @ ..] = words else { return Err(Reason::Malformed) };
        if !rest.is_empty() || usize::from(u16::from_be_bytes(*count)) != groups.len() {
            return Err(Reason::Malformed);
        }
        Ok(match u16::from_be_bytes(*sign) {
            sign @ (0x0000 | 0x4000) => Numeric::Finite(Finite {
                negative: sign != 0,
                groups,
                weight: i64::from(i16::from_be_bytes(*weight)),
                scale: usize::from(u16::from_be_bytes(*scale)),
            }),
            0xC000 => Numeric::Nan,
            0xD000 => Numeric::Infinite { negative: false },
            0xF000 => Numeric::Infinite { negative: true },
            _ => return Err(Reason::Malformed),
        })
    }
}

impl Finite<'_> {
    /// Without zero groups at either end: Postgres sends none, but nothing in the form forbids them.
    fn trimmed(mut self) -> Self {
        while let [[0, 0], rest @ ..] = self.groups {
            self.groups = rest;
            self.weight -= 1;
        }
        while let [rest @ .., [0, 0]] = self.groups {
            self.groups = rest;
        }
        self
    }
}

fn digit(bytes: [u8; 2]) -> Result<u32, Reason> {
    match u32::from(u16::from_be_bytes(bytes)) {
        digit @ 0..10_000 => Ok(digit),
        _ => Err(Reason::Malformed),
    }
}

fn decimal_digits(group: u32) -> [u8; 4] {
    let ascii = |digit: u32| b'0' + (digit % 10) as u8;
    [ascii(group / 1000), ascii(group / 100), ascii(group / 10), ascii(group)]
}

fn trailing_zeros(group: u32) -> u32 {
    match group {
        _ if !group.is_multiple_of(10) => 0,
        _ if !group.is_multiple_of(100) => 1,
        _ if !group.is_multiple_of(1000) => 2,
        _ => 3,
    }
}

fn pow10(exponent: usize) -> i128 {
    10_i128.pow(exponent as u32)
}

/// The last group and the powers of ten around it: `shift < 0` divides the last group (its zeros are known to suffice).
fn parts(groups: &[[u8; 2]], shift: i64) -> (&[[u8; 2]], Option<&[u8; 2]>, u32) {
    match groups.split_last() {
        Some((last, before)) if shift < 0 => (before, Some(last), shift.unsigned_abs() as u32),
        _ => (groups, None, 0),
    }
}

/// The unscaled value of at most 38 digits.
fn small(groups: &[[u8; 2]], shift: i64) -> Result<i128, Reason> {
    let (groups, last, cut) = parts(groups, shift);
    let mut value: i128 = 0;
    for group in groups {
        value = value * 10_000 + i128::from(digit(*group)?);
    }
    match last {
        Some(last) => Ok(value * pow10(4 - cut as usize) + i128::from(digit(*last)? / 10_u32.pow(cut))),
        None => Ok(value * pow10(shift as usize)),
    }
}

/// The unscaled value of any size, built in `out` itself: magnitude with the low byte first, then sign, then reversed.
fn large(groups: &[[u8; 2]], shift: i64, negative: bool, out: &mut Vec<u8>) -> Result<(), Reason> {
    let start = out.len();
    let (groups, last, cut) = parts(groups, shift);
    for group in groups {
        multiply_add(out, start, 10_000, digit(*group)?);
    }
    if let Some(last) = last {
        multiply_add(out, start, 10_u32.pow(4 - cut), digit(*last)? / 10_u32.pow(cut));
    }
    for _ in 0..shift.max(0) {
        multiply_add(out, start, 10, 0);
    }
    // A zero byte above makes room for the sign bit; it is taken off again where it says nothing.
    out.push(0);
    let Some(number) = out.get_mut(start..) else { return Err(Reason::Malformed) };
    if negative {
        let mut carry = true;
        for byte in &mut *number {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    if let [.., below, top] = number
        && (*below ^ *top) & 0x80 == 0
    {
        out.pop();
    }
    out.get_mut(start..).unwrap_or_default().reverse();
    Ok(())
}

fn multiply_add(out: &mut Vec<u8>, start: usize, factor: u32, addend: u32) {
    let mut carry = addend;
    for byte in out.get_mut(start..).unwrap_or_default() {
        carry += u32::from(*byte) * factor;
        *byte = (carry & 0xFF) as u8;
        carry >>= 8;
    }
    while carry > 0 {
        out.push((carry & 0xFF) as u8);
        carry >>= 8;
    }
}

#[cfg(test)]
mod tests;
