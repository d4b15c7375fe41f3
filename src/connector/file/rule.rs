//! `[[event]]` and `[[tombstone]]`

use super::super::document::{Entry, Section};
use super::super::{EventPlan, Expression, FieldPlan, FieldSource, KeyKind, KeyPlan, Side, TombstonePlan};
use super::field::{self, Rows, Target};
use super::topic::TopicDraft;
use super::{Scope, contract};
use crate::contract::Contract;
use crate::model::{Operation, OperationSet, TableName};

/// Headers that Walwright writes itself.
const OWN_HEADERS: [&str; 2] = ["ce_", "content-type"];

pub(super) fn event(section: &mut Section<'_>, scope: &Scope<'_>) -> Option<EventPlan> {
    let place = section.place();
    let contract =
        section.need("contract", "\"oms/OrderPlaced/v1\"").and_then(|entry| contract(&entry, scope.repository));
    let table = section.need("table", "\"public.orders\"").and_then(table_name);
    let on = section.need("on", "[\"insert\"]").and_then(operations);
    let rows = Rows { on: on.unwrap_or_default() };
    let when = section.get("when").map(|entry| condition(&entry, rows));
    let topic = section.need("topic", "\"oms.orders\"").and_then(|entry| scope.topic(&entry));
    let key = section.need("key", "\"id\"").and_then(|entry| key(entry, topic?.1, rows));
    let fields = section.section("fields").and_then(|fields| match &contract {
        Some(contract) => self::fields(&fields, contract, rows),
        None => None,
    });
    let headers = section.section("headers").and_then(|section| headers(&section, rows));
    Some(EventPlan {
        contract: contract?,
        table: table?,
        on: on?,
        when: when.map_or(Some(None), |when| when.map(Some))?,
        topic: topic?.0,
        key: key?,
        fields: fields?,
        headers: headers?,
        place,
    })
}

pub(super) fn tombstone(section: &mut Section<'_>, scope: &Scope<'_>) -> Option<TombstonePlan> {
    let place = section.place();
    let table = section.need("table", "\"public.customers\"").and_then(table_name);
    let topic = section.need("topic", "\"oms.customers\"").and_then(|entry| scope.topic(&entry));
    let rows = Rows { on: [Operation::Delete, Operation::Rekey].into_iter().collect() };
    let key = section.need("key", "\"old.id\"").and_then(|entry| {
        let plan = key(entry.clone(), topic?.1, rows)?;
        is_of_old_row(&entry, &plan).then_some(plan)
    });
    Some(TombstonePlan { table: table?, topic: topic?.0, key: key?, place })
}

/// A tombstone is for the key that goes away; a bare name would be the new one on a rekey.
fn is_of_old_row(entry: &Entry<'_>, key: &KeyPlan) -> bool {
    let sources = match key {
        KeyPlan::String(field) => std::slice::from_ref(field),
        KeyPlan::Avro(fields) => fields,
    };
    let wrong = sources.iter().find_map(|field| match &field.source {
        FieldSource::Column { column, .. } if column.side != Side::Old => Some(column),
        _ => None,
    });
    if let Some(column) = wrong {
        let old = super::super::ColumnRef { side: Side::Old, name: column.name.clone() };
        entry.fault(format!("a tombstone is for the key that goes away: write {old}"));
    }
    wrong.is_none()
}

/// `"schema.table"`, split at the first dot, or `["schema", "table"]`.
pub(super) fn table_name(entry: Entry<'_>) -> Option<TableName> {
    if entry.is_array() {
        let (whole, parts) = (entry.clone(), entry.items());
        return match parts.as_slice() {
            [schema, table] => Some(TableName::new(schema.name()?, table.name()?)),
            _ => {
                whole.fault("a table's name in two parts is [\"schema\", \"table\"]");
                None
            }
        };
    }
    match entry.name()?.split_once('.') {
        Some((schema, table)) if !schema.is_empty() && !table.is_empty() => Some(TableName::new(schema, table)),
        _ => {
            entry.fault("a table is written with its schema: \"public.orders\"");
            None
        }
    }
}

