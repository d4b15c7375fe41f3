//! Where a value comes from: a column, a constant, a table of codes, the contract's default, or the event's metadata.

use std::collections::BTreeMap;

use super::super::document::Entry;
use super::super::{ColumnRef, Expression, FieldPlan, FieldSource, NodeKind, OnNull, Side};
use super::literal;
use crate::contract::{ContractField, FieldType, Nullability};
use crate::model::{Operation, OperationSet};

/// What the value is for.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Field(&'a ContractField),
    /// A key as text.
    Key,
    Header,
}

/// The rows that a rule has.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) on: OperationSet,
}

impl Rows {
    /// Why the column cannot be read on every operation of the rule.
    pub(super) fn lack(self, column: &ColumnRef) -> Option<String> {
        let (without, row): (&[Operation], _) = match column.side {
            Side::Old => (&[Operation::Insert, Operation::Read, Operation::Truncate], "no old row"),
            Side::New => (&[Operation::Delete, Operation::Truncate], "no new row"),
            Side::Row => (&[Operation::Truncate], "no row"),
        };
        let lacking = self.on.iter().find(|operation| without.contains(operation))?;
        Some(format!("{column}: `{}` has {row}; give it a rule of its own", lacking.name()))
    }
}

/// Reads the source of the value `name`.
pub(super) fn read(entry: &Entry<'_>, name: &str, target: Target<'_>, rows: Rows) -> Option<FieldPlan> {
    let source = if entry.is_table() { table(entry, target, rows) } else { plain(entry, target, rows) }?;
    Some(FieldPlan { name: name.to_owned(), source, place: entry.place() })
}

/// Parses the entry's text.
pub(super) fn expression(entry: &Entry<'_>) -> Option<Expression> {
    if !entry.is_text() {
        entry
            .fault("expected an expression in quotes: \"id\" is a column, \"'EUR'\", \"1\" and \"true\" are constants");
        return None;
    }
    match Expression::parse(entry.name()?, entry.text_place()) {
        Ok(expression) => Some(expression),
        Err(faults) => {
            faults.0.into_iter().for_each(|fault| entry.adopt(fault));
            None
        }
    }
}

fn plain(entry: &Entry<'_>, target: Target<'_>, rows: Rows) -> Option<FieldSource> {
    let expression = expression(entry)?;
    if let Target::Field(ContractField { kind: FieldType::Meta(_), .. }) = target {
        return metadata(entry, &expression);
    }
    match expression.root.kind {
        NodeKind::Column(ref column) => {
            let column = available(entry, column, rows)?;
            Some(FieldSource::Column { column, on_null: OnNull::Refuse })
        }
        NodeKind::Literal(literal) => {
            let misfit = match target {
                Target::Field(field) => literal::misfit(&literal, field),
                Target::Key | Target::Header => literal::text_misfit(&literal),
            };
            match misfit {
                None => Some(FieldSource::Literal(literal)),
                Some(message) => refuse(entry, message),
            }
        }
        _ => {
            entry.adopt(expression.fault(
                expression.root.at,
                "a value is a column or a constant; conditions stand in `when`, computed values are not supported yet",
            ));
            None
        }
    }
}

fn metadata(entry: &Entry<'_>, expression: &Expression) -> Option<FieldSource> {
    match &expression.root.kind {
        NodeKind::Column(ColumnRef { side: Side::Row, name }) if name == "meta" => Some(FieldSource::Meta),
        _ => refuse(entry, "the field is a common.EventMeta, whose source is \"meta\""),
    }
}

fn available(entry: &Entry<'_>, column: &ColumnRef, rows: Rows) -> Option<ColumnRef> {
    match rows.lack(column) {
        None => Some(column.clone()),
        Some(lack) => refuse(entry, lack),
    }
}

/// `{ value = .., map = .., on_null = .. }` or `{ default = true }`
fn table(entry: &Entry<'_>, target: Target<'_>, rows: Rows) -> Option<FieldSource> {
    let mut section = entry.clone().into_section()?;
    let Target::Field(field) = target else {
        return refuse(entry, "expected an expression in quotes, such as \"id\"");
    };
    if matches!(field.kind, FieldType::Meta(_)) {
        return refuse(entry, "the field is a common.EventMeta, whose source is \"meta\"");
    }
    let source = match section.get("default") {
        Some(default) => {
            for key in ["value", "map", "on_null"] {
                if let Some(beside) = section.get(key) {
                    beside.fault("does not go with `default`");
                }
            }
            self::default(&default, field)
        }
        None => {
            let value = section.need("value", "\"<column>\"").and_then(|value| plain(&value, target, rows));
            let map = section.get("map").map(|map| codes(map, field));
            let on_null = section.get("on_null").map(|on_null| self::on_null(&on_null, field));
            described(entry, value?, map, on_null)
        }
    };
    section.report_unknown();
    source
}

fn default(entry: &Entry<'_>, field: &ContractField) -> Option<FieldSource> {
    match (entry.boolean()?, &field.default) {
        (true, Some(_)) => Some(FieldSource::Default),
        (true, None) => refuse(entry, format!("the contract has no default for `{}`", field.name)),
        (false, _) => refuse(entry, "is either true or left out"),
    }
}

/// The source of `value`, with its map and its rule for NULL.
fn described(
    entry: &Entry<'_>,
    value: FieldSource,
    map: Option<Option<BTreeMap<String, String>>>,
    on_null: Option<Option<OnNull>>,
) -> Option<FieldSource> {
    let FieldSource::Column { column, .. } = value else {
        return refuse(entry, "a constant is written as it is: no table around it, no map, no on_null");
    };
    let on_null = on_null.unwrap_or(Some(OnNull::Refuse))?;
    match map {
        None => Some(FieldSource::Column { column, on_null }),
        Some(map) => Some(FieldSource::Map { column, map: map?, on_null }),
    }
}

/// The codes of a column and what each stands for.
fn codes(entry: Entry<'_>, field: &ContractField) -> Option<BTreeMap<String, String>> {
    let whole = entry.clone();
    let written = entry.into_section()?.entries();
    if written.is_empty() {
        return refuse(&whole, "is empty, so every code would halt the connector");
    }
    let count = written.len();
    let mut codes = BTreeMap::new();
    for (code, target) in written {
        let Some(text) = target.text() else { continue };
        match &field.kind {
            FieldType::String => drop(codes.insert(code, text.to_owned())),
            FieldType::Enum(symbols) if symbols.iter().any(|symbol| symbol == text) => {
                codes.insert(code, text.to_owned());
            }
            FieldType::Enum(symbols) => target.fault(literal::unlisted(text, symbols)),
            kind => target.fault(format!("a map gives text, and the field `{}` is {kind}", field.name)),
        }
    }
    (codes.len() == count).then_some(codes)
}

fn on_null(entry: &Entry<'_>, field: &ContractField) -> Option<OnNull> {
    let on_null = entry.choice(&[("halt", OnNull::Halt)])?;
    if field.nullable != Nullability::Never {
        return refuse(entry, format!("the field `{}` takes null, so nothing would halt", field.name));
    }
    Some(on_null)
}

fn refuse<T>(entry: &Entry<'_>, message: impl Into<String>) -> Option<T> {
    entry.fault(message);
    None
}
