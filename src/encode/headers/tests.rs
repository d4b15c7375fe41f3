use super::super::SchemaIds;
use super::super::tests::fixture::*;
use super::*;
use crate::contract::{FieldType, Nullability};
use crate::model::{ColumnType, Datum};

#[test]
fn a_failed_header_leaves_the_batch_as_it_was() {
    let relation = relation(&[("id", ColumnType::Int8), ("c", ColumnType::Text)]);
    let contract = contract(vec![field("f", FieldType::Long, Nullability::Never)]);
    let mut plans = event(contract, column("key", "id"), vec![column("f", "id")]);
    plans.headers = vec![("a".to_owned(), column("a", "id")), ("b".to_owned(), column("b", "c"))];
    let (mut names, ids) = (HeaderNames::default(), SchemaIds { value: 1, key: None });
    let program = EventProgram::compile(&plans, &topic(), &relation, ids).unwrap();
    let plan = HeaderPlan::event(HeaderMode::Core, &plans, "", &mut names);
    assert_eq!(names.all().len(), ATTRIBUTES.len() + 2);
    let meta = Meta {
        id: b"id",
        occurred_at: None,
        source: "s",
        sequence: b"",
        operation: crate::model::Operation::Insert,
        capture: super::super::Capture::Snapshot,
    };
    let mut batch = Batch { bytes: b"before".to_vec(), ..Batch::default() };
    let row = OwnedRow::new(&[Datum::Binary(&[0; 8]), Datum::Binary(&[0xFF])]);
    assert!(plan.append(&program, &row.insert(), &meta, None, &mut batch).is_err());
    assert_eq!((batch.bytes.as_slice(), batch.headers.len()), (&b"before"[..], 0));
    let row = OwnedRow::new(&[Datum::Binary(&[0; 8]), Datum::Null]);
    let range = plan.append(&program, &row.insert(), &meta, None, &mut batch).unwrap();
    assert_eq!(range, 0..3);
    assert_eq!(names.get(batch.headers[2].name), Some("a"));
}

#[test]
fn a_name_has_one_index() {
    let mut names = HeaderNames::default();
    assert_eq!((names.index("x"), names.index("ce_type"), names.index("x")), (11, Attribute::Type as usize, 11));
    assert_eq!(names.get(Attribute::CorrelationId as usize), Some("ce_correlationid"));
}
