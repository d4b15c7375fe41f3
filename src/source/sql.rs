//! Ordinary SQL on a session beside the stream: catalog, preflight, checks while running.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres_protocol::escape::escape_identifier;
use tokio::task::JoinHandle;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, CopyOutStream, Row, Statement};

use super::channel::{AsItIs, Channel, Unanswered};
use super::replication::{check_target, none_of};
use super::session::{ANSWER_TIMEOUT, malformed};
use super::settings::SourceSettings;
use super::{auth, wire};
use crate::error::{Error, Kind, Result};
use crate::model::ChannelBinding;

/// Time for a query; the server's own limit ends it first, unless the server is frozen.
const QUERY_TIMEOUT: Duration = Duration::from_secs(40);
/// What is malformed where it is not said more exactly.
const LOGIN: &str = "message during authentication";
/// Statements that a session keeps prepared.
const PREPARED_MAX: usize = 100;
/// The session is pinned: no query hangs, what the role is set to does not end it while it waits, no name resolves to
/// anything but the system's.
const OPTIONS: &str = "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_session_timeout=0 \
                       -c idle_in_transaction_session_timeout=0 -c search_path=pg_catalog -c DateStyle=ISO -c TimeZone=UTC";

/// A SQL session on the primary, with the task that drives it.
pub struct Sql {
    client: Client,
    driver: JoinHandle<()>,
    host: String,
    /// By text.
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Sql {
    /// Connects to the first host that is as `target_session_attrs` asks for.
    ///
    /// # Errors
    /// What the first host said that answers and refuses; else what each host's trouble was.
    pub async fn connect(settings: &SourceSettings) -> Result<Sql> {
        let mut troubles = Vec::new();
        for host in &settings.hosts {
            match Sql::on_target(settings, host).await {
                Err(error) if matches!(error.kind(), Kind::PostgresUnreachable | Kind::PostgresNotReady) => {
                    troubles.push(error);
                }
                settled => return settled,
            }
        }
        Err(none_of(troubles))
    }

    async fn on_target(settings: &SourceSettings, host: &str) -> Result<Sql> {
        let sql = Sql::open(settings, host).await?;
        let query = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool";
        let rows = sql.rows(query, &[]).await?;
        let row = rows.first().ok_or_else(|| malformed("answer to a query"))?;
        check_target(settings, host, column(row, 0)?, column(row, 1)?)?;
        sql.client.batch_execute("SET default_transaction_read_only = on").await?;
        Ok(sql)
    }

    async fn open(settings: &SourceSettings, host: &str) -> Result<Sql> {
        let opening = async {
            let channel = Channel::open(settings, host).await?;
            let login = login(settings).connect_raw(channel, AsItIs).await;
            login.map_err(|error| failed(error, settings, host))
        };
        let Ok(opened) = tokio::time::timeout(ANSWER_TIMEOUT, opening).await else {
            let silent = std::io::Error::other("the server did not answer in time");
            return Err(wire::unreachable(host, settings.port, silent));
        };
        let (client, connection) = opened?;
        Ok(Sql { client, driver: drive(connection), host: host.to_owned(), prepared: Mutex::default() })
    }

    /// The connection is gone, and no query can succeed.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The host that was taken.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs one query; its names must be unqualified only where `pg_catalog` has them.
    pub async fn rows(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.in_time(self.client.query(query, parameters)).await
    }

    /// The same for a query that comes again and again: the server parses it once.
    pub(super) async fn prepared(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let known = self.known().get(query).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.in_time(self.client.prepare(query)).await?;
                let mut known = self.known();
                if known.len() >= PREPARED_MAX {
                    known.clear();
                }
                known.insert(query.to_owned(), statement.clone());
                statement
            }
        };
        self.in_time(self.client.query(&statement, parameters)).await
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Statement>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        match tokio::time::timeout(QUERY_TIMEOUT, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                let detail = format!("{} did not answer a query in {} s", self.host, QUERY_TIMEOUT.as_secs());
                Err(Error::new(Kind::PostgresUnreachable, detail))
            }
        }
    }

    /// Has the server parse a statement, which is not run.
    pub(super) async fn parse(&self, statement: &str) -> Result<()> {
        self.in_time(self.client.prepare(statement)).await.map(drop)
    }

    /// Runs statements that answer nothing.
    pub(super) async fn run(&self, statements: &str) -> Result<()> {
        Ok(self.client.batch_execute(statements).await?)
    }

    /// The answer of a COPY TO STDOUT.
    pub(super) async fn copy_out(&self, query: &str) -> Result<CopyOutStream> {
        Ok(self.client.copy_out(query).await?)
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

pub(super) fn login(settings: &SourceSettings) -> Config {
    let mut config = Config::new();
    config
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(settings.application_name())
        .options(OPTIONS)
        // The channel has done what there is of TLS; so it is taken as it is, with its channel binding.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(match settings.security.channel_binding {
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(password) = &settings.password {
        config.password(password.reveal());
    }
    config
}

/// A refusal of the server's speaks for itself; anything else needs the place.
fn failed(error: tokio_postgres::Error, settings: &SourceSettings, host: &str) -> Error {
    if let Some(refusal) = error.as_db_error() {
        let (role, database) = (escape_identifier(&settings.user), escape_identifier(&settings.database));
        let mend = match (refusal.code().code(), refusal.message()) {
            ("42501", message) if message.contains("database") => {
                format!("GRANT CONNECT ON DATABASE {database} TO {role}")
            }
            ("28000", message) if message.contains("not permitted to log in") => format!("ALTER ROLE {role} LOGIN"),
            _ => return Error::from(error),
        };
        let detail = format!("the server said: {}; run {mend}", refusal.message());
        return Error::new(Kind::of_sqlstate(refusal.code().code()), detail);
    }
    // tokio-postgres says only "error communicating with the server"; why lies beneath. Its kinds are private.
    let source = std::error::Error::source(&error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>()).and_then(std::io::Error::get_ref);
    if let Some(unanswered) = io.and_then(|cause| cause.downcast_ref::<Unanswered>()) {
        return unanswered.into_error(&settings.user);
    }
    let cause = source.map_or_else(|| error.to_string(), ToString::to_string);
    match (error.to_string().as_str(), cause.as_str()) {
        (_, "password missing") => auth::password_missing(&settings.user),
        (_, "server did not use channel binding") => auth::unbound(),
        ("authentication error", "unsupported SASL mechanism") => auth::without_scram(),
        ("authentication error", _) => auth::untrusted(cause),
        ("unexpected message from server" | "error parsing response from server", _) => malformed(LOGIN),
        _ => wire::unreachable(host, settings.port, std::io::Error::other(cause)),
    }
}

/// A column's value, as the type that the query gives it.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index)
        .map_err(|error| Error::new(Kind::Protocol, "a catalog query's answer has another type").because(error))
}
