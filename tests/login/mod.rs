//! How the daemon comes in: TLS and passwords, over the replication connection and the SQL sessions alike.

mod binding;
mod brokers;
mod canary;
mod clients;
mod hosts;
mod impostors;
mod liveness;
mod passwords;
mod registries;
mod rights;
mod rotation;
mod tls;

use std::net::TcpListener;

use walwright::model::{Secret, Security, TargetSessionAttrs, TlsMode};
use walwright::source::{Replication, SourceSettings, Sql};

use crate::support::postgres::{PASSWORD, Postgres, SUPERUSER};
use crate::support::stack::Stack;
use crate::support::{Result, runtime};

/// The superuser over TCP.
pub(crate) fn settings(server: &Postgres, tls: TlsMode) -> SourceSettings {
    SourceSettings {
        hosts: vec![server.address().ip().to_string()],
        target_session_attrs: TargetSessionAttrs::Primary,
        port: server.address().port(),
        database: SUPERUSER.to_owned(),
        user: SUPERUSER.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        security: Security::from(tls),
        slot: "slot".to_owned(),
        publication: "publication".to_owned(),
        connector: "login".to_owned(),
    }
}

/// What both kinds of connection say, which must be the same; None: both come in. The address is written ADDRESS.
fn refusal(settings: &SourceSettings) -> Result<Option<String>> {
    let [sql, replication] = refusals(settings)?;
    assert_eq!(sql, replication);
    Ok(sql)
}

/// What a SQL session says, and what a replication connection.
fn refusals(settings: &SourceSettings) -> Result<[Option<String>; 2]> {
    let place = format!("{}:{}", settings.hosts.join(","), settings.port);
    let told = |error: walwright::error::Error| error.to_string().replace(&place, "ADDRESS");
    let sql = runtime()?.block_on(Sql::connect(settings)).err().map(told);
    let replication = Replication::connect(settings).err().map(told);
    Ok([sql, replication])
}

#[test]
#[ignore = "test-full: waits for two minutes"]
fn a_server_that_says_nothing_is_given_up() -> Result<()> {
    let stack = Stack::shared()?;
    let silent = TcpListener::bind(stack.sandbox.port()?)?;
    for tls in [TlsMode::Disable, TlsMode::VerifyFull { ca: None }] {
        let settings = SourceSettings { port: silent.local_addr()?.port(), ..settings(&stack.postgres, tls) };
        let told = "postgres-unreachable: no connection to ADDRESS: the server did not answer in time";
        assert_eq!(refusal(&settings)?.as_deref(), Some(told));
    }
    Ok(())
}
