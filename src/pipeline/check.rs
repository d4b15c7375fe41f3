//! The rules against the live database: publication, tables, replica identity, types. Used at start, by `check --live`
//! and, for the publication, while running.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::programs::{ContractIds, TablePrograms};
use crate::connector::{EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, OnNull, Plan};
use crate::contract::{FieldType, Nullability};
use crate::error::{At, Error, Kind, Result};
use crate::map::{TableRules, rule_columns};
use crate::model::{ColumnType, Operation, ReplicaIdentity, TableName};
use crate::source::catalog::{CatalogColumn, CatalogTable, Rows, TableKind};
use crate::source::preflight::PublicationState;

/// What the check found: errors halt, warnings are said.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each would halt the connector.
    pub errors: Vec<Error>,
    /// Each may halt it later.
    pub warnings: Vec<String>,
}

impl Findings {
    /// One error for all, of the first one's kind.
    pub fn into_result(mut self) -> Result<()> {
        match self.errors.len() {
            0 => Ok(()),
            1 => Err(self.errors.remove(0)),
            n => {
                let lines: Vec<String> = self.errors.iter().map(|error| format!("\n  - {}", error.detail())).collect();
                Err(Error::new(self.errors[0].kind(), format!("{n} faults{}", lines.concat())))
            }
        }
    }
}

/// `"schema"."table"`, as SQL wants it.
fn quoted(name: &TableName) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(&name.schema), quote(&name.table))
}

/// The SQL that publishes the whole table: `SET TABLE` would do so too, and take the other tables out.
fn published_anew(publication: &str, table: &TableName) -> String {
    let table = quoted(table);
    format!(
        "BEGIN; ALTER PUBLICATION \"{publication}\" DROP TABLE {table}; ALTER PUBLICATION \"{publication}\" ADD TABLE {table}; COMMIT;"
    )
}

/// The tables that events and tombstones read.
pub fn rule_tables(plan: &Plan) -> BTreeSet<TableName> {
    let events = plan.events.iter().map(|event| event.table.clone());
    events.chain(plan.tombstones.iter().map(|tombstone| tombstone.table.clone())).collect()
}

/// The operations that rules of `table` fire on.
fn operations(plan: &Plan, table: &TableName) -> BTreeSet<Operation> {
    let mut all: BTreeSet<Operation> = plan.events_of(table).flat_map(|(_, event)| event.on.iter()).collect();
    if plan.tombstones_of(table).next().is_some() {
        all.extend([Operation::Delete, Operation::Rekey]);
    }
    all
}

/// The publication against the rules: every table there, every operation sent, no filter, every column that is used.
pub fn publication(plan: &Plan, name: &str, state: Option<&PublicationState>) -> Vec<Error> {
    let tables = rule_tables(plan);
    let Some(state) = state else {
        let list: Vec<String> = tables.iter().map(quoted).collect();
        let sql = format!("CREATE PUBLICATION \"{name}\" FOR TABLE {};", list.join(", "));
        return vec![Error::new(Kind::PublicationMissing, format!("publication {name} does not exist: {sql}"))];
    };
    let mut errors = Vec::new();
    let mut refuse = |table: &TableName, detail: String| {
        errors.push(Error::new(Kind::PublicationMismatch, detail).at(At::table(table.clone())));
    };
    for table in &tables {
        let Some(published) = state.tables.iter().find(|published| published.name == *table) else {
            let sql = format!("ALTER PUBLICATION \"{name}\" ADD TABLE {};", quoted(table));
            refuse(table, format!("publication {name} does not send table {table}, which rules name: {sql}"));
            continue;
        };
        if let Some(filter) = &published.row_filter {
            let sql = published_anew(name, table);
            let why = "a row filter hides changes from the rules and turns updates into inserts and deletes";
            refuse(
                table,
                format!("publication {name} filters {table} by {filter}; {why}: move it into `when`, then {sql}"),
            );
        }
        if let Some(columns) = &published.columns {
            let missing: Vec<&str> = rule_columns(plan, table)
                .into_iter()
                .filter(|used| !columns.iter().any(|column| column == used))
                .collect();
            if !missing.is_empty() {
                let list = missing.join(", ");
                refuse(
                    table,
                    format!(
                        "publication {name} has a column list for {table} that leaves out {list}, which rules use: {}",
                        published_anew(name, table)
                    ),
                );
            }
        }
        for operation in operations(plan, table) {
            let (sent, flag) = match operation {
                Operation::Insert => (state.insert, "insert"),
                Operation::Update | Operation::Rekey => (state.update, "update"),
                Operation::Delete => (state.delete, "delete"),
                Operation::Truncate => (state.truncate, "truncate"),
                Operation::Read => (true, ""),
            };
            if !sent {
                let sql = format!("ALTER PUBLICATION \"{name}\" SET (publish = 'insert, update, delete, truncate');");
                refuse(
                    table,
                    format!("publication {name} does not publish {flag}, which rules of {table} need: {sql}"),
                );
            }
        }
    }
    errors
}

