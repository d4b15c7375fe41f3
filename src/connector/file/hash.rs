//! The hash of a mapping: of all that decides which records a change yields. Comments, layout, `[source]` and the
//! settings of topics are not part of it.

use sha2::{Digest, Sha256};

use super::super::{ColumnRef, EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, OnNull, Plan, Side, Unhandled};
use crate::model::TableName;

/// SHA-256, as hex. Every part goes in with its length before it, so that no two mappings read alike.
pub(super) fn of(plan: &Plan) -> String {
    let mut parts = Parts(Sha256::new());
    parts.text("walwright mapping 1");
    for topic in &plan.topics {
        parts.text("topic").text(&topic.name);
        match &topic.key {
            KeyKind::String => parts.text("string"),
            KeyKind::Avro(contract) => parts.text("avro").text(&contract.path),
        };
    }
    for event in &plan.events {
        parts.event(event);
    }
    for tombstone in &plan.tombstones {
        parts.text("tombstone").table(&tombstone.table).number(tombstone.topic).key(&tombstone.key);
    }
    let mut tables: Vec<_> = plan.tables.iter().collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    for table in tables {
        parts.text("table").table(&table.name).unhandled(table.unmatched).unhandled(table.truncate);
    }
    parts.text("unnamed").unhandled(plan.unnamed);
    parts.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Parts(Sha256);

impl Parts {
    fn text(&mut self, text: &str) -> &mut Parts {
        self.number(text.len()).0.update(text.as_bytes());
        self
    }

    fn number(&mut self, number: usize) -> &mut Parts {
        self.0.update(u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
        self
    }

    fn table(&mut self, name: &TableName) -> &mut Parts {
        self.text(&name.schema).text(&name.table)
    }

    fn unhandled(&mut self, unhandled: Unhandled) -> &mut Parts {
        self.text(match unhandled {
            Unhandled::Filter => "filter",
            Unhandled::Halt => "halt",
        })
    }

    fn event(&mut self, event: &EventPlan) {
        self.text("event").text(&event.contract.path).table(&event.table).number(event.topic);
        for operation in event.on.iter() {
            self.text(operation.name());
        }
        self.text("when").text(event.when.as_ref().map_or("", |when| &when.text));
        self.key(&event.key);
        for field in &event.fields {
            self.field(field);
        }
        for (_, header) in &event.headers {
            self.text("header").field(header);
        }
    }

    fn key(&mut self, key: &KeyPlan) -> &mut Parts {
        match key {
            KeyPlan::String(field) => self.field(field),
            KeyPlan::Avro(fields) => fields.iter().fold(self, |parts, field| parts.field(field)),
        }
    }

    fn field(&mut self, field: &FieldPlan) -> &mut Parts {
        self.text(&field.name);
        match &field.source {
            FieldSource::Column { column, on_null } => self.text("column").column(column, *on_null),
            FieldSource::Map { column, map, on_null } => {
                self.text("map").column(column, *on_null).number(map.len());
                map.iter().fold(self, |parts, (code, text)| parts.text(code).text(text))
            }
            FieldSource::Literal(literal) => self.text("constant").text(&literal.to_string()),
            FieldSource::Default => self.text("default"),
            FieldSource::Meta => self.text("meta"),
        }
    }

    fn column(&mut self, column: &ColumnRef, on_null: OnNull) -> &mut Parts {
        let side = match column.side {
            Side::Row => "row",
            Side::Old => "old",
            Side::New => "new",
        };
        let on_null = match on_null {
            OnNull::Refuse => "refuse",
            OnNull::Halt => "halt",
        };
        self.text(side).text(&column.name).text(on_null)
    }
}
