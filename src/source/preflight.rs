//! What must hold before a stream is started: server, role, slot and publication as they are. Only `check_server`
//! judges; what the rest means depends on checkpoint and rules, which this stage does not see.

use std::time::Duration;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::replication::SERVER_VERSION_MIN;
use super::sql::{Sql, column};
use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, TableName};

/// A row of `pg_replication_slots`. What a server's version does not have is None or false.
#[allow(missing_docs, reason = "the names are those of pg_replication_slots")]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SlotState {
    pub slot_name: String,
    /// `logical` or `physical`.
    pub slot_type: String,
    pub plugin: Option<String>,
    pub database: Option<String>,
    #[serde(default)]
    pub temporary: bool,
    pub active_pid: Option<i32>,
    pub confirmed_flush_lsn: Option<Lsn>,
    pub restart_lsn: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Since 17.
    pub invalidation_reason: Option<String>,
    /// Since 17.
    #[serde(default)]
    pub failover: bool,
    /// Since 17: this is a copy on a standby.
    #[serde(default)]
    pub synced: bool,
    /// Bytes of WAL that the server keeps for this slot.
    pub retained_bytes: Option<u64>,
}

impl SlotState {
    /// The slot can never send again what it had: its WAL is gone or it was invalidated.
    pub fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost") || self.invalidation_reason.is_some()
    }
}

/// The server, its limits, and what the session's role may do.
#[allow(missing_docs, reason = "the names are those of the settings")]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerState {
    /// As in `server_version_num`: 150018 is 15.18.
    pub version_num: u32,
    pub wal_level: String,
    pub in_recovery: bool,
    pub max_replication_slots: u32,
    pub replication_slots: u32,
    pub max_wal_senders: u32,
    /// 0: never.
    pub wal_sender_timeout_ms: u64,
    /// -1: without limit.
    pub max_slot_wal_keep_size_mb: i64,
    pub flush_lsn: Lsn,
    pub role: String,
    pub may_replicate: bool,
}

impl ServerState {
    /// `wal_sender_timeout`; zero: never.
    pub fn wal_sender_timeout(&self) -> Duration {
        Duration::from_millis(self.wal_sender_timeout_ms)
    }
}

/// A publication: what it sends of which tables.
#[allow(missing_docs, reason = "the names are those of pg_publication")]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PublicationState {
    #[serde(rename = "pubinsert")]
    pub insert: bool,
    #[serde(rename = "pubupdate")]
    pub update: bool,
    #[serde(rename = "pubdelete")]
    pub delete: bool,
    #[serde(rename = "pubtruncate")]
    pub truncate: bool,
    /// Changes of partitions appear under the name of their root.
    #[serde(rename = "pubviaroot")]
    pub via_root: bool,
    /// Ordered by name.
    #[serde(skip)]
    pub tables: Vec<PublishedTable>,
}

/// A table as a publication sends it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTable {
    pub name: TableName,
    /// None: every column that is not generated.
    pub columns: Option<Vec<String>>,
    /// The condition as SQL; None: every row.
    pub row_filter: Option<String>,
}

/// Rows go through JSON, so that one query serves every version: a column that a version lacks is absent.
async fn state<T: DeserializeOwned>(sql: &Sql, query: &str, name: Option<&str>) -> Result<Option<T>> {
    let rows = match &name {
        Some(name) => sql.rows(query, &[name]).await?,
        None => sql.rows(query, &[]).await?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let json: &str = column(row, 0)?;
    let state = serde_json::from_str(json);
    state.map_err(|error| Error::new(Kind::Protocol, "a catalog row is not as documented").because(error))
}

/// The slot of this name; None: there is none.
pub async fn slot(sql: &Sql, name: &str) -> Result<Option<SlotState>> {
    let query = "SELECT (to_jsonb(s) || jsonb_build_object('retained_bytes', CASE WHEN NOT pg_is_in_recovery() THEN
                 greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8 END))::text
                 FROM pg_replication_slots s WHERE s.slot_name = $1";
    state(sql, query, Some(name)).await
}

/// The server and the session's role.
pub async fn server(sql: &Sql) -> Result<ServerState> {
    // A member of rds_replication may replicate without the attribute (Amazon RDS and Aurora).
    let query = "SELECT jsonb_build_object(
        'version_num', current_setting('server_version_num')::int,
        'wal_level', current_setting('wal_level'),
        'in_recovery', pg_is_in_recovery(),
        'max_replication_slots', current_setting('max_replication_slots')::int,
        'replication_slots', (SELECT count(*) FROM pg_replication_slots),
        'max_wal_senders', current_setting('max_wal_senders')::int,
        'wal_sender_timeout_ms', (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_sender_timeout'),
        'max_slot_wal_keep_size_mb', (SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
        'flush_lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END,
        'role', current_user,
        'may_replicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
            OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication'
                       AND pg_has_role(current_user, r.oid, 'MEMBER')))::text";
    state(sql, query, None).await?.ok_or_else(|| Error::new(Kind::Protocol, "a query without a table gave no row"))
}