/// The tables of the catalog against the rules: there, of a kind that is replicated, identified, of fitting types.
pub fn tables(plan: &Plan, catalog: &[CatalogTable]) -> Findings {
    let mut findings = Findings::default();
    for name in rule_tables(plan) {
        match catalog.iter().find(|table| table.name == name) {
            Some(table) => match no_table(table) {
                Some(error) => findings.errors.push(error),
                None => check_table(plan, table, &mut findings),
            },
            None => {
                let detail =
                    format!("table {name}, which rules name, does not exist; its case counts as in the catalog");
                findings.errors.push(Error::new(Kind::SchemaMismatch, detail).at(At::table(name)));
            }
        }
    }
    findings
}

/// What has no rows of its own can be in no publication, so that nothing else of it matters.
pub fn no_table(table: &CatalogTable) -> Option<Error> {
    let what = match table.kind {
        TableKind::Table | TableKind::Partitioned => return None,
        TableKind::View => "a view",
        TableKind::MaterializedView => "a materialized view",
        TableKind::Foreign => "a foreign table",
        TableKind::Other => "no table",
    };
    let detail = format!(
        "{}, which rules name, is {what}, and Postgres publishes the rows of tables only: name the tables that its rows come from",
        table.name
    );
    Some(Error::new(Kind::SchemaMismatch, detail).at(At::table(table.name.clone())))
}

fn check_table(plan: &Plan, table: &CatalogTable, findings: &mut Findings) {
    findings.errors.extend(identity(plan, table));
    findings.errors.extend(nulls(plan, table));
    findings.warnings.extend(unreadable(plan, table));
    findings.warnings.extend(folds(plan, table));
    let relation = Arc::new(table.as_relation());
    let not_null = table.columns.iter().filter(|column| column.not_null).map(|column| column.name.clone()).collect();
    if let Err(error) = TableRules::check(plan, &relation, &not_null) {
        return findings.errors.push(error);
    }
    match TablePrograms::compile(plan, &relation, &placeholder_ids(plan), 0) {
        Ok(programs) => {
            for column in programs.unknown_columns {
                let name = &table.name;
                findings
                    .warnings
                    .push(format!("{name}: column {column} is neither used nor in unpublished: it is not published"));
            }
        }
        Err(error) => findings.errors.push(error),
    }
    findings.warnings.extend(toast(plan, table));
    findings.warnings.extend(labels(plan, table));
}

/// Rows that a snapshot would have to read, and cannot. Once they are read the right may be taken away, so it is no error.
fn unreadable(plan: &Plan, table: &CatalogTable) -> Option<String> {
    let (name, connector) = (&table.name, &plan.name);
    match table.rows {
        _ if !plan.tables_to_read().contains(name) => None,
        Rows::All => None,
        Rows::Forbidden => Some(format!(
            "{name}: the role may not read the rows that are there already; run what `walwright grants {connector}` prints"
        )),
        Rows::Some => Some(format!(
            "{name}: row-level security hides rows from the role, and a snapshot halts; run ALTER ROLE .. BYPASSRLS"
        )),
    }
}

/// Rows that are read into a topic of state: where its key does not hold the table's, a row whose key changes meanwhile can
/// be told under the same record key by a read that is older.
fn folds(plan: &Plan, table: &CatalogTable) -> Vec<String> {
    let is_state = |event: &EventPlan| plan.tombstones.iter().any(|tombstone| tombstone.topic == event.topic);
    let read = plan.events_of(&table.name).filter(|(_, event)| event.fires_on(Operation::Read) && is_state(event));
    let warn = |(_, event): (usize, &EventPlan)| {
        let fields = match &event.key {
            KeyPlan::String(field) => std::slice::from_ref(field),
            KeyPlan::Avro(fields) => fields,
        };
        let is_keyed = |column: &&CatalogColumn| {
            let is = |field: &FieldPlan| matches!(&field.source, FieldSource::Column { column: of, .. } if of.name == column.name);
            fields.iter().any(is)
        };
        let is_full = table.identity == ReplicaIdentity::Full;
        let of_key =
            table.columns.iter().filter(|column| if is_full { column.in_primary_key } else { column.in_identity });
        let missing: Vec<&str> = of_key.filter(|column| !is_keyed(column)).map(|column| column.name.as_str()).collect();
        (!missing.is_empty()).then(|| {
            format!(
                "{}:{}: rows of {} are read into a topic of state whose key lacks {} of the table's key: while a snapshot runs, a row that gets another key may be told as it was",
                event.place.file.display(),
                event.place.line,
                table.name,
                missing.join(", ")
            )
        })
    };
    read.filter_map(warn).collect()
}

