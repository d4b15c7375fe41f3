//! The SQL by which a DBA lets a connector in: a role, what it may do, the publication. Nothing more is needed: changes
//! come by the right to replicate, and the catalog is open to every role.

use std::collections::BTreeSet;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::check::rule_tables;
use crate::connector::{Plan, SourceSection};
use crate::error::Result;
use crate::source::preflight::{create_publication_sql, quoted};

/// Statements for `psql`, safe to run again. The role's password is nobody's but the DBA's.
///
/// # Errors
/// `Configuration` where a reference of `[source]` other than a secret leads nowhere.
pub fn grants(plan: &Plan, source: &SourceSection) -> Result<String> {
    let source = source.without_secrets().resolve()?;
    let (connector, database) = (&plan.name, &source.database);
    let (role, quoted_database) = (escape_identifier(&source.user), escape_identifier(database));
    let tables: Vec<_> = rule_tables(plan).into_iter().collect();
    let create_role = if_missing("pg_roles", "rolname", &source.user, &format!("CREATE ROLE {role}"));
    let publication = create_publication_sql(&source.publication, &tables);
    let reading = reading(plan, &role);
    let create_publication = if_missing("pg_publication", "pubname", &source.publication, &publication);
    Ok(format!(
        "-- What connector {connector} needs in database {database}. As superuser; from 16 on also who has
-- CREATEROLE and REPLICATION and owns the tables:
--   walwright grants {connector} | psql --set ON_ERROR_STOP=1 --dbname {database}
-- Then set the role's password, in psql: \\password {role}
-- and let it in (pg_hba.conf): hostssl {database} {role} <address of walwright> scram-sha-256

{create_role}
-- Amazon RDS and Aurora refuse REPLICATION; there: ALTER ROLE {role} LOGIN; GRANT rds_replication TO {role};
-- Google Cloud SQL and AlloyDB: as a member of cloudsqlsuperuser or alloydbsuperuser. Azure: of azure_pg_admin.
ALTER ROLE {role} LOGIN REPLICATION;
GRANT CONNECT ON DATABASE {quoted_database} TO {role};

{reading}
-- Only the owner of the tables can publish them, with the right to CREATE in the database, and the publication stays his.
{create_publication}
"
    ))
}

/// Changes come by the right to replicate; rows that exist already are read as anybody reads them.
fn reading(plan: &Plan, role: &str) -> String {
    let read = plan.tables_to_read();
    if read.is_empty() {
        return "-- Neither USAGE nor SELECT: changes come by the right to replicate.".to_owned();
    }
    let schemas: BTreeSet<String> = read.iter().map(|table| escape_identifier(&table.schema)).collect();
    let tables: Vec<String> = read.iter().map(quoted).collect();
    format!(
        "-- The rows that exist already are read ([snapshot] mode = \"initial\"); changes come by the right to replicate.
GRANT USAGE ON SCHEMA {} TO {role};
GRANT SELECT ON TABLE {} TO {role};",
        schemas.into_iter().collect::<Vec<_>>().join(", "),
        tables.join(", ")
    )
}

fn if_missing(catalog: &str, column: &str, name: &str, statement: &str) -> String {
    let (name, statement) = (escape_literal(name), escape_literal(statement));
    format!(
        "DO $walwright$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.{catalog} WHERE {column} = {name}) THEN
        EXECUTE {statement};
    END IF;
END $walwright$;"
    )
}
