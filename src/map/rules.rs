//! The rules of one table version: which records a change yields.

use std::collections::BTreeSet;

use super::bind;
use super::columns::{column_of, key_fields, sources};
use super::condition::{Cause, Missing, Test, Verdict};
use super::fault::Findings;
use super::rows::Rows;
use super::supply::{self, Objection};
use crate::connector::{EventPlan, FieldPlan, Plan, Side, TablePlan, TombstonePlan, Unhandled};
use crate::error::{At, Error, Kind, Result};
use crate::faults::{Mutation, mutated};
use crate::model::{Change, Datum, Operation, OperationSet, Relation, TableName};

/// A table's rules, bound to one version of it.
#[derive(Debug)]
pub struct TableRules {
    name: TableName,
    columns: Vec<String>,
    in_identity: Vec<bool>,
    /// The columns that identify a row.
    key: Vec<usize>,
    tombstones: Vec<usize>,
    events: Vec<Rule>,
    policy: Policy,
}

#[derive(Debug)]
struct Rule {
    event: usize,
    contract: String,
    on: OperationSet,
    when: Option<Test>,
}

/// What becomes of changes that nothing takes.
#[derive(Debug)]
enum Policy {
    Named { unmatched: Unhandled, truncate: Unhandled },
    Unnamed(Unhandled),
}

/// The records that a change yields, as indexes into the plan, in their order: tombstones first, then events. Reused
/// from change to change.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Yields {
    pub tombstones: Vec<usize>,
    pub events: Vec<usize>,
}

/// What a change came out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The change's own operation, or `Rekey` for an update that changed the row's key.
    pub operation: Operation,
    /// Where it goes.
    pub outcome: Outcome,
}

/// Each change is published or filtered by a named line of the connector file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one record.
    Published,
    /// None.
    Filtered(Filter),
}

/// The lines that filter a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `unmatched = "filter"` of the table
    Unmatched,
    /// `truncate = "filter"` of the table
    Truncate,
    /// `[tables] unnamed = "filter"`
    Unnamed,
}

impl TableRules {
    /// Binds the rules of `relation`'s table to this version of it. The error holds all faults: of kind
    /// `SchemaMismatch`, or `ReplicaIdentity` where that alone is amiss. Fields are judged here only by whether the
    /// stream sends their column; whether it exists and fits its field is the encoder's to say.
    pub fn compile(plan: &Plan, relation: &Relation) -> Result<TableRules> {
        TableRules::compile_with(plan, relation, None)
    }

    /// The same with what the catalog knows: an order (`<` and the like) on a column outside `not_null` must be
    /// guarded by `!= null`.
    pub fn check(plan: &Plan, relation: &Relation, not_null: &BTreeSet<String>) -> Result<()> {
        TableRules::compile_with(plan, relation, Some(not_null)).map(|_| ())
    }

    fn compile_with(plan: &Plan, relation: &Relation, not_null: Option<&BTreeSet<String>>) -> Result<TableRules> {
        let mut findings = Findings::default();
        let events = plan.events_of(&relation.name);
        let events = events.filter_map(|(index, event)| rule(index, event, relation, not_null, &mut findings));
        let events = events.collect();
        let mut tombstones = Vec::new();
        for (index, tombstone) in plan.tombstones_of(&relation.name) {
            check_tombstone(tombstone, &topic_name(plan, tombstone), relation, &mut findings);
            tombstones.push(index);
        }
        findings.into_result(&relation.name)?;
        let key = relation.columns.iter().enumerate().filter(|(_, column)| column.in_key).map(|(index, _)| index);
        Ok(TableRules {
            name: relation.name.clone(),
            columns: relation.columns.iter().map(|column| column.name.clone()).collect(),
            in_identity: relation.columns.iter().map(|column| column.in_identity).collect(),
            key: key.collect(),
            tombstones,
            events,
            policy: Policy::of(plan, plan.table(&relation.name)),
        })
    }

    /// Decides which records `change` yields; `yields` is overwritten. An error is a change that a policy says must not
    /// happen (`Unmapped`), or one that lacks a value which a condition needs (`UnchangedToast`; `Protocol`, where it
    /// was the server's to send).
    pub fn route(&self, change: &Change<'_>, yields: &mut Yields) -> Result<Routed> {
        yields.tombstones.clear();
        yields.events.clear();
        let operation = self.operation(change)?;
        let moved = operation == Operation::Rekey && !mutated(Mutation::NoTombstoneOnRekey);
        if operation == Operation::Delete || moved {
            yields.tombstones.extend_from_slice(&self.tombstones);
        }
        let rows = Rows::new(change, &self.in_identity);
        for rule in self.events.iter().filter(|rule| rule.on.contains(operation)) {
            if self.fires(rule, &rows)? {
                yields.events.push(rule.event);
            }
        }
        let published = !(yields.tombstones.is_empty() && yields.events.is_empty());
        let outcome = if published { Outcome::Published } else { self.unhandled(operation)? };
        Ok(Routed { operation, outcome })
    }

