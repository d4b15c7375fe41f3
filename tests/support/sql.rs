//! SQL from callers that are not async.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage, SimpleQueryRow};

use super::{Context, Result, runtime};

/// What takes longer waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// One connection. From within async code use [`connect`] or [`Sql::client`].
pub(crate) struct Sql {
    client: Client,
}

impl Sql {
    pub(crate) fn connect(connection: &str) -> Result<Self> {
        Ok(Self { client: runtime()?.block_on(connect(connection))? })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        bounded(sql, self.client.query(sql, parameters))
    }

    pub(crate) fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        bounded(sql, self.client.execute(sql, parameters))
    }

    /// Several statements in one go; those that are not in a transaction are one.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        bounded(sql, self.client.batch_execute(sql))
    }

    /// Rows as columns with the text that the server itself makes of their values.
    pub(crate) fn text_rows(&self, sql: &str) -> Result<Vec<BTreeMap<String, Option<String>>>> {
        let messages = bounded(sql, self.client.simple_query(sql))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let texts = |row: &SimpleQueryRow| {
            let columns = row.columns().iter().enumerate();
            columns.map(|(i, column)| (column.name().to_owned(), row.get(i).map(str::to_owned))).collect()
        };
        Ok(rows.map(texts).collect())
    }

    /// The one value of a query that gives one row of one column.
    pub(crate) fn value<T>(&self, sql: &str) -> Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = bounded(sql, self.client.query_one(sql, &[]))?;
        row.try_get(0).context(sql)
    }
}

fn bounded<T>(sql: &str, statement: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
    let within = async { tokio::time::timeout(PATIENCE, statement).await };
    let done = runtime()?.block_on(within).map_err(|_| format!("{sql}: no end after {} s", PATIENCE.as_secs()))?;
    done.context(sql)
}

/// A client for any runtime; its connection is driven by the tests' own.
pub(crate) async fn connect(connection: &str) -> Result<Client> {
    let (client, driver) = tokio_postgres::connect(connection, NoTls).await.context("connect to Postgres")?;
    // The driver ends with its client; a lost connection is told to whoever uses the client.
    runtime()?.spawn(async move { drop(driver.await) });
    Ok(client)
}
