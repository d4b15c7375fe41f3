use apache_avro::schema::Schema;
use apache_avro::types::Value;
use proptest::prelude::*;

use super::super::tests::fixture::numeric;
use super::*;

fn text(binary: &[u8]) -> String {
    let mut out = Vec::new();
    write_text(binary, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn decimal(text: &str, precision: usize, scale: usize) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::new();
    Digits { precision, scale }.write_numeric(&numeric(text), &mut out).map(|()| out)
}

/// The unscaled value of an encoded decimal as decimal digits, by schoolbook arithmetic on a vector of digits.
fn unscaled(encoded: &[u8]) -> String {
    let bytes = &encoded[if encoded[0] & 0x80 == 0 { 1 } else { 2 }..];
    let negative = bytes[0] & 0x80 != 0;
    let mut digits = vec![0_u32];
    for byte in bytes {
        let mut carry = u32::from(if negative { !*byte } else { *byte });
        for digit in &mut digits {
            carry += *digit * 256;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    if negative {
        let mut carry = 1;
        for digit in &mut digits {
            *digit += carry;
            carry = *digit / 10;
            *digit %= 10;
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    let text: String = digits.iter().rev().map(|digit| char::from(b'0' + *digit as u8)).collect();
    let text = text.trim_start_matches('0');
    match (negative, text) {
        (_, "") => "0".to_owned(),
        (true, text) => format!("-{text}"),
        (false, text) => text.to_owned(),
    }
}

#[test]
fn the_fixture_writes_what_postgres_sends() {
    // SELECT numeric_send(v), Postgres 15.
    for (value, hex) in [
        ("0", "0000000000000000"),
        ("1234567.891", "0003000100000003007b11d722ce"),
        ("-0.0001", "0001ffff400000040001"),
        ("10000", "00010001000000000001"),
    ] {
        let sent: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        assert_eq!(numeric(value), sent, "{value}");
    }
}

#[test]
fn text_is_that_of_postgres() {
    for value in [
        "0",
        "0.00",
        "1",
        "-1",
        "10000",
        "10001.5",
        "0.0001",
        "-0.00010",
        "1234567.891",
        "99999999.99990000",
        "0.000000000001",
    ] {
        assert_eq!(text(&numeric(value)), value);
    }
    for (sign, expected) in [(0xC0, "NaN"), (0xD0, "Infinity"), (0xF0, "-Infinity")] {
        assert_eq!(text(&[0, 0, 0, 0, sign, 0, 0, 0]), expected);
    }
}

#[test]
fn decimals_are_exact_or_refused() {
    let too_large = Digits::too_large::<Vec<u8>>();
    for (value, precision, scale, expected) in [
        ("1.23", 12, 2, Some("123")),
        ("1.230", 12, 2, Some("123")),
        ("-1.2", 12, 2, Some("-120")),
        ("10000", 12, 2, Some("1000000")),
        ("0.00", 12, 2, Some("0")),
        ("0", 1, 0, Some("0")),
        ("9999999999.99", 12, 2, Some("999999999999")),
        ("1.231", 12, 2, None),
        ("0.0001", 12, 2, None),
        ("12300", 5, 0, Some("12300")),
    ] {
        let written = decimal(value, precision, scale);
        match expected {
            Some(expected) => assert_eq!(unscaled(&written.unwrap()), expected, "{value}"),
            None => assert!(matches!(written, Err(Reason::OutOfRange(why)) if why.contains("scale")), "{value}"),
        }
    }
    assert_eq!(decimal("10000000000.00", 12, 2), too_large);
    assert_eq!(decimal("123000", 5, 0), too_large);
    let nines = "9".repeat(38);
    assert_eq!(unscaled(&decimal(&nines, 38, 0).unwrap()), nines);
    assert_eq!(decimal(&format!("1{}", "0".repeat(38)), 38, 0), too_large);
    for value in [format!("-{}", "9".repeat(200)), format!("17{}", "0".repeat(60)), format!("-1{}", "0".repeat(77))] {
        assert_eq!(unscaled(&decimal(&value, 1000, 0).unwrap()), value);
    }
    let binary = |sign| [0, 0, 0, 0, sign, 0, 0, 0];
    for sign in [0xC0, 0xD0, 0xF0] {
        let written = Digits { precision: 12, scale: 2 }.write_numeric(&binary(sign), &mut Vec::new());
        assert!(matches!(written, Err(Reason::OutOfRange(_))));
    }
}

#[test]
fn integers_become_decimals() {
    let of = |value, precision, scale| {
        let mut out = Vec::new();
        Digits { precision, scale }.write_integer(value, &mut out).map(|()| unscaled(&out))
    };
    assert_eq!(of(5, 12, 2).unwrap(), "500");
    assert_eq!(of(0, 1, 1).unwrap(), "0");
    assert_eq!(of(i64::MIN, 38, 19).unwrap(), format!("{}{}", i64::MIN, "0".repeat(19)));
    assert!(of(i64::MIN, 20, 2).is_err() && of(10, 1, 0).is_err() && of(1, 1, 1).is_err());
}

#[test]
fn bytes_that_are_no_numeric_are_refused() {
    for bytes in
        [&[0; 7][..], &[0, 1, 0, 0, 0, 0, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], &[0, 0, 0, 0, 0x12, 0, 0, 0]]
    {
        let mut out = Vec::new();
        assert_eq!(
            Digits { precision: 5, scale: 0 }.write_numeric(bytes, &mut out),
            Err(Reason::Malformed),
            "{bytes:?}"
        );
        assert_eq!(write_text(bytes, &mut out), Err(Reason::Malformed), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn text_round_trips(whole in "0|[1-9][0-9]{0,60}", fraction in "[0-9]{0,40}", negative: bool) {
        let zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
        let sign = if negative && !zero { "-" } else { "" };
        let value = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        prop_assert_eq!(text(&numeric(&value)), value);
    }

    #[test]
    fn decimals_decode_to_the_same_number(whole in "0|[1-9][0-9]{0,45}", scale in 0_usize..20, fraction in "[0-9]{20}", negative: bool) {
        let (sign, fraction) = (if negative { "-" } else { "" }, &fraction[..scale]);
        let value = format!("{sign}{whole}.{fraction}");
        let plain = format!("{whole}{fraction}");
        let plain = plain.trim_start_matches('0');
        let written = decimal(&value, 70, scale).unwrap();
        let expected = if plain.is_empty() { "0".to_owned() } else { format!("{sign}{plain}") };
        prop_assert_eq!(unscaled(&written), expected);
        // The exact precision suffices and one digit less is refused.
        let digits = plain.len().max(1);
        prop_assert_eq!(decimal(&value, digits, scale), Ok(written.clone()));
        if !plain.is_empty() && digits > 1 {
            prop_assert_eq!(decimal(&value, digits - 1, scale), Digits::too_large());
        }
        let schema = Schema::parse_str(r#"{"type":"bytes","logicalType":"decimal","precision":70,"scale":20}"#).unwrap();
        let read = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut &written[..]).unwrap();
        prop_assert!(matches!(read, Value::Decimal(_)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), precision in 1_usize..60, scale in 0_usize..60) {
        let mut out = Vec::new();
        let refused = Digits { precision, scale }.write_numeric(&bytes, &mut out).is_err();
        prop_assert!(refused || !out.is_empty());
        prop_assert!(write_text(&bytes, &mut out).is_err() || !out.is_empty());
    }
}

/// As many digits as there are, and more than there can be.
#[test]
fn the_longest_numeric_takes_its_own_length() {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    // 131072 digits before the point, 16383 behind it.
    let longest = [words(&[36_864, 32_767, 0, 16_383]), words(&[9_999; 36_864])].concat();
    // One digit, and all the zeros that weight and scale can say.
    let widest = words(&[1, 32_767, 0, u16::MAX, 1]);
    for binary in [longest, widest] {
        let mut out = Vec::new();
        let counted = allocation_counter::measure(|| write_text(&binary, &mut out).unwrap());
        assert!(out.len() > 131_072 && counted.bytes_max < 1 << 20, "{} {counted:?}", out.len());
        let mut out = Vec::new();
        let digits = Digits { precision: 38, scale: 2 };
        let counted = allocation_counter::measure(|| assert!(digits.write_numeric(&binary, &mut out).is_err()));
        assert_eq!(counted.bytes_total, 0);
    }
    assert_eq!(write_text(&words(&[u16::MAX, 0, 0, 0]), &mut Vec::new()), Err(Reason::Malformed));
}
