use super::*;
use crate::error::Kind;
use crate::model::{ColumnType, Lsn, Operation, ReplicaIdentity};

fn refusal(decoder: &mut Decoder, bytes: &[u8]) -> String {
    let error = decoder.decode(bytes).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    error.detail().to_owned()
}

#[test]
fn begin_and_commit_carry_the_lsns_of_one_commit_record() {
    let mut decoder = Decoder::new();
    let begin = Bytes::of(b'B').u64(0x16_B374_D848).u64(7).u32(733).0;
    let Message::Begin { final_lsn, commit_time_us, xid } = decoder.decode(&begin).unwrap() else { panic!() };
    assert_eq!((final_lsn, commit_time_us, xid), (Lsn(0x16_B374_D848), 7, 733));
    let commit = Bytes::of(b'C').u8(0).u64(0x16_B374_D848).u64(0x16_B374_D880).u64(7).0;
    let Message::Commit { commit_lsn, end_lsn, commit_time_us } = decoder.decode(&commit).unwrap() else { panic!() };
    assert_eq!((commit_lsn, end_lsn, commit_time_us), (Lsn(0x16_B374_D848), Lsn(0x16_B374_D880), 7));
}

#[test]
fn a_relation_keeps_its_index_over_its_versions() {
    let mut decoder = Decoder::new();
    for (oid, index) in [(30, 0), (10, 1), (20, 2), (10, 1), (30, 0)] {
        let bytes = relation(oid, "t", b'd', 2, 1);
        assert!(matches!(decoder.decode(&bytes), Ok(Message::Relation { index: i }) if i == index));
        assert_eq!(decoder.relation(index).unwrap().oid, oid);
    }
    decoder.decode(&relation(10, "renamed", b'd', 3, 1)).unwrap();
    assert_eq!(decoder.relation(1).unwrap().name.to_string(), "public.renamed");
    assert_eq!(decoder.relation(1).unwrap().columns.len(), 3);
    assert!(decoder.relation(3).is_none());
}

#[test]
fn a_relation_is_described_as_the_message_says() {
    let mut decoder = Decoder::new();
    let bytes = Bytes::of(b'R').u32(1).text("").text("t").u8(b'f').u16(2);
    let bytes =
        bytes.u8(1).text("total").u32(1700).u32((12 << 16 | 2) + 4).u8(1).text("odd name").u32(99_999).u32(u32::MAX).0;
    decoder.decode(&bytes).unwrap();
    let relation = decoder.relation(0).unwrap();
    assert_eq!((relation.name.to_string().as_str(), relation.identity), ("pg_catalog.t", ReplicaIdentity::Full));
    let [total, odd] = relation.columns.as_slice() else { panic!() };
    assert_eq!(total.kind, ColumnType::Numeric { precision: Some(12), scale: Some(2) });
    assert_eq!((odd.name.as_str(), &odd.kind), ("odd name", &ColumnType::Other("type 99999".to_owned())));
    assert_eq!((odd.type_oid, odd.modifier), (99_999, -1));
    assert!(total.in_identity && !total.in_key, "under FULL the catalog names the key");
}

#[test]
fn what_the_catalog_adds_stays_until_the_next_description() {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(10, "t", b'f', 1, 1)).unwrap();
    let mut enriched = (**decoder.relation(0).unwrap()).clone();
    enriched.columns[0].in_key = true;
    decoder.set_relation(0, enriched.clone());
    assert!(decoder.relation(0).unwrap().columns[0].in_key);
    enriched.oid = 11;
    enriched.columns.clear();
    decoder.set_relation(0, enriched.clone());
    decoder.set_relation(7, enriched);
    assert_eq!(decoder.relation(0).unwrap().columns.len(), 1, "another table's version is ignored");
}

#[test]
fn four_kinds_of_column_and_four_kinds_of_row() {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(10, "t", b'd', 4, 1)).unwrap();
    let row = [Datum::Text(b"1"), Datum::Null, Datum::Unchanged, Datum::Binary(b"\x00\x02")];
    let key = [Datum::Text(b"0"), Datum::Absent, Datum::Absent, Datum::Absent];
    let change = |decoder: &mut Decoder, bytes: Bytes| {
        let Message::Row { relation: 0, change } = decoder.decode(&bytes.0).unwrap() else { panic!() };
        let own = |row: Option<Row<'_>>| row.map(|row| format!("{:?}", data(Some(row))));
        (change.operation, own(change.old), own(change.new))
    };
    let own = |row: &[Datum<'_>]| Some(format!("{row:?}"));

    let insert = Bytes::of(b'I').u32(10).u8(b'N').tuple(&row);
    assert_eq!(change(&mut decoder, insert), (Operation::Insert, None, own(&row)));
    let plain = Bytes::of(b'U').u32(10).u8(b'N').tuple(&row);
    assert_eq!(change(&mut decoder, plain), (Operation::Update, None, own(&row)));
    let keyed = Bytes::of(b'U').u32(10).u8(b'K').tuple(&key).u8(b'N').tuple(&row);
    assert_eq!(change(&mut decoder, keyed), (Operation::Update, own(&key), own(&row)));
    let full = Bytes::of(b'U').u32(10).u8(b'O').tuple(&row).u8(b'N').tuple(&row);
    assert_eq!(change(&mut decoder, full), (Operation::Update, own(&row), own(&row)));
    let deleted = Bytes::of(b'D').u32(10).u8(b'K').tuple(&key);
    assert_eq!(change(&mut decoder, deleted), (Operation::Delete, own(&key), None));
    let whole = Bytes::of(b'D').u32(10).u8(b'O').tuple(&row);
    assert_eq!(change(&mut decoder, whole), (Operation::Delete, own(&row), None));
}

