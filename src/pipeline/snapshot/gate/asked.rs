//! What people ask of a connector's snapshots, by its file or by commands, and what they hear of them.

use super::Gate;
use crate::connector::{Plan, SnapshotMode};
use crate::error::{Disposition, Error, Result};
use crate::model::TableName;
use crate::pipeline::snapshot::{Answer, Command, TableProgress};
use crate::snapshot::{Entry, Offer, RangeId, Request, Snapshot, State, Variant};

impl Gate {
    /// Begins what the connector file names anew, and leaves what it names no longer.
    pub(super) fn follow(&mut self, plan: &Plan, now_us: i64) -> Result<()> {
        let readable = plan.readable_tables();
        let left: Vec<(usize, TableName)> = self.core.names().map(|(number, name)| (number, name.clone())).collect();
        for (number, name) in left.into_iter().filter(|(_, name)| !readable.contains(name)) {
            self.hurry = true;
            // Of a table that is still published the stream must end as exactly as a snapshot that is cancelled.
            let is_published = plan.events_of(&name).next().is_some() || plan.tombstones_of(&name).next().is_some();
            if is_published && self.core.judges(number) {
                self.progress.extend(self.core.cancel(number)?);
            } else {
                self.progress.extend(self.core.drop_table(number));
            }
        }
        for name in readable.into_iter().filter(|name| self.core.table(name).is_none()).collect::<Vec<_>>() {
            let request = Request { variant: Variant::Initial, filter: None, asked_us: now_us };
            let (number, asked) = self.core.ask(name, request)?;
            // It streams from here on: later its rows are to be read on demand, as a backfill, only.
            let is_read = plan.snapshot.mode == SnapshotMode::Initial;
            self.hurry |= is_read;
            self.progress.extend(if is_read { asked } else { self.core.cancel(number)? });
        }
        Ok(())
    }

    pub(super) fn command(&mut self, command: Command, plan: &Plan, now_us: i64) -> Result<Answer> {
        match command {
            Command::Snapshot { table, filter } => self.backfill(&table, filter, plan, now_us),
            Command::Pause { table } => self.each(table, &[State::Running], Snapshot::pause, "no snapshot is running"),
            Command::Resume { table } => self.each(table, &[State::Paused], Snapshot::resume, "no snapshot is paused"),
            Command::Cancel { table } => {
                self.each(table, &[State::Running, State::Paused], Snapshot::cancel, "no snapshot is running or paused")
            }
        }
    }

    fn backfill(&mut self, table: &str, filter: Option<String>, plan: &Plan, asked_us: i64) -> Result<Answer> {
        let Some(name) = plan.readable_tables().into_iter().find(|name| name.to_string() == table) else {
            return Ok(Err(format!(
                "no rule of the connector fires on \"read\" of {table}: nothing would be published"
            )));
        };
        if self.core.table(&name).is_some_and(|number| self.core.judges(number)) {
            let state = "a snapshot of it is under way, or was until just now";
            return Ok(Err(format!("{table}: {state}; cancel it, or wait for its end")));
        }
        let found = self.table(&name);
        let checked = found.and_then(|found| match &filter {
            Some(filter) => self.handle.block_on(found.check_filter(&self.sql, filter)),
            None => Ok(()),
        });
        match checked {
            Err(error) if error.disposition() == Disposition::Retry => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
            Ok(()) => {}
        }
        let request = Request { variant: Variant::Backfill, filter, asked_us };
        self.progress.extend(self.core.ask(name, request)?.1);
        Ok(Ok(vec![table.to_owned()]))
    }

    fn each(
        &mut self,
        table: Option<String>,
        from: &[State],
        act: impl Fn(&mut Snapshot, usize) -> Result<Vec<Entry>>,
        none: &str,
    ) -> Result<Answer> {
        let named = |name: &TableName| table.as_ref().is_none_or(|table| name.to_string() == *table);
        let is_in = |number| self.core.state(number).is_some_and(|state| from.contains(&state));
        let found = self.core.names().filter(|(number, name)| is_in(*number) && named(name));
        let found: Vec<(usize, String)> = found.map(|(number, name)| (number, name.to_string())).collect();
        if found.is_empty() {
            return Ok(Err(table.map_or_else(|| none.to_owned(), |table| format!("{none} of {table}"))));
        }
        for (number, _) in &found {
            self.progress.extend(act(&mut self.core, *number)?);
        }
        Ok(Ok(found.into_iter().map(|(_, name)| name).collect()))
    }

    pub(super) fn begin_report(&self) {
        let tables = self.core.names().filter_map(|(number, name)| {
            let (request, state) = (self.core.request(number)?, self.core.state(number)?);
            let is_open = matches!(state, State::Running | State::Paused);
            let estimate = || -> Result<Option<u64>> {
                let table = self.table(name)?;
                self.handle.block_on(table.estimate(&self.sql, request.filter.as_deref()))
            };
            Some(TableProgress {
                table: name.to_string(),
                state,
                variant: request.variant,
                filter: request.filter.clone(),
                asked_us: request.asked_us,
                rows: self.core.rows(number),
                // What keeps from asking will be told by those who read.
                estimated_rows: is_open.then(|| estimate().ok().flatten()).flatten(),
                chunks: 0,
                rows_per_second: None,
                seconds_left: None,
                waits_for: None,
            })
        });
        self.report.begin(tables.collect());
    }

    pub(super) fn note_offer(&mut self, range: RangeId, offer: &Offer) {
        let waits_for = match offer {
            Offer::Accepted => {
                self.paused_until = None;
                None
            }
            Offer::NotYet { oldest, .. } => Some(format!("transaction {oldest}, which began before it, to end")),
            Offer::Unseen(xids) => Some(format!("transactions {xids:?}, which are committed, to become visible")),
            Offer::Stale | Offer::NoX0 | Offer::Discard => return,
        };
        self.note_state(range.table(), waits_for);
    }

    fn note_state(&self, number: usize, waits_for: Option<String>) {
        if let Some((name, state)) = self.name(number).zip(self.core.state(number)) {
            self.report.note(&name, |table| (table.state, table.waits_for) = (state, waits_for));
        }
    }

    pub(super) fn name(&self, number: usize) -> Option<TableName> {
        self.core.names().find(|(other, _)| *other == number).map(|(_, name)| name.clone())
    }

    /// A backfill ends where a person must act first.
    pub(super) fn give_up(&mut self, range: RangeId, error: &Error) -> Result<()> {
        tracing::error!(error = %error.chain(), remedy = error.remedy(), more = error.more(), "snapshot cancelled");
        self.core.failed(range);
        self.progress.extend(self.core.cancel(range.table())?);
        self.hurry = true;
        self.note_state(range.table(), Some(error.to_string()));
        Ok(())
    }
}
