//! The columns that rules name.

use std::collections::BTreeSet;

use crate::connector::{ColumnRef, EventPlan, FieldPlan, FieldSource, KeyPlan, Node, NodeKind, Plan};
use crate::model::{Operation, Relation, TableName};

/// The fields of a key.
pub(super) fn key_fields(key: &KeyPlan) -> &[FieldPlan] {
    match key {
        KeyPlan::String(field) => std::slice::from_ref(field),
        KeyPlan::Avro(fields) => fields,
    }
}

/// Everything of an event that comes from somewhere: key, fields, headers.
pub(super) fn sources(event: &EventPlan) -> impl Iterator<Item = &FieldPlan> {
    key_fields(&event.key).iter().chain(&event.fields).chain(event.headers.iter().map(|(_, field)| field))
}

/// The column that a field comes from.
pub(super) fn column_of(field: &FieldPlan) -> Option<&ColumnRef> {
    match &field.source {
        FieldSource::Column { column, .. } | FieldSource::Map { column, .. } => Some(column),
        FieldSource::Literal(_) | FieldSource::Default | FieldSource::Meta => None,
    }
}

/// The names of the columns that rules of `table` read: keys, fields, headers, conditions, tombstones.
pub fn rule_columns<'p>(plan: &'p Plan, table: &'p TableName) -> BTreeSet<&'p str> {
    let mut named = BTreeSet::new();
    for (_, event) in plan.events_of(table) {
        event_columns(event, &mut named);
    }
    for (_, tombstone) in plan.tombstones_of(table) {
        let columns = key_fields(&tombstone.key).iter().filter_map(column_of);
        named.extend(columns.map(|column| column.name.as_str()));
    }
    named
}

/// The names of the columns that rules on `read` read: of a snapshot's rows no others are asked for.
pub fn read_columns<'p>(plan: &'p Plan, table: &'p TableName) -> BTreeSet<&'p str> {
    let mut named = BTreeSet::new();
    for (_, event) in plan.events_of(table).filter(|(_, event)| event.on.contains(Operation::Read)) {
        event_columns(event, &mut named);
    }
    named
}

fn event_columns<'p>(event: &'p EventPlan, named: &mut BTreeSet<&'p str>) {
    named.extend(sources(event).filter_map(column_of).map(|column| column.name.as_str()));
    if let Some(when) = &event.when {
        name_columns(&when.root, named);
    }
}

/// The table's columns that neither a rule nor `unpublished` names, in the table's order; none for a table that the
/// connector file does not name.
pub fn unknown_columns(plan: &Plan, relation: &Relation) -> Vec<String> {
    let Some(table) = plan.table(&relation.name) else { return Vec::new() };
    let mut named = rule_columns(plan, &relation.name);
    named.extend(table.unpublished.iter().map(String::as_str));
    let unknown = relation.columns.iter().filter(|column| !named.contains(column.name.as_str()));
    unknown.map(|column| column.name.clone()).collect()
}

fn name_columns<'n>(node: &'n Node, named: &mut BTreeSet<&'n str>) {
    match &node.kind {
        NodeKind::Column(ColumnRef { name, .. }) | NodeKind::Changed(name) => {
            named.insert(name);
        }
        NodeKind::Literal(_) => {}
        NodeKind::Not(inner) | NodeKind::In(inner, _) => name_columns(inner, named),
        NodeKind::And(left, right) | NodeKind::Or(left, right) | NodeKind::Compare(_, left, right) => {
            name_columns(left, named);
            name_columns(right, named);
        }
    }
}