    /// An update is a rekey if a key column's old and new value differ in any byte: the key that is published does then.
    /// That an old row was sent says nothing, it also comes where a key column is stored out of line.
    fn operation(&self, change: &Change<'_>) -> Result<Operation> {
        let (Operation::Update, Some(old), Some(new)) = (change.operation, change.old, change.new) else {
            return Ok(change.operation);
        };
        for &column in &self.key {
            match (old.get(column), new.get(column)) {
                (Datum::Absent, _) => return Err(self.missing(Missing { column, cause: Cause::NotSent })),
                (_, Datum::Unchanged) => {}
                (old, new) if old == new => {}
                _ => return Ok(Operation::Rekey),
            }
        }
        Ok(Operation::Update)
    }

    fn fires(&self, rule: &Rule, rows: &Rows<'_, '_>) -> Result<bool> {
        let Some(when) = &rule.when else { return Ok(true) };
        match when.evaluate(rows) {
            Verdict::True => Ok(true),
            Verdict::False | Verdict::Unknown => Ok(false),
            Verdict::Missing(missing) => Err(self.missing(missing).at(At::contract(&rule.contract))),
        }
    }

    #[cold]
    fn missing(&self, missing: Missing) -> Error {
        let column = self.columns.get(missing.column).cloned().unwrap_or_default();
        let (kind, detail) = match missing.cause {
            Cause::NotSent => (Kind::Protocol, format!("a rule needs {column} of a row that was not sent")),
            Cause::Toast => {
                (Kind::UnchangedToast, format!("a rule needs {column}, which the update did not change nor send again"))
            }
            Cause::Malformed => (Kind::Protocol, format!("the bytes of {column} are not a value of its type")),
        };
        Error::new(kind, detail).at(At { table: Some(self.name.clone()), ..At::column(column) })
    }

    fn unhandled(&self, operation: Operation) -> Result<Outcome> {
        let (unhandled, filter, line) = match self.policy {
            Policy::Unnamed(unhandled) => (unhandled, Filter::Unnamed, "unnamed = \"halt\" in [tables]"),
            Policy::Named { truncate, .. } if operation == Operation::Truncate => {
                (truncate, Filter::Truncate, "truncate = \"halt\" of its [[table]]")
            }
            Policy::Named { unmatched, .. } => (unmatched, Filter::Unmatched, "unmatched = \"halt\" of its [[table]]"),
        };
        match unhandled {
            Unhandled::Filter => Ok(Outcome::Filtered(filter)),
            Unhandled::Halt => Err(self.unmapped(operation, line)),
        }
    }

    #[cold]
    fn unmapped(&self, operation: Operation, line: &str) -> Error {
        let (operation, name) = (operation.name(), &self.name);
        let detail = format!("no rule takes this {operation} of {name}, and {line} says that it must not pass");
        Error::new(Kind::Unmapped, detail).at(At::table(self.name.clone()))
    }
}

impl Policy {
    fn of(plan: &Plan, table: Option<&TablePlan>) -> Policy {
        match table {
            Some(table) => Policy::Named { unmatched: table.unmatched, truncate: table.truncate },
            None => Policy::Unnamed(plan.unnamed),
        }
    }
}

/// Binds one event's condition and checks that the stream has what its fields need. None: there are findings.
fn rule(
    event_index: usize,
    event: &EventPlan,
    relation: &Relation,
    not_null: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) -> Option<Rule> {
    let contract = &event.contract.path;
    if event.on.contains(Operation::Rekey)
        && let Some(objection) = supply::object_rekey(relation)
    {
        findings.at_place(&event.place, contract, objection);
    }
    for field in sources(event) {
        if let Some(objection) = object_field(field, event.on, relation) {
            findings.at_place(&field.place, &format!("{contract} {}", field.name), objection);
        }
    }
    let when = match &event.when {
        None => None,
        Some(when) => match bind::bind(when, event.on, relation, not_null) {
            Ok(test) => Some(test),
            Err(objections) => {
                for (at, objection) in objections {
                    findings.at_node(when, at, contract, objection);
                }
                return None;
            }
        },
    };
    Some(Rule { event: event_index, contract: contract.clone(), on: event.on, when })
}

fn check_tombstone(tombstone: &TombstonePlan, topic: &str, relation: &Relation, findings: &mut Findings) {
    let rule = format!("tombstone of {topic}");
    if let Some(objection) = supply::object_rekey(relation) {
        findings.at_place(&tombstone.place, &rule, objection);
    }
    let on = OperationSet::from_iter([Operation::Rekey, Operation::Delete]);
    for field in key_fields(&tombstone.key) {
        if let Some(objection) = object_tombstone_key(field).or_else(|| object_field(field, on, relation)) {
            findings.at_place(&field.place, &rule, objection);
        }
    }
}

/// On a rekey the bare name is the new row's, and the tombstone is for the old key.
fn object_tombstone_key(field: &FieldPlan) -> Option<Objection> {
    let column = column_of(field).filter(|column| column.side == Side::Row)?;
    Some(Objection::mismatch(format!("a tombstone is for the old key; write old.{}", column.name)))
}

fn object_field(field: &FieldPlan, on: OperationSet, relation: &Relation) -> Option<Objection> {
    let wanted = column_of(field)?;
    let column = relation.columns.get(relation.column(&wanted.name)?)?;
    supply::object(wanted, column, on, relation)
}

fn topic_name(plan: &Plan, tombstone: &TombstonePlan) -> String {
    plan.topics.get(tombstone.topic).map(|topic| topic.name.clone()).unwrap_or_default()
}
