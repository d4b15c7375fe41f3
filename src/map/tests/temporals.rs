use crate::map::temporal::{date, time, timestamp, timestamptz};

const DAY_US: i64 = 86_400_000_000;

#[test]
fn iso_texts_are_counts_since_2000() {
    // Each as `SELECT date .. - date '2000-01-01'` gives it on PostgreSQL 15.
    let dates = [
        ("2000-01-01", 0),
        ("1999-12-31", -1),
        ("2000-03-01", 60),
        ("2024-02-29", 8825),
        ("1900-03-01", -36_465),
        ("0001-01-01", -730_119),
        ("0001-12-31 BC", -730_120),
        ("4713-11-24 BC", -2_451_179),
        ("5874897-12-31", 2_145_031_948),
    ];
    for (text, days) in dates {
        assert_eq!(date(text.as_bytes()), Some(days), "{text}");
    }
    assert_eq!(time(b"00:00:00"), Some(0));
    assert_eq!(time(b"12:34:56.789"), Some(45_296_789_000));
    assert_eq!(time(b"24:00:00"), Some(DAY_US));
    assert_eq!(timestamp(b"2000-01-02 00:00:00.000001"), Some(DAY_US + 1));
    assert_eq!(timestamp(b"1999-12-31T23:59:59"), Some(-1_000_000));
    assert_eq!(timestamptz(b"2000-01-01 01:00:00+01"), Some(0));
    assert_eq!(timestamptz(b"2000-01-01T00:00:00Z"), Some(0));
    assert_eq!(timestamptz(b"2000-01-01 00:00:00-03:30"), Some(12_600_000_000));
    assert_eq!(timestamptz(b"2000-01-01 00:19:32+00:19:32"), Some(0));
    assert_eq!(timestamptz(b"2024-02-29 12:34:56.789012+00"), Some(762_525_296_789_012));
}

#[test]
fn infinities_are_the_ends_of_their_range() {
    assert_eq!(date(b"infinity"), Some(i64::from(i32::MAX)));
    assert_eq!(date(b"-infinity"), Some(i64::from(i32::MIN)));
    for parse in [timestamp, timestamptz] {
        assert_eq!((parse(b"infinity"), parse(b"-infinity")), (Some(i64::MAX), Some(i64::MIN)));
    }
}

#[test]
fn other_texts_are_refused() {
    for text in ["", "2023-02-29", "2024-13-01", "2024-00-01", "2024-1-01", "24-01-01", "2024-01-01 ", "2024-01-00"] {
        assert_eq!(date(text.as_bytes()), None, "{text}");
    }
    for text in ["", "12", "12:60", "12:00:60", "24:00:01", "12:00:00.1234567", "1:00", "12:00:00."] {
        assert_eq!(time(text.as_bytes()), None, "{text}");
    }
    assert_eq!(timestamp(b"2024-01-01"), None);
    assert_eq!(timestamp(b"2024-01-01 00:00:00Z"), None, "an offset says another type");
    assert_eq!(timestamptz(b"2024-01-01 00:00:00"), None, "an instant needs its offset");
    assert_eq!(timestamptz(b"9999999-01-01 00:00:00Z"), None, "out of range");
}
