//! Changes that wait in a slot: of the worked example's tables, or of tables made for one question.

use std::time::Instant;

use crate::plain::Plain;
use crate::support::oms::backlog::{backlog, one_transaction};
use crate::support::oms::site::{Configuration, Site};
use crate::support::sql::{Sql, connect};
use crate::support::{Context, Result, runtime};
use crate::{create_slot, end_of_wal};

pub(crate) struct Backlog {
    /// What the report calls it.
    pub(crate) workload: String,
    /// The slot behind which it lies; each run reads a copy of it.
    pub(crate) slot: String,
    pub(crate) publication: String,
    /// Each is due as one event.
    pub(crate) changes: u64,
    /// Where it ends, in bytes of WAL; a published change follows.
    pub(crate) end: i64,
    tables: Tables,
}

enum Tables {
    Oms,
    Plain(Plain),
}

/// In which transactions the worked example's rows are written.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Of so many changes each.
    Transactions(u64),
    One,
}

impl Backlog {
    /// About `changes` changes of the worked example: orders, their lines, payments noted, stock adjusted.
    pub(crate) fn oms(site: &Site<'_>, workload: &str, changes: u64, shape: Shape) -> Result<Self> {
        let sql = site.sql()?;
        create_slot(&sql, workload)?;
        let begun = Instant::now();
        let changes = match shape {
            Shape::Transactions(size) => runtime()?.block_on(backlog(sql.client(), changes, size)).context(workload)?,
            Shape::One => {
                let connection = site.stack.postgres.socket_connection(&site.database);
                let write =
                    async { one_transaction(&mut connect(&connection).await?, changes).await.context(workload) };
                runtime()?.block_on(write)?;
                changes
            }
        };
        let end = end_of_wal(&sql)?;
        println!("\n{workload}: {changes} changes, written in {:.0} s", begun.elapsed().as_secs_f64());
        let publication = "walwright_oms".to_owned();
        Ok(Self {
            workload: workload.to_owned(),
            slot: workload.to_owned(),
            publication,
            changes,
            end,
            tables: Tables::Oms,
        })
    }

    /// As `plain` says, in transactions of ten.
    pub(crate) fn plain(site: &Site<'_>, plain: Plain, changes: u64) -> Result<Self> {
        let sql = site.sql()?;
        plain.create(&sql)?;
        let workload = plain.name.clone();
        create_slot(&sql, &workload)?;
        let begun = Instant::now();
        let changes = plain.write(&sql, changes)?;
        let end = plain_end(&sql, &plain)?;
        println!("\n{workload}: {changes} changes, written in {:.0} s", begun.elapsed().as_secs_f64());
        let (slot, publication) = (workload.clone(), plain.publication());
        Ok(Self { workload, slot, publication, changes, end, tables: Tables::Plain(plain) })
    }

    /// Of a daemon that drains a slot of this name.
    pub(crate) fn configure(&self, site: &Site<'_>, name: &str) -> Result<Configuration> {
        match &self.tables {
            Tables::Oms => Configuration::on_slot(site.stack, name, name),
            Tables::Plain(plain) => plain.configure(site.stack, name),
        }
    }
}

fn plain_end(sql: &Sql, plain: &Plain) -> Result<i64> {
    let end = sql.value("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")?;
    plain.mark(sql)?;
    Ok(end)
}
