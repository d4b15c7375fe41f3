//! Ordinary SQL on a session beside the stream: catalog, preflight, checks while running.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::SourceSettings;
use super::{auth, tls, wire};
use crate::error::{Error, Kind, Result};

/// Time for a connection, and beyond the server's own limit for a statement.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a query; the server's own limit ends it first, unless the server is frozen.
const QUERY_TIMEOUT: Duration = Duration::from_secs(40);
/// The session is pinned: no query hangs, no name resolves to anything but the system's.
const OPTIONS: &str = "-c statement_timeout=30000 -c lock_timeout=10000 -c search_path=pg_catalog -c DateStyle=ISO \
                       -c TimeZone=UTC -c default_transaction_read_only=on";

/// A SQL session on the primary, with the task that drives it.
pub struct Sql {
    client: Client,
    driver: JoinHandle<()>,
    host: String,
}

impl Sql {
    /// Connects to the first host that is a primary.
    ///
    /// # Errors
    /// What the first host said that answers and refuses; else what each host's trouble was.
    pub async fn connect(settings: &SourceSettings) -> Result<Sql> {
        let mut troubles = Vec::new();
        for host in &settings.hosts {
            match Sql::on_primary(settings, host).await {
                Err(error) if matches!(error.kind(), Kind::PostgresUnreachable | Kind::PostgresNotReady) => {
                    troubles.push(error);
                }
                settled => return settled,
            }
        }
        Err(super::replication::none_of(troubles))
    }

    async fn on_primary(settings: &SourceSettings, host: &str) -> Result<Sql> {
        let sql = Sql::open(settings, host).await?;
        match sql.rows("SELECT pg_is_in_recovery()", &[]).await?.first().map(|row| column(row, 0)).transpose()? {
            Some(false) => Ok(sql),
            _ => Err(Error::new(Kind::PostgresNotReady, format!("{host} is a standby, a primary is needed"))),
        }
    }

    async fn open(settings: &SourceSettings, host: &str) -> Result<Sql> {
        let tls = tls::client_config(&settings.tls)?.filter(|_| !host.starts_with('/'));
        let mut config = config(settings, host);
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let failed = |error: tokio_postgres::Error| failed(error, settings, host);
        let (client, driver) = match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                (client, drive(connection))
            }
            Some(tls) => {
                let connecting = config.connect(MakeRustlsConnect::new(tls));
                let (client, connection) = connecting.await.map_err(failed)?;
                (client, drive(connection))
            }
        };
        Ok(Sql { client, driver, host: host.to_owned() })
    }

    /// The host that was taken.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs one query; its names must be unqualified only where `pg_catalog` has them.
    pub async fn rows(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        match tokio::time::timeout(QUERY_TIMEOUT, self.client.query(query, parameters)).await {
            Ok(rows) => Ok(rows?),
            Err(_) => {
                let detail = format!("{} did not answer a query in {} s", self.host, QUERY_TIMEOUT.as_secs());
                Err(Error::new(Kind::PostgresUnreachable, detail))
            }
        }
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn drive<C>(connection: C) -> JoinHandle<()>
where
    C: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    // Not `tokio::spawn`: the task has an owner, `Sql`, which ends it. Its error reaches whoever queries next.
    tokio::runtime::Handle::current().spawn(async move { drop(connection.await) })
}

fn config(settings: &SourceSettings, host: &str) -> Config {
    let mut config = Config::new();
    config
        .host(host)
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(settings.application_name())
        .options(OPTIONS)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(Duration::from_secs(60))
        .keepalives_idle(Duration::from_secs(30));
    if let Some(password) = &settings.password {
        config.password(password.reveal());
    }
    config
}

/// A refusal of the server's speaks for itself; anything else needs the place.
fn failed(error: tokio_postgres::Error, settings: &SourceSettings, host: &str) -> Error {
    if error.as_db_error().is_some() {
        return Error::from(error);
    }
    // tokio-postgres says only "error connecting to server"; why lies beneath. Its kinds are private.
    let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    if cause == "password missing" {
        return auth::password_missing(&settings.user);
    }
    wire::unreachable(host, settings.port, std::io::Error::other(cause))
}

/// A column's value, as the type that the query gives it.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index)
        .map_err(|error| Error::new(Kind::Protocol, "a catalog query's answer has another type").because(error))
}
