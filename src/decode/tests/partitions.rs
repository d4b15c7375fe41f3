//! With `publish_via_partition_root`: the root is described, then the partition, and rows come as the root's.

use super::*;
use crate::model::ReplicaIdentity;

const ROOT: u32 = 10;
const PARTITION: u32 = 11;

fn row(tag: u8, table: u32) -> Bytes {
    Bytes::of(tag).u32(table)
}

/// Root and partition, two columns each; so many first ones are the identity.
fn described(root: (u8, u16), partition: (u8, u16)) -> Decoder {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(ROOT, "root", root.0, 2, root.1)).unwrap();
    decoder.decode(&relation(PARTITION, "part", partition.0, 2, partition.1)).unwrap();
    decoder
}

fn identity(decoder: &Decoder) -> (ReplicaIdentity, Vec<bool>) {
    let root = decoder.relation(0).unwrap();
    (root.identity, root.columns.iter().map(|column| column.in_identity).collect())
}

#[test]
fn a_root_has_what_its_partitions_send() {
    let mut decoder = described((b'f', 2), (b'd', 1));
    let insert = row(b'I', ROOT).u8(b'N').tuple(&[Datum::Text(b"1"), Datum::Text(b"2")]).0;
    assert_eq!(decoder.narrowed(&insert), Some(0));
    assert_eq!(identity(&decoder), (ReplicaIdentity::Partial, vec![true, false]));
    assert_eq!(decoder.narrowed(&insert), None, "once");

    // The root's marker says that all columns are there; the partition's identity has filled the first only.
    let delete = row(b'D', ROOT).u8(b'O').tuple(&[Datum::Text(b"1"), Datum::Null]).0;
    let Message::Row { change, .. } = decoder.decode(&delete).unwrap() else { panic!() };
    assert_eq!(data(change.old), [Datum::Text(b"1"), Datum::Absent]);

    // A second partition brings the root's description with it.
    decoder.decode(&relation(ROOT, "root", b'f', 2, 2)).unwrap();
    assert_eq!(identity(&decoder).0, ReplicaIdentity::Partial);
    decoder.decode(&relation(12, "wide", b'f', 2, 2)).unwrap();
    assert_eq!(decoder.narrowed(&insert), None);
    assert_eq!(identity(&decoder).0, ReplicaIdentity::Partial);
}

#[test]
fn partitions_with_the_roots_identity_change_nothing() {
    for (root, partition) in [((b'f', 2), (b'f', 2)), ((b'd', 1), (b'd', 1)), ((b'd', 1), (b'f', 2))] {
        let mut decoder = described(root, partition);
        let insert = row(b'I', ROOT).0;
        assert_eq!(decoder.narrowed(&insert), None, "{root:?} {partition:?}");
        assert_ne!(identity(&decoder).0, ReplicaIdentity::Partial);
    }
}

#[test]
fn tables_that_are_described_one_after_the_other_are_no_partitions() {
    for other in [row(b'T', ROOT), row(b'I', PARTITION), Bytes::of(b'C'), Bytes::of(b'I')] {
        let mut decoder = described((b'f', 2), (b'd', 1));
        assert_eq!(decoder.narrowed(&Bytes::of(b'Y').0), None);
        assert_eq!(decoder.narrowed(&other.0), None);
        assert_eq!(decoder.narrowed(&row(b'I', ROOT).0), None);
        assert_eq!(identity(&decoder).0, ReplicaIdentity::Full);
    }
}

#[test]
fn an_update_under_full_has_its_old_row() {
    let mut decoder = Decoder::new();
    decoder.decode(&relation(ROOT, "root", b'f', 1, 1)).unwrap();
    let update = row(b'U', ROOT).u8(b'N').tuple(&[Datum::Text(b"1")]).0;
    let error = decoder.decode(&update).map(|_| ()).unwrap_err();
    assert_eq!(
        error.detail(),
        "pgoutput Update message: no old row of a table with REPLICA IDENTITY FULL at byte 6 of 14"
    );
}