/// Programs can be compiled before the registry was asked: what fits does not depend on the ids.
fn placeholder_ids(plan: &Plan) -> ContractIds {
    let key = |key: &KeyKind| matches!(key, KeyKind::Avro(_)).then_some(0);
    ContractIds { values: vec![0; plan.events.len()], keys: plan.topics.iter().map(|topic| key(&topic.key)).collect() }
}

/// A table whose updates or deletes are published must have a replica identity, or the application's statements fail.
fn identity(plan: &Plan, table: &CatalogTable) -> Option<Error> {
    let needs = operations(plan, &table.name);
    let needed =
        [Operation::Update, Operation::Rekey, Operation::Delete].iter().any(|operation| needs.contains(operation));
    let lacking = match table.identity {
        ReplicaIdentity::Nothing => true,
        ReplicaIdentity::Default | ReplicaIdentity::Index | ReplicaIdentity::Partial => {
            !table.columns.iter().any(|column| column.in_identity)
        }
        ReplicaIdentity::Full => false,
    };
    (needed && lacking).then(|| {
        let sql = format!(
            "ALTER TABLE {} ADD PRIMARY KEY (..) or ALTER TABLE {} REPLICA IDENTITY FULL;",
            quoted(&table.name),
            quoted(&table.name)
        );
        let detail = format!(
            "table {} has no replica identity, so its updates and deletes cannot be published: {sql}",
            table.name
        );
        Error::new(Kind::ReplicaIdentity, detail).at(At::table(table.name.clone()))
    })
}

/// Nullable columns into fields that are not, without `on_null`.
fn nulls(plan: &Plan, table: &CatalogTable) -> Vec<Error> {
    let mut errors = Vec::new();
    for (_, event) in plan.events_of(&table.name) {
        for (field, contract) in event.fields.iter().zip(&event.contract.fields) {
            let refuse = match &field.source {
                FieldSource::Column { column, on_null: OnNull::Refuse } => Some(column),
                FieldSource::Map { column, on_null: OnNull::Refuse, .. } => Some(column),
                _ => None,
            };
            let nullable =
                refuse.and_then(|column| table.columns.iter().find(|of| of.name == column.name && !of.not_null));
            if let Some(column) = nullable.filter(|_| contract.nullable == Nullability::Never) {
                errors.push(null_error(event, field, column));
            }
        }
    }
    errors
}

fn null_error(event: &EventPlan, field: &FieldPlan, column: &CatalogColumn) -> Error {
    let place = format!("{}:{}", field.place.file.display(), field.place.line);
    let detail = format!(
        "{place}: column {} of {} can be NULL and field {} of {} cannot: write {{ value = \"{}\", on_null = \"halt\" }}, or make the column NOT NULL or the field nullable",
        column.name, event.table, field.name, event.contract.path, column.name
    );
    Error::new(Kind::SchemaMismatch, detail).at(At::table(event.table.clone())).at(At::column(column.name.clone()))
}

/// Labels of enum columns that a rule has no symbol or code for: the first row that has one would halt the connector.
fn labels(plan: &Plan, table: &CatalogTable) -> Vec<String> {
    let mut warnings = Vec::new();
    for (_, event) in plan.events_of(&table.name) {
        for field in &event.fields {
            let contract = event.contract.fields.iter().find(|of| of.name == field.name);
            let (column, listed): (_, Vec<&String>) = match (&field.source, contract.map(|of| &of.kind)) {
                (FieldSource::Column { column, .. }, Some(FieldType::Enum(symbols))) => {
                    (column, symbols.iter().collect())
                }
                (FieldSource::Map { column, map, .. }, _) => (column, map.keys().collect()),
                _ => continue,
            };
            let kind = table.columns.iter().find(|of| of.name == column.name).map(|of| &of.kind);
            let Some(ColumnType::Enum(labels)) = kind else { continue };
            let unlisted: Vec<&str> =
                labels.iter().filter(|label| !listed.contains(label)).map(String::as_str).collect();
            if !unlisted.is_empty() {
                warnings.push(format!(
                    "{}:{}: a row whose {} is {} would halt the connector: give field {} a map that lists all labels",
                    field.place.file.display(),
                    field.place.line,
                    column.name,
                    unlisted.join(" or "),
                    field.name
                ));
            }
        }
    }
    warnings
}

/// Columns that an update may leave out because their value is stored out of line.
fn toast(plan: &Plan, table: &CatalogTable) -> Option<String> {
    if table.identity == ReplicaIdentity::Full || !operations(plan, &table.name).contains(&Operation::Update) {
        return None;
    }
    let used = rule_columns(plan, &table.name);
    let names: Vec<&str> = table
        .columns
        .iter()
        .filter(|column| column.toastable && used.contains(column.name.as_str()))
        .map(|column| column.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{}: long values of {} are not resent by updates and would halt the connector: ALTER TABLE {} REPLICA IDENTITY FULL;",
            table.name,
            names.join(", "),
            quoted(&table.name)
        )
    })
}
