use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use Datum::{Absent, Null, Unchanged};

/// Whether a rule with this condition fires.
fn fires(
    relation: &Relation,
    operation: Operation,
    when: &str,
    old: Option<&[Datum<'_>]>,
    new: Option<&[Datum<'_>]>,
) -> Result<bool, Error> {
    let plan = plan(vec![event("E", &[operation], when)]);
    let rules = TableRules::compile(&plan, relation).unwrap_or_else(|error| panic!("{when}: {error}"));
    route(&rules, operation, old, new).map(|(_, yields)| yields.events == [0])
}

/// Whether the condition holds for an inserted row of one column `x`.
fn holds(kind: ColumnType, datum: Datum<'_>, when: &str) -> bool {
    let relation = table(&[("id", ColumnType::Int4), ("x", kind)], 1);
    fires(&relation, Operation::Insert, when, None, Some(&[t("1"), datum])).unwrap_or_else(|e| panic!("{when}: {e}"))
}

fn update(when: &str, old: &[Datum<'_>], new: &[Datum<'_>]) -> Result<bool, Error> {
    fires(&full(orders()), Operation::Update, when, Some(old), Some(new))
}

#[test]
fn equality_is_total() {
    let x = ColumnType::Text;
    for (datum, when, expected) in [
        (t("a"), "x == 'a'", true),
        (t("a"), "x != 'a'", false),
        (t("a"), "'b' == x", false),
        (Null, "x == 'a'", false),
        (Null, "x != 'a'", true),
        (Null, "x == null", true),
        (Null, "x != null", false),
        (t(""), "x == null", false),
        (t(""), "null != x", true),
        (Null, "x in ['a', null]", true),
        (Null, "x in ['a']", false),
        (Null, "!(x in ['a'])", true),
        (t("b"), "x in ['a', 'b']", true),
        (t("c"), "x in ['a', 'b']", false),
        (t("c"), "x in []", false),
    ] {
        assert_eq!(holds(x.clone(), datum, when), expected, "{datum:?} {when}");
    }
}

#[test]
fn an_order_with_null_is_unknown_and_fires_nothing() {
    for (datum, when, expected) in [
        (Null, "x < 5", false),
        (Null, "!(x < 5)", false),
        (Null, "!(x < 5 && true)", false),
        (Null, "!(true && x < 5)", false),
        (Null, "!(x < 5 || false)", false),
        (Null, "x < 5 || x == null", true),
        (Null, "x == null || x < 5", true),
        (Null, "x < 5 || x >= 5", false),
        (Null, "!(x < 5 && x != null)", true),
        (Null, "x != null && x < 5", false),
        (t("4"), "x != null && x < 5", true),
        (t("5"), "x < 5", false),
        (t("5"), "x <= 5", true),
        (t("5"), "5 >= x", true),
        (t("6"), "5 < x", true),
        (t("-6"), "x > -6", false),
    ] {
        assert_eq!(holds(ColumnType::Int4, datum, when), expected, "{datum:?} {when}");
    }
}

#[test]
fn logic_has_its_truth_table() {
    let x = || ColumnType::Bool;
    for (datum, when, expected) in [
        (t("t"), "x", true),
        (t("f"), "x", false),
        (t("f"), "!x", true),
        (Null, "x", false),
        (Null, "!x", false),
        (Null, "x == false", false),
        (Null, "x != true", true),
        (Null, "x || true", true),
        (Null, "!(x && false)", true),
        (t("t"), "x && true", true),
        (t("t"), "x && false", false),
        (t("f"), "x || false", false),
        (Datum::Binary(&[1]), "x == true", true),
        (Datum::Binary(&[0]), "x", false),
    ] {
        assert_eq!(holds(x(), datum, when), expected, "{datum:?} {when}");
    }
}

#[test]
fn every_type_compares_in_both_forms() {
    let uuid = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let numeric = ColumnType::Numeric { precision: None, scale: None };
    let labels = || ColumnType::Enum(vec!["NEW".to_owned(), "PAID".to_owned()]);
    let leap_us: i64 = 762_525_296_789_012;
    let cases: Vec<(ColumnType, Vec<u8>, &str, &str, &str)> = vec![
        (ColumnType::Int2, 7_i16.to_be_bytes().into(), "7", "x == 7", "x > 7"),
        (ColumnType::Int4, (-7_i32).to_be_bytes().into(), "-7", "x <= -7", "x == 7"),
        (ColumnType::Int8, i64::MIN.to_be_bytes().into(), "-9223372036854775808", "x < 0", "x > 0"),
        (ColumnType::Int4, 7_i32.to_be_bytes().into(), "7", "x > 6.5", "x == 7.5"),
        (ColumnType::Float4, 0.5_f32.to_be_bytes().into(), "0.5", "x == 0.5", "x > 1"),
        (ColumnType::Float4, 0.1_f32.to_be_bytes().into(), "0.1", "x > 0.1", "x == 0.1"),
        (ColumnType::Float8, 0.1_f64.to_be_bytes().into(), "0.1", "x == 0.1", "x < 0"),
        (ColumnType::Float8, f64::NAN.to_be_bytes().into(), "NaN", "x > 1", "x == 1"),
        (numeric, vec![0, 2, 0, 0, 0, 0, 0, 2, 0, 19, 0x23, 0x28], "19.90", "x == 19.9", "x > 19.90"),
        (ColumnType::Text, b"PAID".into(), "PAID", "x == 'PAID'", "x < 'PAID'"),
        (labels(), b"PAID".into(), "PAID", "x == 'PAID'", "x != 'PAID'"),
        (
            ColumnType::Uuid,
            uuid.into(),
            "00112233-4455-6677-8899-aabbccddeeff",
            "x == '00112233-4455-6677-8899-AABBCCDDEEFF'",
            "x == '10112233-4455-6677-8899-aabbccddeeff'",
        ),
        (ColumnType::Date, 8825_i32.to_be_bytes().into(), "2024-02-29", "x == '2024-02-29'", "x < '2024-02-29'"),
        (ColumnType::Date, i32::MAX.to_be_bytes().into(), "infinity", "x > '9999-12-31'", "x != 'infinity'"),
        (ColumnType::Time, 45_296_000_000_i64.to_be_bytes().into(), "12:34:56", "x == '12:34:56'", "x > '12:35'"),
        (
            ColumnType::Timestamp,
            leap_us.to_be_bytes().into(),
            "2024-02-29 12:34:56.789012",
            "x == '2024-02-29T12:34:56.789012'",
            "x < '2024-02-29 12:34:56'",
        ),
        (
            ColumnType::TimestampTz,
            leap_us.to_be_bytes().into(),
            "2024-02-29 13:34:56.789012+01",
            "x == '2024-02-29 12:34:56.789012Z'",
            "x < '2024-02-29 12:34:56+00'",
        ),
    ];
    for (kind, binary, text, yes, no) in &cases {
        for datum in [Datum::Binary(binary), t(text)] {
            assert!(holds(kind.clone(), datum, yes), "{kind} {datum:?} {yes}");
            assert!(!holds(kind.clone(), datum, no), "{kind} {datum:?} {no}");
        }
    }
}

#[test]
fn columns_compare_with_columns() {
    let numeric = ColumnType::Numeric { precision: Some(12), scale: Some(2) };
    let relation = table(
        &[
            ("id", ColumnType::Int4),
            ("big", ColumnType::Int8),
            ("total", numeric),
            ("rate", ColumnType::Float8),
            ("code", ColumnType::Text),
            ("kind", ColumnType::Enum(vec!["A".to_owned()])),
        ],
        1,
    );
    let row = [t("7"), t("7"), t("7.00"), t("7.5"), t("A"), t("A")];
    for (when, expected) in [
        ("id == big", true),
        ("big == total", true),
        ("total <= id", true),
        ("rate > id", true),
        ("code == kind", true),
        ("kind != code", false),
        ("new.id < new.total", false),
        ("new['rate'] == rate", true),
    ] {
        let found = fires(&relation, Operation::Insert, when, None, Some(&row)).unwrap();
        assert_eq!(found, expected, "{when}");
    }
}

#[test]
fn blanks_at_the_end_of_a_padded_column_do_not_count() {
    let mut relation = table(&[("id", ColumnType::Int4), ("x", ColumnType::Text)], 1);
    relation.columns[1].type_oid = 1042;
    for when in ["x == 'PAID'", "x == 'PAID  '", "x in ['PAID']"] {
        for datum in [t("PAID      "), Datum::Binary(b"PAID      ")] {
            assert!(fires(&relation, Operation::Insert, when, None, Some(&[t("1"), datum])).unwrap());
        }
    }
    relation.columns[1].type_oid = 25;
    assert!(!fires(&relation, Operation::Insert, "x == 'PAID'", None, Some(&[t("1"), t("PAID ")])).unwrap());
}

#[test]
fn a_transition_is_seen_from_both_rows() {
    let paid = "old.status != 'PAID' && new.status == 'PAID'";
    let row = |status| [t("1"), status, Null];
    for (old, new, expected) in [
        (t("NEW"), t("PAID"), true),
        (Null, t("PAID"), true),
        (t("PAID"), t("PAID"), false),
        (t("PAID"), t("NEW"), false),
        (t("NEW"), Null, false),
    ] {
        assert_eq!(update(paid, &row(old), &row(new)).unwrap(), expected, "{old:?} {new:?}");
    }
}

#[test]
fn changed_compares_values_and_null_equals_null() {
    let row = |note| [t("1"), t("NEW"), note];
    for (old, new, expected) in [
        (t("a"), t("b"), true),
        (t("a"), t("a"), false),
        (Null, t("a"), true),
        (t("a"), Null, true),
        (Null, Null, false),
        (t("a"), Unchanged, false),
        (Absent, Unchanged, false),
    ] {
        assert_eq!(update("changed(note)", &row(old), &row(new)).unwrap(), expected, "{old:?} {new:?}");
    }
    let numeric = ColumnType::Numeric { precision: None, scale: None };
    let relation = full(table(&[("id", ColumnType::Int4), ("x", numeric), ("j", ColumnType::Jsonb)], 1));
    let changed = |when, old: [_; 3], new: [_; 3]| fires(&relation, Operation::Update, when, Some(&old), Some(&new));
    assert!(!changed("changed(x)", [t("1"), t("1.0"), Null], [t("1"), t("1.00"), Null]).unwrap(), "one number");
    assert!(changed("changed(j)", [t("1"), Null, t("{}")], [t("1"), Null, t("[]")]).unwrap());
    assert!(!changed("changed(j)", [t("1"), Null, t("{}")], [t("1"), Null, t("{}")]).unwrap());
}

#[test]
fn without_an_old_row_the_identity_did_not_change() {
    let relation = orders();
    let row = [t("1"), t("NEW"), Null];
    let of = |when, old: Option<&[Datum<'_>]>| fires(&relation, Operation::Update, when, old, Some(&row));
    assert!(of("old.id == 1", None).unwrap());
    assert!(!of("changed(id)", None).unwrap());
    assert!(of("old.id == new.id", None).unwrap());
    assert!(of("old.id == 1", Some(&[t("1"), Absent, Absent])).unwrap());
    let rekey = plan(vec![event("E", &[Operation::Rekey], "changed(id) && old.id == 2 && id == 1")]);
    let rules = TableRules::compile(&rekey, &relation).unwrap();
    let (_, yields) = route(&rules, Operation::Update, Some(&[t("2"), Absent, Absent]), Some(&row)).unwrap();
    assert_eq!(yields.events, [0]);
}

#[test]
fn bare_names_are_the_old_rows_on_delete() {
    let relation = orders();
    let old = [t("1"), Absent, Absent];
    assert!(fires(&relation, Operation::Delete, "id == 1", Some(&old), None).unwrap());
    assert!(fires(&relation, Operation::Delete, "old.id == 1", Some(&old), None).unwrap());
    let whole = [t("1"), t("NEW"), Null];
    assert!(fires(&full(orders()), Operation::Delete, "status == 'NEW'", Some(&whole), None).unwrap());
}

#[test]
fn an_old_row_that_was_not_sent_is_an_error_and_no_guess() {
    let row = [t("1"), t("PAID"), Null];
    let relation = full(orders());
    for old in [None, Some(&[t("1"), Absent, Absent][..])] {
        let error = fires(&relation, Operation::Delete, "old.status == 'NEW'", old, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol);
    }
    let error = fires(&relation, Operation::Update, "old.status != 'PAID'", Some(&[t("1"), Absent, Null]), Some(&row));
    assert_eq!(
        error.unwrap_err().to_string(),
        "protocol: a rule needs status of a row that was not sent (table public.orders, column status, contract \
         oms/E/v1)"
    );
}

#[test]
fn an_unchanged_value_is_the_old_rows_or_unknown() {
    let row = [t("1"), t("NEW"), Unchanged];
    assert!(update("note == 'long'", &[t("1"), t("NEW"), t("long")], &row).unwrap());
    let of = |when| fires(&orders(), Operation::Update, when, None, Some(&row));
    assert_eq!(
        of("note == 'long'").unwrap_err().to_string(),
        "unchanged-toast: a rule needs note, which the update did not change nor send again (table public.orders, column \
         note, contract oms/E/v1)"
    );
    assert!(of("note != null").unwrap(), "what is stored out of line is not NULL");
    assert!(!of("note == null").unwrap());
    assert!(!of("note in ['long'] && status == 'PAID'").unwrap(), "the other side decides alone");
    assert!(!of("status == 'PAID' && note == 'long'").unwrap());
    assert!(of("note == 'long' || status == 'NEW'").unwrap());
    assert_eq!(of("note == 'long' || status == 'PAID'").unwrap_err().kind(), Kind::UnchangedToast);
    assert_eq!(of("!(note == 'long')").unwrap_err().kind(), Kind::UnchangedToast);
    let keyed = |when| fires(&orders(), Operation::Update, when, Some(&[t("1"), Absent, Absent]), Some(&row));
    assert_eq!(keyed("note == 'long'").unwrap_err().kind(), Kind::UnchangedToast, "a key tuple says nothing of it");
    assert!(keyed("note != null").unwrap());
}

#[test]
fn bytes_that_are_no_value_of_the_type_are_a_protocol_error() {
    let numeric = ColumnType::Numeric { precision: None, scale: None };
    for (kind, datum, when) in [
        (ColumnType::Int4, Datum::Binary(b"abc"), "x == 1"),
        (ColumnType::Int4, t("abc"), "x in [1]"),
        (ColumnType::Bool, Datum::Binary(b""), "x"),
        (ColumnType::Bool, t("yes"), "x == true"),
        (ColumnType::Float8, Datum::Binary(b"abc"), "x > 1.5"),
        (numeric, Datum::Binary(b"abc"), "x > 1"),
        (ColumnType::Uuid, Datum::Binary(b"abc"), "x != '00000000-0000-0000-0000-000000000000'"),
        (ColumnType::Date, t("29.02.2024"), "x == '2024-02-29'"),
    ] {
        let relation = table(&[("id", ColumnType::Int4), ("x", kind)], 1);
        let error = fires(&relation, Operation::Insert, when, None, Some(&[t("1"), datum])).unwrap_err();
        assert_eq!((error.kind(), error.place().column.as_deref()), (Kind::Protocol, Some("x")), "{when}");
        assert!(!error.to_string().contains("abc"), "no value in an error");
    }
}

proptest! {
    #[test]
    fn integers_and_doubles_compare_as_they_do_in_rust(a in any::<i32>(), b in any::<i32>(), f in any::<f64>(), g in any::<f64>()) {
        let (a_bytes, f_bytes) = (a.to_be_bytes(), f.to_be_bytes());
        prop_assert_eq!(holds(ColumnType::Int4, Datum::Binary(&a_bytes), &format!("x < {b}")), a < b);
        if f.is_finite() && g.is_finite() {
            prop_assert_eq!(holds(ColumnType::Float8, Datum::Binary(&f_bytes), &format!("x < {g:?}")), f < g);
            let (text, when) = (f.to_string(), format!("x == {f:?}"));
            prop_assert!(holds(ColumnType::Float8, t(&text), &when));
        }
    }
}

/// `cargo test --profile ci --lib evaluation_time -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn evaluation_time() {
    const ROUNDS: u32 = 20_000_000;
    let id = 7_i32.to_be_bytes();
    let [old, new] = ["NEW", "PAID"].map(|status| Owned::of(&[Datum::Binary(&id), t(status), Null]));
    let change = Change { operation: Operation::Update, old: Some(old.row()), new: Some(new.row()) };
    let mut measured = Vec::new();
    for when in ["", "old.status != 'PAID' && new.status == 'PAID'"] {
        let plan = plan(vec![event("Paid", &[Operation::Update], when)]);
        let rules = TableRules::compile(&plan, &full(orders())).unwrap();
        let mut yields = Yields::default();
        let start = cpu_ns();
        for _ in 0..ROUNDS {
            rules.route(std::hint::black_box(&change), &mut yields).unwrap();
            assert_eq!(yields.events.len(), 1);
        }
        measured.push((cpu_ns() - start) / f64::from(ROUNDS));
    }
    println!("{:.1} ns to route a change, {:.1} ns more with the condition", measured[0], measured[1] - measured[0]);
}

/// This thread's time on a CPU, so that a busy machine disturbs less.
fn cpu_ns() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}
