use proptest::prelude::*;

use super::*;

/// A decoder that has seen all that the captured files describe.
fn warm() -> Decoder {
    let mut decoder = Decoder::new();
    for bytes in captured::all() {
        decoder.decode(&bytes).unwrap();
    }
    decoder.decode(&relation(10, "t", b'd', 3, 1)).unwrap();
    decoder
}

/// Decodes and reads every datum.
fn exercise(decoder: &mut Decoder, bytes: &[u8]) {
    let _changed = decoder.narrowed(bytes);
    if let Ok(Message::Row { change, .. }) = decoder.decode(bytes) {
        for row in change.old.iter().chain(&change.new) {
            for column in 0..=row.len() {
                if let Datum::Text(value) | Datum::Binary(value) = row.get(column) {
                    assert!(value.len() <= bytes.len());
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Owned {
    Null,
    Unchanged,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Owned {
    fn datum(&self) -> Datum<'_> {
        match self {
            Owned::Null => Datum::Null,
            Owned::Unchanged => Datum::Unchanged,
            Owned::Text(value) => Datum::Text(value),
            Owned::Binary(value) => Datum::Binary(value),
        }
    }
}

fn datum() -> impl Strategy<Value = Owned> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        Just(Owned::Null),
        Just(Owned::Unchanged),
        bytes().prop_map(Owned::Text),
        bytes().prop_map(Owned::Binary),
    ]
}

fn row() -> impl Strategy<Value = Vec<Owned>> {
    prop::collection::vec(datum(), 3)
}

proptest! {
    /// Faults: PG-27.
    #[test]
    fn any_bytes_are_a_message_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..11) {
        if let Some(first) = bytes.first_mut() {
            *first = b"BCORYIUDTM?"[kind];
        }
        exercise(&mut warm(), &bytes);
    }

    #[test]
    fn a_damaged_message_is_a_message_or_an_error(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let messages = captured::all();
        let mut bytes = which.get(&messages).clone();
        for (place, value) in damage {
            let place = place.index(bytes.len().min(64));
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(&mut warm(), &bytes);
    }

    #[test]
    fn every_prefix_of_a_row_is_refused(row in row()) {
        let mut decoder = warm();
        let data: Vec<_> = row.iter().map(Owned::datum).collect();
        let bytes = Bytes::of(b'I').u32(10).u8(b'N').tuple(&data).0;
        for end in 0..bytes.len() {
            prop_assert!(decoder.decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn rows_come_back_as_they_were_sent(old in row(), new in row(), key in any::<bool>()) {
        let mut decoder = warm();
        let (old, new): (Vec<_>, Vec<_>) = (old.iter().map(Owned::datum).collect(), new.iter().map(Owned::datum).collect());
        let mark = if key { b'K' } else { b'O' };
        let bytes = Bytes::of(b'U').u32(10).u8(mark).tuple(&old).u8(b'N').tuple(&new).0;
        let Message::Row { change, .. } = decoder.decode(&bytes).unwrap() else { panic!() };
        let expected = if key { vec![old[0], Datum::Absent, Datum::Absent] } else { old };
        prop_assert_eq!(data(change.old), expected);
        prop_assert_eq!(data(change.new), new);
    }
}

/// Faults: PG-27.
#[test]
fn memory_follows_the_bytes_and_not_the_counts() {
    let mut decoder = warm();
    let columns = Bytes::of(b'R').u32(10).text("s").text("t").u8(b'd').u16(u16::MAX).0;
    let rows = Bytes::of(b'I').u32(10).u8(b'N').u16(u16::MAX).0;
    let truncate = Bytes::of(b'T').u32(u32::MAX).u8(0).0;
    for bytes in [columns, rows, truncate] {
        assert!(decoder.decode(&bytes).is_err());
    }
    assert!(decoder.new.capacity() < 64 && decoder.truncated.capacity() < 64);
}

/// A clock that is far off, or bytes that are no time: what would be published with it, and the lag, cannot be reckoned.
#[test]
fn a_commit_time_is_one() {
    let begin = |time: i64| Bytes::of(b'B').u64(1).u64(time.cast_unsigned()).u32(7).0;
    let commit = |time: i64| Bytes::of(b'C').u8(0).u64(1).u64(2).u64(time.cast_unsigned()).0;
    let (first, last) = (-211_813_488_000_000_000, i64::MAX - crate::model::PG_EPOCH_UNIX_MICROS);
    for time in [first, 0, last] {
        assert!(Decoder::new().decode(&begin(time)).is_ok() && Decoder::new().decode(&commit(time)).is_ok(), "{time}");
    }
    for time in [i64::MIN, first - 1, last + 1, i64::MAX] {
        for bytes in [begin(time), commit(time)] {
            let error = Decoder::new().decode(&bytes).map(|_| ()).unwrap_err();
            assert!(error.detail().contains("a commit time that is none"), "{error}");
        }
    }
}
