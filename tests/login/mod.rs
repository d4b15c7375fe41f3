//! How the daemon comes in: TLS and passwords, over the replication connection and the SQL sessions alike.

mod passwords;
mod tls;

use walwright::model::Secret;
use walwright::source::{Replication, SourceSettings, Sql, TlsMode};

use crate::support::postgres::{PASSWORD, Postgres, SUPERUSER};
use crate::support::{Result, runtime};

/// The superuser over TCP.
fn settings(server: &Postgres, tls: TlsMode) -> SourceSettings {
    SourceSettings {
        hosts: vec![server.address().ip().to_string()],
        port: server.address().port(),
        database: SUPERUSER.to_owned(),
        user: SUPERUSER.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        tls,
        slot: "slot".to_owned(),
        publication: "publication".to_owned(),
        connector: "login".to_owned(),
    }
}

/// What both kinds of connection say, which must be the same; None: both come in. The address is written ADDRESS.
fn refusal(settings: &SourceSettings) -> Result<Option<String>> {
    let place = format!("{}:{}", settings.hosts.join(","), settings.port);
    let told = |error: walwright::error::Error| error.to_string().replace(&place, "ADDRESS");
    let sql = runtime()?.block_on(Sql::connect(settings)).err().map(told);
    let replication = Replication::connect(settings).err().map(told);
    assert_eq!(sql, replication);
    Ok(sql)
}
