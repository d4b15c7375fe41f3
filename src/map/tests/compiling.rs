use super::*;
use crate::error::Kind;
use Operation::{Delete, Insert, Read, Rekey, Truncate, Update};

fn refusal(on: &[Operation], when: &str, relation: &Relation) -> (Kind, String) {
    let error = TableRules::compile(&plan(vec![event("E", on, when)]), relation).unwrap_err();
    (error.kind(), error.detail().to_owned())
}

/// The one message that a condition on an insert is refused with.
fn message(kind: &ColumnType, when: &str) -> String {
    let relation = table(&[("id", ColumnType::Int4), ("x", kind.clone()), ("name", ColumnType::Text)], 1);
    let (kind, detail) = refusal(&[Insert], when, &relation);
    assert_eq!(kind, Kind::SchemaMismatch);
    let lines: Vec<_> = detail.lines().collect();
    assert_eq!((lines[0], lines.len()), ("1 fault", 4), "{detail}");
    lines[1].split_once("oms/E/v1: ").unwrap().1.to_owned()
}

#[test]
fn a_fault_names_its_place_and_points_at_the_node() {
    let (kind, detail) = refusal(&[Update], "new.status == 'PAID' && statuss != 'x'", &orders());
    assert_eq!(kind, Kind::SchemaMismatch);
    assert_eq!(
        detail,
        "1 fault\n\
         oms.toml:7:33: oms/E/v1: public.orders has no column statuss; for the constant write 'statuss'\n    \
         new.status == 'PAID' && statuss != 'x'\n                            ^"
    );
}

#[test]
fn a_fault_in_a_later_line_of_an_expression_points_there() {
    let (_, detail) = refusal(&[Insert], "status == 'ä'\n  && nope", &orders());
    assert_eq!(
        detail,
        "1 fault\noms.toml:8:6: oms/E/v1: public.orders has no column nope; for the constant write 'nope'\n      \
         && nope\n         ^"
    );
}

