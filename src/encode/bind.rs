//! Binding a rule's fields to the columns of one relation version: all faults of the rule at once, each with its place.

use std::collections::BTreeMap;

use super::codes::Codes;
use super::conversion::Conversion;
use super::fits;
use super::literal;
use super::step::{Branch, ColumnAt, Label, Step, StepKind, TextKind, TextStep};
use super::text::TextForm;
use crate::connector::{ColumnRef, FieldPlan, FieldSource, Literal, Place, Side};
use crate::contract::{Contract, ContractField};
use crate::error::{At, Error, Fault, Faults, Kind, Result};
use crate::model::{Column, Operation, OperationSet, Relation, TableName};

/// Binds one rule and gathers its faults.
pub(super) struct Binder<'a> {
    relation: &'a Relation,
    on: OperationSet,
    faults: Faults,
    kind: Kind,
}

impl<'a> Binder<'a> {
    /// `on`: the operations on which the rule fires, which decide which rows there are.
    pub(super) fn new(relation: &'a Relation, on: OperationSet) -> Binder<'a> {
        Binder { relation, on, faults: Faults::default(), kind: Kind::ReplicaIdentity }
    }

    /// Ok, or one error that holds all faults: `ReplicaIdentity` where a wider identity mends them all.
    pub(super) fn finish(self, at: At) -> Result<()> {
        let count = match self.faults.0.len() {
            0 => return Ok(()),
            1 => "1 fault".to_owned(),
            n => format!("{n} faults"),
        };
        let at = At { table: Some(self.relation.name.clone()), ..at };
        Err(Error::new(self.kind, format!("{count}\n{}", self.faults)).at(at))
    }

    /// The steps of a record: one for each field of the contract, in its order.
    pub(super) fn record(
        &mut self,
        contract: &Contract,
        fields: &[FieldPlan],
        place: &Place,
        meta: &dyn Fn(&ContractField) -> Option<StepKind>,
    ) -> Vec<Step> {
        let mut steps = Vec::with_capacity(contract.fields.len());
        for field in &contract.fields {
            match fields.iter().find(|plan| plan.name == field.name) {
                Some(plan) => steps.extend(self.field(contract, field, plan, meta)),
                None => {
                    let (name, path) = (&field.name, &contract.path);
                    self.kind = Kind::SchemaMismatch;
                    self.push(
                        place,
                        name,
                        format!("field {name} of {path} has no source: a column, a constant or {{ default = true }}"),
                    );
                }
            }
        }
        steps
    }

    fn field(
        &mut self,
        contract: &Contract,
        field: &ContractField,
        plan: &FieldPlan,
        meta: &dyn Fn(&ContractField) -> Option<StepKind>,
    ) -> Option<Step> {
        let kind = match &plan.source {
            FieldSource::Column { column, .. } => self.converted(contract, field, column, plan),
            FieldSource::Map { column, map, .. } => self.mapped(field, column, map, plan),
            FieldSource::Literal(value) => match literal::field(value, field) {
                Ok(bytes) => Some(StepKind::Constant(bytes)),
                Err(why) => self.fault(plan, why),
            },
            FieldSource::Default => field
                .default
                .clone()
                .map(StepKind::Constant)
                .or_else(|| self.fault(plan, format!("field {} of {} has no default", field.name, contract.path))),
            FieldSource::Meta => meta(field).or_else(|| {
                let what = &field.kind;
                let name = &field.name;
                self.fault(
                    plan,
                    format!("field {name} of {} is {what}; meta fits common.EventMeta in an event", contract.path),
                )
            }),
        };
        Some(Step { kind: kind?, label: label(plan, format!("field {}", field.name)) })
    }

    fn converted(
        &mut self,
        contract: &Contract,
        field: &ContractField,
        column: &ColumnRef,
        plan: &FieldPlan,
    ) -> Option<StepKind> {
        let (at, bound) = self.column(column, plan)?;
        match Conversion::between(&bound.kind, &field.kind) {
            Some(conversion) => Some(StepKind::Column { at, branch: Branch::new(field.nullable), conversion }),
            None => self.fault(plan, fits::mismatch(&self.relation.name, bound, contract, field)),
        }
    }

    fn mapped(
        &mut self,
        field: &ContractField,
        column: &ColumnRef,
        map: &BTreeMap<String, String>,
        plan: &FieldPlan,
    ) -> Option<StepKind> {
        let (at, form) = self.text_column(column, plan)?;
        let mut pairs = Vec::with_capacity(map.len());
        for (code, target) in map {
            match literal::encode(&Literal::String(target.clone()), &field.kind) {
                Ok(value) => pairs.push((code.clone().into_bytes(), value)),
                Err(why) => self.note(plan, format!("map {code}: {why}")),
            }
        }
        Some(StepKind::Map { at, branch: Branch::new(field.nullable), form, codes: Codes::new(pairs) })
    }

    /// A value as text: `target` names what it is for.
    pub(super) fn text(&mut self, plan: &FieldPlan, target: &str) -> Option<TextStep> {
        let kind = match &plan.source {
            FieldSource::Column { column, .. } => {
                let (at, form) = self.text_column(column, plan)?;
                TextKind::Column { at, form }
            }
            FieldSource::Map { column, map, .. } => {
                let (at, form) = self.text_column(column, plan)?;
                let pairs = map.iter().map(|(code, text)| (code.clone().into_bytes(), text.clone().into_bytes()));
                TextKind::Map { at, form, codes: Codes::new(pairs) }
            }
            FieldSource::Literal(Literal::Null) => TextKind::Null,
            FieldSource::Literal(value) => match literal::text(value) {
                Some(text) => TextKind::Constant(text),
                None => return self.fault(plan, "a double has no one text form; write a string".to_owned()),
            },
            FieldSource::Default | FieldSource::Meta => {
                let message = format!("{target} takes a column, a map or a constant");
                return self.fault(plan, message);
            }
        };
        Some(TextStep { kind, label: label(plan, target.to_owned()) })
    }

    fn text_column(&mut self, column: &ColumnRef, plan: &FieldPlan) -> Option<(ColumnAt, TextForm)> {
        let (at, bound) = self.column(column, plan)?;
        match TextForm::of(&bound.kind) {
            Some(form) => Some((at, form)),
            None => {
                let message = format!(
                    "column {} of {} is {}, which is not supported as text (in keys, headers and maps)",
                    bound.name, self.relation.name, bound.kind
                );
                self.fault(plan, message)
            }
        }
    }

    fn column(&mut self, column: &ColumnRef, plan: &FieldPlan) -> Option<(ColumnAt, &'a Column)> {
        let relation = self.relation;
        let found = relation.column(&column.name).and_then(|index| Some((index, relation.columns.get(index)?)));
        let Some((index, bound)) = found else {
            let name = &column.name;
            let hint = relation.folded_hint(name).unwrap_or_else(|| match column.side {
                Side::Row => format!("; for the constant write '{name}'"),
                Side::Old | Side::New => String::new(),
            });
            return self.fault(plan, format!("no column {name}{hint}"));
        };
        self.row(column, bound, plan)?;
        Some((ColumnAt { side: column.side, index }, bound))
    }

    /// Whether there is such a row on each operation of the rule, and whether it has the column.
    fn row(&mut self, column: &ColumnRef, bound: &Column, plan: &FieldPlan) -> Option<()> {
        let name = &column.name;
        for operation in self.on.iter() {
            let (has_row, from_old) = match (operation, column.side) {
                (Operation::Truncate, _) => (false, false),
                (Operation::Insert | Operation::Read, side) => (side != Side::Old, false),
                (Operation::Delete, side) => (side != Side::New, true),
                (Operation::Update | Operation::Rekey, side) => (true, side == Side::Old),
            };
            if !has_row {
                let which = match column.side {
                    Side::Old => "old ",
                    Side::New => "new ",
                    Side::Row => "",
                };
                let message = format!("column {name}: on {} there is no {which}row", operation.name());
                return self.fault(plan, message);
            }
            if from_old && !bound.in_identity {
                return self.identity(name, operation, plan);
            }
        }
        Some(())
    }

    fn identity(&mut self, name: &str, operation: Operation, plan: &FieldPlan) -> Option<()> {
        let table = quoted(&self.relation.name);
        let message = format!(
            "column {name} is needed of the old row on {}, and the replica identity does not send it: ALTER TABLE {table} REPLICA IDENTITY FULL",
            operation.name()
        );
        self.push(&plan.place, &plan.name, message);
        None
    }

    /// Notes a fault that a wider replica identity would not mend.
    fn fault<T>(&mut self, plan: &FieldPlan, message: String) -> Option<T> {
        self.note(plan, message);
        None
    }

    fn note(&mut self, plan: &FieldPlan, message: String) {
        self.kind = Kind::SchemaMismatch;
        self.push(&plan.place, &plan.name, message);
    }

    fn push(&mut self, place: &Place, path: &str, message: String) {
        self.faults.push(Fault {
            file: place.file.clone(),
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            message,
            excerpt: None,
        });
    }
}

fn label(plan: &FieldPlan, target: String) -> Label {
    let column = match &plan.source {
        FieldSource::Column { column, .. } | FieldSource::Map { column, .. } => Some(column.name.clone()),
        FieldSource::Literal(_) | FieldSource::Default | FieldSource::Meta => None,
    };
    Label { column, target, place: plan.place.clone() }
}

fn quoted(name: &TableName) -> String {
    let part = |text: &str| {
        let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    format!("{}.{}", part(&name.schema), part(&name.table))
}