/// Whether the server and the role can feed a connector at all.
///
/// # Errors
/// The first thing that stands in the way, with the SQL that mends it.
pub fn check_server(server: &ServerState) -> Result<()> {
    let major = server.version_num / 10_000;
    if major < SERVER_VERSION_MIN {
        let detail = format!("the server runs Postgres {major}; {SERVER_VERSION_MIN} or newer is needed");
        return Err(Error::new(Kind::ServerSetting, detail));
    }
    if server.in_recovery {
        return Err(Error::new(Kind::PostgresNotReady, "the server is a standby, a primary is needed"));
    }
    if server.wal_level != "logical" {
        let detail = format!(
            "wal_level is {}; run ALTER SYSTEM SET wal_level = 'logical' and restart Postgres",
            server.wal_level
        );
        return Err(Error::new(Kind::ServerSetting, detail));
    }
    if !server.may_replicate {
        let role = escape_identifier(&server.role);
        let detail = format!("the role {role} may not replicate; run ALTER ROLE {role} REPLICATION");
        return Err(Error::new(Kind::Permission, detail));
    }
    Ok(())
}

/// A column list that leaves nothing out is none. Postgres 14 has neither lists nor filters.
const PUBLISHED: &str = "
SELECT p.schemaname::text, p.tablename::text,
       CASE WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         AND a.attgenerated = '' AND NOT to_jsonb(p) -> 'attnames' ? a.attname::text)
            THEN ARRAY(SELECT jsonb_array_elements_text(to_jsonb(p) -> 'attnames')) END,
       to_jsonb(p) ->> 'rowfilter'
  FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
 WHERE p.pubname = $1
 ORDER BY p.schemaname, p.tablename";

/// The publication of this name, with every table that it sends; None: there is none.
pub async fn publication(sql: &Sql, name: &str) -> Result<Option<PublicationState>> {
    let query = "SELECT to_jsonb(p)::text FROM pg_publication p WHERE p.pubname = $1";
    let Some(mut publication) = state::<PublicationState>(sql, query, Some(name)).await? else { return Ok(None) };
    for row in &sql.rows(PUBLISHED, &[&name]).await? {
        publication.tables.push(PublishedTable {
            name: TableName { schema: column(row, 0)?, table: column(row, 1)? },
            columns: column(row, 2)?,
            row_filter: column(row, 3)?,
        });
    }
    Ok(Some(publication))
}

/// A table's name as SQL spells it.
pub fn quoted(name: &TableName) -> String {
    format!("{}.{}", escape_identifier(&name.schema), escape_identifier(&name.table))
}

/// The SQL that creates a publication of these tables, for messages.
pub fn create_publication_sql(name: &str, tables: &[TableName]) -> String {
    let tables: Vec<String> = tables.iter().map(quoted).collect();
    format!("CREATE PUBLICATION {} FOR TABLE {}", escape_identifier(name), tables.join(", "))
}

/// The SQL that drops a slot, for messages.
pub fn drop_slot_sql(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", escape_literal(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ServerState {
        ServerState {
            version_num: 150_018,
            wal_level: "logical".to_owned(),
            in_recovery: false,
            max_replication_slots: 10,
            replication_slots: 0,
            max_wal_senders: 10,
            wal_sender_timeout_ms: 60_000,
            max_slot_wal_keep_size_mb: -1,
            flush_lsn: Lsn(1),
            role: "oms".to_owned(),
            may_replicate: true,
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said_with_the_sql_that_mends_it() {
        assert!(check_server(&good()).is_ok());
        let fault = |server: ServerState| check_server(&server).unwrap_err().to_string();
        assert_eq!(
            fault(ServerState { wal_level: "replica".to_owned(), ..good() }),
            "server-setting: wal_level is replica; run ALTER SYSTEM SET wal_level = 'logical' and restart Postgres"
        );
        assert_eq!(
            fault(ServerState { may_replicate: false, ..good() }),
            "permission: the role \"oms\" may not replicate; run ALTER ROLE \"oms\" REPLICATION"
        );
        assert_eq!(
            fault(ServerState { version_num: 130_014, ..good() }),
            "server-setting: the server runs Postgres 13; 14 or newer is needed"
        );
        assert_eq!(
            fault(ServerState { in_recovery: true, ..good() }),
            "postgres-not-ready: the server is a standby, a primary is needed"
        );
    }

    #[test]
    fn a_slot_of_an_old_server_lacks_the_new_columns() {
        let json = r#"{"slot_name":"s","slot_type":"logical","plugin":"pgoutput","database":"d","temporary":false,
            "active":false,"active_pid":null,"xmin":null,"catalog_xmin":"7","restart_lsn":"0/16B3748",
            "confirmed_flush_lsn":"0/16B3780","wal_status":"lost","safe_wal_size":null,"retained_bytes":null}"#;
        let slot: SlotState = serde_json::from_str(json).unwrap();
        assert_eq!((slot.failover, slot.confirmed_flush_lsn), (false, Some(Lsn(0x16B_3780))));
        assert!(slot.is_lost());
    }

    #[test]
    fn the_sql_of_messages_is_quoted() {
        let tables = [TableName::new("public", "orders"), TableName::new("odd.schema", "Odd \"T\"")];
        assert_eq!(
            create_publication_sql("pub", &tables),
            "CREATE PUBLICATION \"pub\" FOR TABLE \"public\".\"orders\", \"odd.schema\".\"Odd \"\"T\"\"\""
        );
        assert_eq!(drop_slot_sql("s'1"), "SELECT pg_drop_replication_slot('s''1')");
    }
}