#[test]
fn all_faults_of_a_table_come_at_once() {
    let mut second = event("F", &[Insert], "status > null");
    second.fields.push(field("was", "old.status"));
    let mut plan = plan(vec![event("E", &[Update], "nope == 1 || (status == 2 && old.note == 'x')"), second]);
    plan.tombstones.push(tombstone("id"));
    let error = TableRules::compile(&plan, &orders()).unwrap_err();
    let faults: Vec<_> = error.detail().lines().filter(|line| line.starts_with("oms.toml")).collect();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    assert_eq!(error.place().table, Some(TableName::new("public", "orders")));
    assert!(error.detail().starts_with("6 faults\n"), "{error}");
    let old_note = "old.note: the old row is sent with the replica identity's columns only (id); ALTER TABLE public.orders \
                    REPLICA IDENTITY FULL sends all of them";
    let expected = [
        "oms.toml:7:9: oms/E/v1: public.orders has no column nope; for the constant write 'nope'".to_owned(),
        "oms.toml:7:33: oms/E/v1: status is text: compare it with a string in quotes".to_owned(),
        format!("oms.toml:7:38: oms/E/v1: {old_note}"),
        "oms.toml:9:9: oms/F/v1 was: old.status: an insert has no old row; give it a rule of its own".to_owned(),
        "oms.toml:7:18: oms/F/v1: null has no order; use == or !=".to_owned(),
        "oms.toml:9:9: tombstone of oms.orders: a tombstone is for the old key; write old.id".to_owned(),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn types_that_do_not_compare_are_refused() {
    let numeric = ColumnType::Numeric { precision: Some(12), scale: Some(2) };
    let labels = ColumnType::Enum(vec!["NEW".to_owned(), "PAID".to_owned()]);
    let opaque =
        |kind: &str| format!("x is {kind}, which is not compared; `x == null` and `changed(x)` are what can be asked");
    let cases = [
        (&ColumnType::Int4, "x == '5'", "x is integer: compare it with a number, without quotes".to_owned()),
        (&ColumnType::Int4, "x", "x is integer, not true or false; compare it with something".to_owned()),
        (&ColumnType::Int4, "!x", "x is integer, not true or false; compare it with something".to_owned()),
        (&ColumnType::Int4, "x == name", "x is integer and name is text: they do not compare exactly".to_owned()),
        (&ColumnType::Int4, "x in [1, 'b']", "x is integer: compare it with a number, without quotes".to_owned()),
        (
            &ColumnType::Int4,
            "x == (name == 'a')",
            "columns and constants are compared; join conditions with && and ||".to_owned(),
        ),
        (&numeric, "x > '5'", "x is numeric(12,2): compare it with a number, without quotes".to_owned()),
        (
            &ColumnType::Float8,
            "x == 9007199254740993",
            "x is double precision: no floating-point number is exactly this integer".to_owned(),
        ),
        (&ColumnType::Bool, "x == 'true'", "x is boolean: compare it with true or false".to_owned()),
        (&ColumnType::Bool, "x > false", "x is boolean, which has no order".to_owned()),
        (&labels, "x == 'PAYD'", "x is an enum without the label 'PAYD'; it has NEW, PAID".to_owned()),
        (&labels, "x > 'NEW'", "x is an enum, whose labels have no order here; use == or in".to_owned()),
        (&ColumnType::Uuid, "x == 'a'", "x is uuid: compare it with '00000000-0000-0000-0000-000000000000'".to_owned()),
        (&ColumnType::Uuid, "x == name", "x is uuid and name is text: they do not compare exactly".to_owned()),
        (&ColumnType::Date, "x > '29.2.2024'", "x is date: compare it with a string such as '2024-02-29'".to_owned()),
        (&ColumnType::Timestamp, "x > 5", "x is timestamp: compare it with a string in quotes".to_owned()),
        (
            &ColumnType::TimestampTz,
            "x > '2024-02-29 12:34:56'",
            "x is timestamptz: compare it with a string such as '2024-02-29 12:34:56Z', with its offset".to_owned(),
        ),
        (&ColumnType::Jsonb, "x == '{}'", opaque("jsonb")),
        (&ColumnType::Bytea, "x == x", opaque("bytea")),
        (&ColumnType::Other("point".to_owned()), "x in ['a']", opaque("point")),
        (&ColumnType::Text, "x < null", "null has no order; use == or !=".to_owned()),
        (&ColumnType::Text, "'a' == 'b'", "two constants are compared; name a column on one side".to_owned()),
        (&ColumnType::Text, "'a' in ['a']", "a constant left of `in`; name a column".to_owned()),
        (&ColumnType::Text, "'a'", "a constant where something true or false belongs".to_owned()),
    ];
    for (kind, when, expected) in cases {
        assert_eq!(message(kind, when), expected, "{when}");
    }
}

#[test]
fn what_can_be_asked_of_opaque_types_is_accepted() {
    let relation = full(table(&[("id", ColumnType::Int4), ("x", ColumnType::Other("point".to_owned()))], 1));
    let plan = plan(vec![event("E", &[Update], "changed(x) && x != null && old.x == null")]);
    assert!(TableRules::compile(&plan, &relation).is_ok());
}

#[test]
fn rows_that_an_operation_does_not_have_are_refused() {
    let relation = full(orders());
    let own = "give it a rule of its own";
    for (on, when, expected) in [
        (&[Insert][..], "old.status == 'x'", format!("old.status: an insert has no old row; {own}")),
        (&[Update, Read], "old.status == 'x'", format!("old.status: a read has no old row; {own}")),
        (&[Delete], "new.status == 'x'", format!("new.status: a delete has no new row; {own}")),
        (
            &[Insert, Update],
            "changed(status)",
            format!("changed(status): an insert has no old row and new row to compare; {own}"),
        ),
        (
            &[Delete],
            "changed(status)",
            format!("changed(status): a delete has no old row and new row to compare; {own}"),
        ),
    ] {
        let (kind, detail) = refusal(on, when, &relation);
        assert_eq!(kind, Kind::SchemaMismatch);
        assert!(detail.contains(&expected), "{detail}");
    }
    let (_, detail) = refusal(&[Truncate], "status == 'x'", &relation);
    assert!(detail.starts_with("3 faults") && detail.contains("status: a truncate has no row"), "{detail}");
}

#[test]
fn what_the_replica_identity_does_not_send_is_refused_with_the_sql_that_mends_it() {
    let mut relation = orders();
    relation.name = TableName::new("public", "Orders");
    let sql = "columns only (id); ALTER TABLE public.\"Orders\" REPLICA IDENTITY FULL sends all of them";
    for (on, when, start) in [
        (&[Update][..], "old.status != 'x'", "old.status: the old row is sent with the replica identity's"),
        (&[Update, Rekey], "changed(status)", "changed(status): the old row is sent with the replica identity's"),
        (&[Delete], "status == 'x'", "status: on delete the row is sent with the replica identity's"),
        (&[Insert, Delete], "status == 'x'", "status: on delete the row is sent with the replica identity's"),
    ] {
        let mut plan = plan(vec![event("E", on, when)]);
        plan.events[0].table = relation.name.clone();
        let error = TableRules::compile(&plan, &relation).unwrap_err();
        assert_eq!(error.kind(), Kind::ReplicaIdentity);
        assert!(error.detail().contains(&format!("oms/E/v1: {start} {sql}")), "{error}");
        assert!(TableRules::compile(&plan, &full(relation.clone())).is_ok());
    }
}

#[test]
fn fields_keys_and_headers_need_their_row_too() {
    let mut deleted = event("E", &[Delete], "");
    deleted.fields.push(field("status", "status"));
    deleted.headers.push(("note".to_owned(), field("note", "new.note")));
    deleted.key = KeyPlan::Avro(vec![field("key", "old['status']")]);
    let mut plan = plan(vec![deleted]);
    plan.tombstones.push(tombstone("old.note"));
    let error = TableRules::compile(&plan, &orders()).unwrap_err();
    let rules: Vec<_> = error.detail().lines().skip(1).map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(rules, ["oms/E/v1 key", "oms/E/v1 status", "oms/E/v1 note", "tombstone of oms.orders"]);
    assert_eq!(error.kind(), Kind::SchemaMismatch, "one of them is no matter of the identity");
}

#[test]
fn a_change_of_key_needs_a_key() {
    let mut relation = full(orders());
    relation.columns[0].in_key = false;
    let mut plan = plan(vec![event("E", &[Rekey], "")]);
    plan.tombstones.push(tombstone("old.id"));
    let error = TableRules::compile(&plan, &relation).unwrap_err();
    assert_eq!(error.kind(), Kind::ReplicaIdentity);
    assert_eq!(
        error.detail(),
        "2 faults\noms.toml:5:9: oms/E/v1: a change of key cannot be seen: public.orders has no primary key; add one\n\
         oms.toml:20:9: tombstone of oms.orders: a change of key cannot be seen: public.orders has no primary key; add one"
    );
    relation.identity = ReplicaIdentity::Nothing;
    relation.columns[0].in_identity = false;
    let error = TableRules::compile(&plan, &relation).unwrap_err();
    assert!(error.detail().contains("public.orders has no replica identity; add a primary key"), "{error}");
}

#[test]
fn an_order_on_a_column_that_can_be_null_is_guarded() {
    let relation = full(table(&[("id", ColumnType::Int4), ("x", ColumnType::Int4), ("y", ColumnType::Int4)], 1));
    let not_null = BTreeSet::from(["id".to_owned()]);
    let check =
        |on: &[Operation], when: &str| TableRules::check(&plan(vec![event("E", on, when)]), &relation, &not_null);
    for when in [
        "id > 5",
        "x != null && x > 5",
        "null != x && (y == 1 && x > 5)",
        "x == 3 && x > 5",
        "x in [1, 2] && x > 1",
        "x == null || x > 5",
        "!(x == null) && x > 5",
        "!(x == null || y == null) && x > y",
        "x != null && y != null && x > y",
        "new.x != null && x > 5",
        "x != 3 || x > 5",
    ] {
        check(&[Insert], when).unwrap_or_else(|error| panic!("{when}: {error}"));
    }
    for (when, column) in [
        ("x > 5", "x"),
        ("!(x > 5)", "x"),
        ("x > 5 && x != null", "x"),
        ("x != null || x > 5", "x"),
        ("x == null && x > 5", "x"),
        ("x in [1, null] && x > 1", "x"),
        ("x != null && x > y", "y"),
        ("(x != null && y == 1) || x > 5", "x"),
        ("x == y && x > 5", "x"),
    ] {
        let error = check(&[Insert], when).unwrap_err();
        let expected = format!("{column} can be NULL, which has no order: write `{column} != null && ..` before it");
        assert!(error.detail().contains(&expected), "{when}: {error}");
    }
    assert!(check(&[Update], "old.x != null && new.x > 5").is_err(), "another row's column");
    assert!(check(&[Insert, Delete], "new.x == 1 || x > 5").is_err());
    assert!(check(&[Delete], "old.x != null && x > 5").is_ok());
    assert!(
        TableRules::compile(&plan(vec![event("E", &[Insert], "x > 5")]), &relation).is_ok(),
        "not known: not judged"
    );
}

#[test]
fn a_condition_that_is_refused_does_not_hide_the_next_one() {
    let plan = plan(vec![event("E", &[Insert], "a == 1"), event("F", &[Insert], "b == 1")]);
    let error = TableRules::compile(&plan, &orders()).unwrap_err();
    assert!(error.detail().contains("no column a;") && error.detail().contains("no column b;"), "{error}");
}
