//! `[[table]]` and `[tables]`: what is known of a table and stays inside.

use std::collections::BTreeSet;

use super::super::document::{Entry, Section};
use super::super::{EventPlan, NewColumns, Place, TablePlan, TombstonePlan, Unhandled};
use super::rule::table_name;
use crate::model::TableName;

const UNHANDLED: [(&str, Unhandled); 2] = [("filter", Unhandled::Filter), ("halt", Unhandled::Halt)];

pub(super) fn read(section: &mut Section<'_>) -> Option<TablePlan> {
    let place = section.place();
    let name = section.need("name", "\"public.orders\"").and_then(table_name);
    let unpublished = section.get("unpublished").map(columns).unwrap_or_default();
    let choices = [("warn", NewColumns::Warn), ("halt", NewColumns::Halt)];
    let new_columns = section.get("new_columns").map(|entry| entry.choice(&choices));
    let unmatched = section.get("unmatched").map(|entry| entry.choice(&UNHANDLED));
    let truncate = section.get("truncate").map(|entry| entry.choice(&UNHANDLED));
    let known = by_default(name?, place);
    Some(TablePlan {
        unpublished,
        new_columns: new_columns.unwrap_or(Some(known.new_columns))?,
        unmatched: unmatched.unwrap_or(Some(known.unmatched))?,
        truncate: truncate.unwrap_or(Some(known.truncate))?,
        ..known
    })
}

/// `[tables] unnamed`
pub(super) fn read_unnamed(root: &mut Section<'_>) -> Option<Unhandled> {
    let mut section = root.section("tables")?;
    let unnamed = section.get("unnamed").and_then(|entry| entry.choice(&UNHANDLED));
    section.report_unknown();
    unnamed
}

fn columns(entry: Entry<'_>) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for item in entry.items() {
        if let Some(name) = item.name()
            && !columns.insert(name.to_owned())
        {
            item.fault("stands here twice");
        }
    }
    columns
}

/// A table about which the file says nothing: new columns are reported, changes that no rule takes are filtered, a
/// truncate halts.
fn by_default(name: TableName, place: Place) -> TablePlan {
    TablePlan {
        name,
        unpublished: BTreeSet::new(),
        new_columns: NewColumns::Warn,
        unmatched: Unhandled::Filter,
        truncate: Unhandled::Halt,
        place,
    }
}

/// The sections, then the tables that only rules name.
pub(super) fn all(sections: Vec<TablePlan>, events: &[EventPlan], tombstones: &[TombstonePlan]) -> Vec<TablePlan> {
    let of_events = events.iter().map(|event| (&event.table, &event.place));
    let of_tombstones = tombstones.iter().map(|tombstone| (&tombstone.table, &tombstone.place));
    let mut tables = sections;
    for (name, place) in of_events.chain(of_tombstones) {
        if !tables.iter().any(|table| table.name == *name) {
            tables.push(by_default(name.clone(), place.clone()));
        }
    }
    tables
}
