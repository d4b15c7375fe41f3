//! Dates and times in ISO form as Postgres counts them: days, or microseconds, since 2000-01-01.

const DAY_US: i64 = 86_400_000_000;

/// Days since 2000-01-01 of `2024-02-29`, `0044-03-15 BC` or `infinity`.
pub(super) fn date(text: &[u8]) -> Option<i64> {
    if let Some(infinite) = infinity(text) {
        return Some(i64::from(if infinite > 0 { i32::MAX } else { i32::MIN }));
    }
    let (text, before_christ) = era(text);
    let (days, rest) = split_date(text, before_christ)?;
    rest.is_empty().then_some(days)
}

/// Microseconds since midnight of `12:34:56.789`.
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let (micros, rest) = split_time(text)?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 2000-01-01 of `2024-02-29 12:34:56.789`, also with a `T` between.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (micros, rest) = local(text)?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 2000-01-01 UTC of `2024-02-29 12:34:56.789+05:30`; an offset or `Z` must be there.
pub(super) fn timestamptz(text: &[u8]) -> Option<i64> {
    let (micros, rest) = local(text)?;
    if rest.is_empty() {
        return infinity(text).map(|_| micros);
    }
    micros.checked_sub(offset(rest)?)
}

fn infinity(text: &[u8]) -> Option<i8> {
    match text {
        b"infinity" => Some(1),
        b"-infinity" => Some(-1),
        _ => None,
    }
}

fn local(text: &[u8]) -> Option<(i64, &[u8])> {
    if let Some(infinite) = infinity(text) {
        return Some((if infinite > 0 { i64::MAX } else { i64::MIN }, b""));
    }
    let (text, before_christ) = era(text);
    let (days, rest) = split_date(text, before_christ)?;
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"T"))?;
    let (micros, rest) = split_time(rest)?;
    Some((days.checked_mul(DAY_US)?.checked_add(micros)?, rest))
}

fn era(text: &[u8]) -> (&[u8], bool) {
    text.strip_suffix(b" BC").map_or((text, false), |text| (text, true))
}

fn split_date(text: &[u8], before_christ: bool) -> Option<(i64, &[u8])> {
    let (year, rest) = number(text, 4..=7)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?, 2..=2)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?, 2..=2)?;
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some((days_before(year, month) + day - 1, rest))
}

fn split_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = number(text, 2..=2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2..=2)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => number(rest, 2..=2)?,
        None => (0, rest),
    };
    let (micros, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    (minute < 60 && second < 60 && micros <= DAY_US).then_some((micros, rest))
}

/// Up to six digits after the point, as microseconds.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let (value, rest) = number(text, 1..=6)?;
    let digits = u32::try_from(text.len() - rest.len()).ok()?;
    Some((value * 10_i64.pow(6 - digits), rest))
}

/// `Z`, `+05`, `-03:30` or `+00:19:32`, as microseconds.
fn offset(text: &[u8]) -> Option<i64> {
    if text == b"Z" {
        return Some(0);
    }
    let (sign, text) = match text.split_first()? {
        (b'+', text) => (1, text),
        (b'-', text) => (-1, text),
        _ => return None,
    };
    let (mut seconds, mut rest) = number(text, 2..=2).map(|(hours, rest)| (hours * 3600, rest))?;
    for unit in [60, 1] {
        let Some(text) = rest.strip_prefix(b":") else { break };
        let (value, after) = number(text, 2..=2)?;
        (seconds, rest) = (seconds + value * unit, after);
    }
    rest.is_empty().then_some(sign * seconds * 1_000_000)
}

/// A number of so many digits and what follows it.
fn number(text: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !digits.contains(&length) {
        return None;
    }
    let (number, rest) = text.split_at_checked(length)?;
    Some((number.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), rest))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 2000-01-01 to the first of this month (proleptic Gregorian calendar, as Postgres has it).
fn days_before(year: i64, month: i64) -> i64 {
    let past = year - 1;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    let since_year_one = past * 365 + leaps;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    since_year_one + months - 730_119
}
