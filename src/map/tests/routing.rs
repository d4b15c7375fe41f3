use super::*;
use crate::error::Kind;
use Operation::{Delete, Insert, Read, Rekey, Truncate, Update};

static ROW: [Datum<'_>; 3] = [Datum::Text(b"1"), Datum::Text(b"NEW"), Datum::Null];
static KEY: [Datum<'_>; 3] = [Datum::Text(b"1"), Datum::Absent, Datum::Absent];
static OTHER_KEY: [Datum<'_>; 3] = [Datum::Text(b"2"), Datum::Absent, Datum::Absent];

/// One event for each operation; a truncate has no row, so that its event has constants only.
fn every_operation() -> Plan {
    let mut plan = plan(Operation::ALL.iter().map(|operation| event(operation.name(), &[*operation], "")).collect());
    let truncate = &mut plan.events[4];
    truncate.key = KeyPlan::String(FieldPlan { source: FieldSource::Literal(Literal::Int(1)), ..field("key", "id") });
    truncate.fields.clear();
    plan
}

type Data<'d> = Option<&'d [Datum<'d>]>;

/// A change with what it is routed as, to which tombstones and which events.
type Case = (Operation, Data<'static>, Data<'static>, Operation, &'static [usize], &'static [usize]);

#[test]
fn each_operation_fires_its_own_rules() {
    let mut plan = every_operation();
    plan.tombstones.push(tombstone("old.id"));
    let rules = TableRules::compile(&plan, &orders()).unwrap();
    let cases: [Case; 7] = [
        (Insert, None, Some(&ROW), Insert, &[], &[0]),
        (Update, None, Some(&ROW), Update, &[], &[1]),
        (Update, Some(&KEY), Some(&ROW), Update, &[], &[1]),
        (Update, Some(&OTHER_KEY), Some(&ROW), Rekey, &[0], &[2]),
        (Delete, Some(&KEY), None, Delete, &[0], &[3]),
        (Truncate, None, None, Truncate, &[], &[4]),
        (Read, None, Some(&ROW), Read, &[], &[5]),
    ];
    for (operation, old, new, routed, tombstones, events) in cases {
        let (found, yields) = route(&rules, operation, old, new).unwrap();
        assert_eq!(found, Routed { operation: routed, outcome: Outcome::Published });
        assert_eq!((yields.tombstones.as_slice(), yields.events.as_slice()), (tombstones, events), "{routed:?}");
    }
}

#[test]
fn events_come_in_the_order_of_the_file() {
    let plan = plan(vec![
        event("B", &[Insert], ""),
        event("Never", &[Insert], "status == 'PAID'"),
        event("A", &[Insert, Update], "status == 'NEW'"),
    ]);
    let rules = TableRules::compile(&plan, &orders()).unwrap();
    assert_eq!(route(&rules, Insert, None, Some(&ROW)).unwrap().1.events, [0, 2]);
}

#[test]
fn a_rekey_is_a_difference_of_values_in_the_key() {
    let rules = TableRules::compile(&every_operation(), &orders()).unwrap();
    let with_key = |key| [key, ROW[1], ROW[2]];
    let of = |old: &[Datum<'_>], new: &[Datum<'_>]| {
        route(&rules, Update, Some(old), Some(new)).map(|found| found.0.operation)
    };
    assert_eq!(of(&KEY, &ROW).unwrap(), Update, "an old key alone is no rekey");
    assert_eq!(of(&OTHER_KEY, &ROW).unwrap(), Rekey);
    assert_eq!(of(&KEY, &with_key(Datum::Unchanged)).unwrap(), Update, "a key out of line that stayed");
    assert_eq!(of(&KEY, &with_key(t("1.0"))).unwrap(), Rekey, "equal numbers, yet another key on the topic");
    assert_eq!(of(&[Datum::Absent; 3], &ROW).unwrap_err().kind(), Kind::Protocol);
}

#[test]
fn under_full_the_primary_key_decides() {
    let mut relation = full(orders());
    let rules = TableRules::compile(&every_operation_but_rekey(), &relation).unwrap();
    let other = [t("1"), t("PAID"), t("x")];
    assert_eq!(route(&rules, Update, Some(&other), Some(&ROW)).unwrap().0.operation, Update);
    let other = [t("2"), ROW[1], ROW[2]];
    assert_eq!(route(&rules, Update, Some(&other), Some(&ROW)).unwrap().0.operation, Rekey);
    relation.columns[0].in_key = false;
    let rules = TableRules::compile(&every_operation_but_rekey(), &relation).unwrap();
    assert_eq!(route(&rules, Update, Some(&other), Some(&ROW)).unwrap().0.operation, Update, "no key, no rekey");
}

fn every_operation_but_rekey() -> Plan {
    plan(vec![event("Changed", &[Insert, Update, Delete], "")])
}

#[test]
fn a_change_that_nothing_takes_is_filtered_by_its_line_or_refused_by_it() {
    let never = || vec![event("Never", &[Insert], "status == 'PAID'")];
    let cases: [(Operation, Data<'_>, Filter); 3] = [
        (Insert, Some(&ROW), Filter::Unmatched),
        (Update, Some(&ROW), Filter::Unmatched),
        (Truncate, None, Filter::Truncate),
    ];
    for (operation, new, filter) in cases {
        let mut plan = plan(never());
        (plan.tables[0].unmatched, plan.tables[0].truncate) = (Unhandled::Filter, Unhandled::Filter);
        let rules = TableRules::compile(&plan, &orders()).unwrap();
        let outcome = route(&rules, operation, None, new).unwrap().0.outcome;
        assert_eq!(outcome, Outcome::Filtered(filter));

        (plan.tables[0].unmatched, plan.tables[0].truncate) = (Unhandled::Halt, Unhandled::Halt);
        let rules = TableRules::compile(&plan, &orders()).unwrap();
        let error = route(&rules, operation, None, new).unwrap_err();
        let line = if filter == Filter::Truncate { "truncate" } else { "unmatched" };
        let text = format!(
            "unmapped: no rule takes this {} of public.orders, and {line} = \"halt\" of its [[table]] says that it must \
             not pass (table public.orders)",
            operation.name()
        );
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn tables_that_the_file_does_not_name_follow_their_own_line() {
    let mut plan = plan(vec![event("E", &[Insert], "")]);
    let mut relation = orders();
    relation.name = TableName::new("public", "other");
    let rules = TableRules::compile(&plan, &relation).unwrap();
    for (operation, new) in [(Insert, Some(&ROW[..])), (Truncate, None)] {
        let (routed, yields) = route(&rules, operation, None, new).unwrap();
        assert_eq!(routed.outcome, Outcome::Filtered(Filter::Unnamed));
        assert_eq!(yields, Yields::default());
    }
    plan.unnamed = Unhandled::Halt;
    let rules = TableRules::compile(&plan, &relation).unwrap();
    let error = route(&rules, Insert, None, Some(&ROW)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unmapped: no rule takes this insert of public.other, and unnamed = \"halt\" in [tables] says that it must not \
         pass (table public.other)"
    );
}

#[test]
fn a_tombstone_alone_publishes_the_change() {
    let mut plan = plan(vec![event("E", &[Insert], "")]);
    plan.tombstones = vec![tombstone("old.id"), tombstone("old.id")];
    let rules = TableRules::compile(&plan, &orders()).unwrap();
    let (routed, yields) = route(&rules, Delete, Some(&KEY), None).unwrap();
    assert_eq!((routed.outcome, yields.tombstones), (Outcome::Published, vec![0, 1]));
    let (routed, _) = route(&rules, Update, None, Some(&ROW)).unwrap();
    assert_eq!(routed.outcome, Outcome::Filtered(Filter::Unmatched));
}

#[test]
fn unknown_columns_are_those_that_nothing_names() {
    let columns = ["id", "a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, ColumnType::Text));
    let relation = table(&columns, 1);
    let mut placed = event("E", &[Insert], "a == 'x' && !(b in ['y']) || changed(c)");
    placed.headers = vec![("correlation_id".to_owned(), field("correlation_id", "d"))];
    let map = FieldSource::Map {
        column: ColumnRef { side: Side::Row, name: "e".to_owned() },
        map: BTreeMap::new(),
        on_null: OnNull::Halt,
    };
    placed.fields.push(FieldPlan { name: "status".to_owned(), source: map, place: place(1) });
    let mut plan = plan(vec![placed]);
    plan.tombstones.push(tombstone("old.f"));
    plan.tables[0].unpublished.insert("g".to_owned());
    assert_eq!(unknown_columns(&plan, &relation), ["h"]);
    let mut other = relation;
    other.name.table = "other".to_owned();
    assert!(unknown_columns(&plan, &other).is_empty());
}