fn operations(entry: Entry<'_>) -> Option<OperationSet> {
    let words = Operation::ALL.map(|operation| (operation.name(), operation));
    let (whole, items) = (entry.clone(), entry.items());
    if items.is_empty() && whole.is_array() {
        whole.fault("is empty, so the event would never happen");
    }
    let mut set = OperationSet::default();
    let mut sound = !items.is_empty();
    for item in &items {
        match item.choice(&words) {
            Some(operation) if set.contains(operation) => {
                item.fault("stands here twice");
                sound = false;
            }
            Some(operation) => set.insert(operation),
            None => sound = false,
        }
    }
    sound.then_some(set)
}

fn condition(entry: &Entry<'_>, rows: Rows) -> Option<Expression> {
    let expression = field::expression(entry)?;
    let mut sound = true;
    for (at, column) in expression.columns() {
        if let Some(lack) = rows.lack(&column) {
            entry.adopt(expression.fault(at, lack));
            sound = false;
        }
    }
    sound.then_some(expression)
}

fn key(entry: Entry<'_>, topic: &TopicDraft, rows: Rows) -> Option<KeyPlan> {
    match topic.key.as_ref()? {
        KeyKind::String if entry.is_table() => {
            entry.fault(format!("the keys of {} are strings: one expression, such as \"id\"", topic.written));
            None
        }
        KeyKind::String => field::read(&entry, "key", Target::Key, rows).map(KeyPlan::String),
        KeyKind::Avro(contract) if !entry.is_table() => {
            let names: Vec<_> = contract.fields.iter().map(|field| format!("{} = ..", field.name)).collect();
            entry.fault(format!("the keys of {} are records: key = {{ {} }}", topic.written, names.join(", ")));
            None
        }
        KeyKind::Avro(contract) => fields(&entry.into_section()?, contract, rows).map(KeyPlan::Avro),
    }
}

/// The sources of all fields of a contract, in its order.
fn fields(section: &Section<'_>, contract: &Contract, rows: Rows) -> Option<Vec<FieldPlan>> {
    let written = section.entries();
    let mut sound = true;
    for (name, entry) in &written {
        if !contract.fields.iter().any(|field| field.name == *name) {
            let known = contract.fields.iter().map(|field| field.name.as_str());
            let hint = super::nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            entry.fault(format!("{} has no field of this name{hint}", contract.path));
            sound = false;
        }
    }
    let mut plans = Vec::new();
    for field in &contract.fields {
        match written.iter().find(|(name, _)| *name == field.name) {
            Some((name, entry)) => plans.extend(field::read(entry, name, Target::Field(field), rows)),
            None => section.fault(format!(
                "the field `{}` of {} has no source: {} = \"<column>\"",
                field.name, contract.path, field.name
            )),
        }
    }
    (sound && plans.len() == contract.fields.len()).then_some(plans)
}

fn headers(section: &Section<'_>, rows: Rows) -> Option<Vec<(String, FieldPlan)>> {
    let written = section.entries();
    let count = written.len();
    let mut headers = Vec::new();
    for (name, entry) in written {
        if header_name(&name, &entry) {
            headers.extend(field::read(&entry, &name, Target::Header, rows).map(|plan| (name, plan)));
        }
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    (headers.len() == count).then_some(headers)
}

fn header_name(name: &str, entry: &Entry<'_>) -> bool {
    if OWN_HEADERS.iter().any(|own| name.to_ascii_lowercase().starts_with(own)) {
        entry.fault("headers ce_* and content-type are written by Walwright itself; see [kafka] headers");
        return false;
    }
    let fits = !name.is_empty() && name.chars().all(|char| char.is_ascii_graphic());
    if !fits {
        entry.fault("a header's name has printable ASCII characters without spaces only");
    }
    fits
}
