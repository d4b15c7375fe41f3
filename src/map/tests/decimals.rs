use std::cmp::Ordering;

use proptest::prelude::*;

use crate::map::decimal::Decimal;

/// What `numeric_send` makes of a number with a display scale that is a multiple of four, and of others: the digits are
/// grouped from the point outwards, zero groups at both ends are left out.
fn binary(negative: bool, digits: &str, scale: usize) -> Vec<u8> {
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let all = format!("{whole}{fraction}");
    let groups: Vec<u16> = all.as_bytes().chunks(4).map(|c| str::from_utf8(c).unwrap().parse().unwrap()).collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let kept = &groups[first..last];
    let weight = if kept.is_empty() { 0 } else { whole.len() as i64 / 4 - 1 - first as i64 };
    let sign = if negative && !kept.is_empty() { 0x4000 } else { 0 };
    let header = [kept.len() as u16, weight as i16 as u16, sign, scale as u16];
    header.iter().chain(kept).flat_map(|field| field.to_be_bytes()).collect()
}

fn text(negative: bool, digits: &str, scale: usize) -> String {
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let (sign, point) = (if negative { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}

/// The oracle: both at scale 12 as one integer.
fn scaled(negative: bool, digits: &str, scale: usize) -> i128 {
    let value: i128 = digits.parse().unwrap();
    let value = value * 10_i128.pow(12 - scale as u32);
    if negative { -value } else { value }
}

fn number() -> impl Strategy<Value = (bool, String, usize)> {
    let digits = prop_oneof!["[0-9]{1,20}", "[1-9]0{1,12}", "0{1,3}[0-9]{1,3}", Just("0".to_owned())];
    (any::<bool>(), digits, 0..=12_usize)
}

proptest! {
    #[test]
    fn decimals_compare_as_integers_of_one_scale(a in number(), b in number(), near in any::<bool>()) {
        let b = if near { (a.0, a.1.clone(), b.2.min(12)) } else { b };
        let expected = scaled(a.0, &a.1, a.2).cmp(&scaled(b.0, &b.1, b.2));
        let forms = |n: &(bool, String, usize)| (binary(n.0, &n.1, n.2), text(n.0, &n.1, n.2));
        let ((binary_a, text_a), (binary_b, text_b)) = (forms(&a), forms(&b));
        let all_a = [Decimal::binary(&binary_a).unwrap(), Decimal::text(text_a.as_bytes()).unwrap()];
        let all_b = [Decimal::binary(&binary_b).unwrap(), Decimal::text(text_b.as_bytes()).unwrap()];
        for (a, b) in all_a.iter().flat_map(|a| all_b.iter().map(move |b| (a, b))) {
            prop_assert_eq!(a.compare(b), expected);
            prop_assert_eq!(b.compare(a), expected.reverse());
        }
    }

    #[test]
    fn integers_compare_with_decimals(a in any::<i64>(), b in any::<i64>()) {
        let (text_a, text_b) = (a.to_string(), b.to_string());
        let [text_a, text_b] = [&text_a, &text_b].map(|text| Decimal::text(text.as_bytes()).unwrap());
        prop_assert_eq!(Decimal::int(a).compare(&text_b), a.cmp(&b));
        prop_assert_eq!(text_a.compare(&Decimal::int(b)), a.cmp(&b));
        prop_assert_eq!(Decimal::int(a).compare(&text_a), Ordering::Equal);
    }

    #[test]
    fn any_bytes_are_compared_or_refused(a in prop::collection::vec(any::<u8>(), 0..24), b in prop::collection::vec(any::<u8>(), 0..24)) {
        for a in [Decimal::binary(&a), Decimal::text(&a)].into_iter().flatten() {
            for b in [Decimal::binary(&b), Decimal::text(&b)].into_iter().flatten() {
                prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
            }
        }
    }
}

#[test]
fn infinities_and_nan_are_ordered_as_postgres_orders_them() {
    let special = |sign: u16| [0_u16, 0, sign, 0].iter().flat_map(|field| field.to_be_bytes()).collect::<Vec<u8>>();
    let (nan, infinity, negative) = (special(0xC000), special(0xD000), special(0xF000));
    let huge = "9".repeat(400);
    let ascending = [
        [Decimal::text(b"-Infinity"), Decimal::binary(&negative)],
        [Decimal::text(b"-1"), Some(Decimal::int(-1))],
        [Decimal::text(b"0.000"), Decimal::text(b"-0")],
        [Decimal::text(huge.as_bytes()), Decimal::text(huge.as_bytes())],
        [Decimal::text(b"Infinity"), Decimal::binary(&infinity)],
        [Decimal::text(b"NaN"), Decimal::binary(&nan)],
    ]
    .map(|pair| pair.map(Option::unwrap));
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            a.iter().zip(b).for_each(|(a, b)| assert_eq!(a.compare(b), i.cmp(&j)));
        }
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "-", ".", "1e5", "1,5", "--1", "+1", "1.2.3", " 1", "inf"] {
        assert!(Decimal::text(text.as_bytes()).is_none(), "{text}");
    }
    for bytes in [vec![], vec![0; 7], vec![0, 1, 0, 0, 0, 0, 0, 0], vec![0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]] {
        assert!(Decimal::binary(&bytes).is_none(), "{bytes:?}");
    }
    assert!(Decimal::binary(&[0, 0, 0, 0, 0x80, 0, 0, 0]).is_none(), "an unknown sign");
}
