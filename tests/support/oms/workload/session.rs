//! One connection of a writer, with its prepared statements.

use std::collections::HashMap;

use tokio_postgres::{Client, Error, Row, Statement, types::ToSql};

use super::journal::Due;

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What a transaction has done so far; a savepoint that is rolled back brings an earlier one back.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Row changes.
    pub(super) rows: u64,
    pub(super) due: Vec<Due>,
}

pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Of the transaction under way.
    pub(super) tally: Tally,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client, statements: HashMap::new(), tally: Tally::default() }
    }

    /// Runs a statement and counts the rows that it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, parameters: Parameters<'_>) -> Result<u64, Error> {
        let statement = self.prepared(sql).await?;
        let rows = self.client.execute(&statement, parameters).await?;
        self.tally.rows += rows;
        Ok(rows)
    }

    /// Runs a statement that changes one row and returns something of it.
    pub(super) async fn execute_returning(
        &mut self,
        sql: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Row, Error> {
        let statement = self.prepared(sql).await?;
        let row = self.client.query_one(&statement, parameters).await?;
        self.tally.rows += 1;
        Ok(row)
    }

    /// A statement of transaction control.
    pub(super) async fn control(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// BEGIN and the first statement, which changes one row and returns something, in one round trip.
    pub(super) async fn begin(&mut self, first: &'static str, parameters: Parameters<'_>) -> Result<Row, Error> {
        self.tally = Tally::default();
        let statement = self.prepared(first).await?;
        let (begun, done) =
            tokio::join!(biased; self.client.batch_execute("BEGIN"), self.client.query_one(&statement, parameters));
        begun?;
        self.tally.rows += 1;
        done
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}
