use proptest::prelude::*;

use super::*;

fn id(source: &str, epoch: u32, table: (&str, &str), rule: &str, lsn: u64, k: u64) -> String {
    let mut out = Vec::new();
    Identity::new(source, epoch, &TableName::new(table.0, table.1), rule).write(Lsn(lsn), k, &mut out);
    String::from_utf8(out).unwrap()
}

fn sequence(position: Position) -> String {
    let mut out = Vec::new();
    write_sequence(&position, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn ids_spell_their_parts() {
    let orders = ("public", "orders");
    assert_eq!(
        id("/oms/prod-eu", 0, orders, "oms/OrderPlaced/v1", 0x16_B374_D848, 0),
        "/oms/prod-eu:0:16/B374D848:public.orders:0:oms/OrderPlaced/v1"
    );
    assert_eq!(id("s", 7, orders, "oms.customer-state", 0xFF, 1_204), "s:7:0/FF:public.orders:1204:oms.customer-state");
    assert_eq!(
        id("a:b%c d", 0, ("od.d", "Täble.x"), "t", u64::MAX, u64::MAX),
        "a%3Ab%25c%20d:0:FFFFFFFF/FFFFFFFF:od%2Ed.T%C3%A4ble.x:18446744073709551615:t"
    );
}

#[test]
fn the_id_of_a_read_names_the_version_of_the_row() {
    let id = |key: &[&str]| {
        let mut out = Vec::new();
        let identity = Identity::new("s", 2, &TableName::new("public", "orders"), "oms/OrderPlaced/v1");
        let mut version = Vec::new();
        let part = |number: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(key[number].as_bytes());
            Ok::<_, ()>(())
        };
        write_version(key.len(), 731, part, &mut version).unwrap();
        identity.write_read(&version, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(id(&["17"]), "s:2:public.orders:17:731:oms/OrderPlaced/v1");
    assert_eq!(id(&["a,b:c", "é"]), "s:2:public.orders:a%2Cb%3Ac,%C3%A9:731:oms/OrderPlaced/v1");
    assert_ne!(id(&["a", "b"]), id(&["a,b"]));
}

#[test]
fn an_id_is_read_by_the_rule_that_wrote_it_alone() {
    let of = |source, epoch, table: &str, rule| Identity::new(source, epoch, &TableName::new("public", table), rule);
    let own = of("s", 2, "orders", "oms/OrderPlaced/v1");
    let mut id = Vec::new();
    own.write(Lsn(0x16_B374_D848), 1_204, &mut id);
    assert_eq!(own.read(&id), Some((Lsn(0x16_B374_D848), 1_204)));
    for other in [
        of("t", 2, "orders", "oms/OrderPlaced/v1"),
        of("s", 1, "orders", "oms/OrderPlaced/v1"),
        of("s", 2, "order", "oms/OrderPlaced/v1"),
        of("s", 2, "orders", "oms/OrderPlaced/v2"),
        of("s", 2, "orders", "orders"),
    ] {
        assert_eq!(other.read(&id), None, "{other:?}");
    }
    let mut read = Vec::new();
    own.write_read(b"17:731", &mut read);
    assert_eq!(own.read(&read), None, "of a read");
    for spelled in ["16/b374d848:public.orders:1204", "16/B374D848:public.orders:01204", "16/B374D848:public.orders:+1"]
    {
        let id = format!("s:2:{spelled}:oms/OrderPlaced/v1");
        assert_eq!(own.read(id.as_bytes()), None, "{id}");
    }
}

proptest! {
    #[test]
    fn any_id_is_read_or_is_none(lsn: u64, k: u64, bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0..100usize) {
        let own = Identity::new("s:", 0, &TableName::new("a", "b:c"), "r:1");
        prop_assert_eq!(own.read(&bytes), None);
        let mut id = Vec::new();
        own.write(Lsn(lsn), k, &mut id);
        prop_assert_eq!(own.read(&id), Some((Lsn(lsn), k)));
        id.truncate(cut.min(id.len() - 1));
        prop_assert_eq!(own.read(&id), None);
    }
}

#[test]
fn an_id_is_appended() {
    let mut out = b"before".to_vec();
    Identity::new("s", 0, &TableName::new("a", "b"), "r").write(Lsn(0), 10, &mut out);
    assert_eq!(out, b"befores:0:0/0:a.b:10:r");
}

#[test]
fn sequences_have_one_length() {
    let change = Position { epoch: 0, lsn: Lsn(0x16_B374_D848), n: 3, r: u64::MAX };
    assert_eq!(sequence(change), "00000000-00000016B374D848-0000000003-FFFFFFFFFF");
    let last = Position { epoch: u32::MAX, lsn: Lsn(u64::MAX), n: u64::MAX, r: u64::MAX - 1 };
    assert_eq!(sequence(last), "FFFFFFFF-FFFFFFFFFFFFFFFF-FFFFFFFFFF-FFFFFFFFFE");
}

fn position() -> impl Strategy<Value = Position> {
    let r = prop_oneof![0..5_u64, Just(u64::MAX), 0..0xFF_FFFF_FFFE_u64];
    let lsn = prop_oneof![0..3_u64, any::<u64>()];
    (0..3_u32, lsn, 0..0xFF_FFFF_FFFF_u64, r).prop_map(|(epoch, lsn, n, r)| Position { epoch, lsn: Lsn(lsn), n, r })
}

proptest! {
    #[test]
    fn the_order_of_sequences_is_that_of_positions(a in position(), b in position()) {
        prop_assert_eq!(sequence(a).cmp(&sequence(b)), a.cmp(&b));
    }

    #[test]
    fn ids_hold_what_postgres_and_the_standard_library_write(lsn in any::<u64>(), k in any::<u64>()) {
        prop_assert_eq!(id("s", 1, ("a", "b"), "r", lsn, k), format!("s:1:{}:a.b:{k}:r", Lsn(lsn)));
    }

    #[test]
    fn different_parts_give_different_ids(a in "[a.:%é ]{0,4}", b in "[a.:%é ]{0,4}", c in "[a.:%é ]{0,4}", d in "[a.:%é ]{0,4}") {
        let same = (&a, &b) == (&c, &d);
        prop_assert_eq!(id("s", 0, (&a, &b), "r", 0, 0) == id("s", 0, (&c, &d), "r", 0, 0), same);
        prop_assert_eq!(id(&a, 0, ("t", "t"), &b, 0, 0) == id(&c, 0, ("t", "t"), &d, 0, 0), same);
    }
}