#[test]
fn truncate_names_its_tables_by_index() {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(10, "a", b'd', 1, 1)).unwrap();
    decoder.decode(&relation(11, "b", b'd', 1, 1)).unwrap();
    for (flags, expected) in [(0, (false, false)), (1, (true, false)), (2, (false, true)), (3, (true, true))] {
        let bytes = Bytes::of(b'T').u32(2).u8(flags).u32(11).u32(10).0;
        let Message::Truncate { relations, cascade, restart_identity } = decoder.decode(&bytes).unwrap() else {
            panic!()
        };
        assert_eq!((relations, (cascade, restart_identity)), (&[1, 0][..], expected));
    }
}

#[test]
fn messages_origins_and_types_are_told_apart() {
    let mut decoder = Decoder::new();
    for (flags, expected) in [(0, false), (1, true)] {
        let bytes = Bytes::of(b'M').u8(flags).u64(5).text("p").counted(b"\x00\xff").0;
        let Message::Logical { transactional, lsn, prefix, content } = decoder.decode(&bytes).unwrap() else {
            panic!()
        };
        assert_eq!((transactional, lsn, prefix, content), (expected, Lsn(5), &b"p"[..], &b"\x00\xff"[..]));
    }
    assert!(matches!(decoder.decode(&Bytes::of(b'O').u64(5).text("node").0), Ok(Message::Origin)));
    assert!(matches!(decoder.decode(&Bytes::of(b'Y').u32(5).text("s").text("t").0), Ok(Message::Type)));
}

#[test]
fn refusals_name_message_and_offset_and_no_value() {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(10, "t", b'd', 1, 1)).unwrap();
    let secret = [Datum::Text(b"secret")];
    let mut cases = vec![
        (vec![], "pgoutput unknown message: it ends where 1 more bytes belong at byte 0 of 0"),
        (vec![b'S'], "pgoutput unknown message: a type 'S' that version 1 does not have at byte 1 of 1"),
        (vec![b'B', 0], "pgoutput Begin message: it ends where 8 more bytes belong at byte 1 of 2"),
        (
            Bytes::of(b'I').u32(12).u8(b'N').tuple(&secret).0,
            "pgoutput Insert message: a table with OID 12 that no Relation message described at byte 5 of 19",
        ),
        (
            Bytes::of(b'I').u32(10).u8(b'N').tuple(&[secret[0]; 2]).0,
            "pgoutput Insert message: a row of 2 columns for a table of 1 at byte 8 of 30",
        ),
        (
            Bytes::of(b'I').u32(10).u8(b'N').u16(1).u8(b't').u32(9).u8(b's').0,
            "pgoutput Insert message: 9 bytes are announced and 1 follow at byte 13 of 14",
        ),
        (
            Bytes::of(b'I').u32(10).u8(b'N').u16(1).u8(b't').u32(u32::MAX).0,
            "pgoutput Insert message: -1 bytes are announced and 0 follow at byte 13 of 13",
        ),
        (
            Bytes::of(b'I').u32(10).u8(b'N').u16(1).u8(b'x').0,
            "pgoutput Insert message: a column of unknown kind at byte 9 of 9",
        ),
        (
            Bytes::of(b'I').u32(10).u8(b'N').tuple(&secret).u8(0).0,
            "pgoutput Insert message: 1 bytes too many at byte 19 of 20",
        ),
        (Bytes::of(b'I').u32(10).u8(b'O').tuple(&secret).0, "pgoutput Insert message: no new row at byte 6 of 19"),
        (
            Bytes::of(b'D').u32(10).u8(b'N').tuple(&secret).0,
            "pgoutput Delete message: a row of unknown kind at byte 6 of 19",
        ),
        (
            Bytes::of(b'T').u32(u32::MAX).u8(0).0,
            "pgoutput Truncate message: it ends where 4 more bytes belong at byte 6 of 6",
        ),
        (Bytes::of(b'O').u64(1).u8(b'n').0, "pgoutput Origin message: a string without its end at byte 9 of 10"),
        (Bytes::of(b'R').u32(1).u8(0xFF).u8(0).0, "pgoutput Relation message: a name that is not UTF-8 at byte 7 of 7"),
        (
            Bytes::of(b'R').u32(1).text("s").text("t").u8(b'z').0,
            "pgoutput Relation message: an unknown replica identity at byte 10 of 10",
        ),
    ];
    cases.push((
        Bytes::of(b'R').u32(1).text("s").text("t").u8(b'd').u16(u16::MAX).0,
        "pgoutput Relation message: it ends where 1 more bytes belong at byte 12 of 12",
    ));
    for (bytes, expected) in cases {
        assert_eq!(refusal(&mut decoder, &bytes), expected);
    }
}
