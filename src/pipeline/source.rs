//! What a start learns of the source database, and what it creates there.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::check::{self, Findings};
use super::connector::Connector;
use super::recovery::SourceFacts;
use super::relations::Enrich;
use super::settings;
use super::task::Stop;
use crate::checkpoint::judge::{SlotFacts, TimelineSwitch};
use crate::connector::Plan;
use crate::error::{Error, Result};
use crate::model::{ColumnType, Lsn, Relation, ReplicaIdentity, TableName};
use crate::source::preflight::{self, PublicationState, ServerState, SlotState};
use crate::source::{self, Replication, SourceSettings, Sql, SystemIdentity, catalog};

/// Everything that was learned.
pub(super) struct Source {
    pub(super) settings: SourceSettings,
    pub(super) sql: Arc<Sql>,
    pub(super) server: ServerState,
    pub(super) replication: Replication,
    pub(super) identity: SystemIdentity,
    handle: Handle,
    adopt_slot: bool,
    history: Vec<TimelineSwitch>,
    publication: Option<PublicationState>,
}

impl Source {
    /// Connects twice (SQL and replication) and asks; changes nothing.
    pub(super) fn open(connector: &Connector) -> Result<Source> {
        let resolved = connector.source.resolve()?;
        let adopt_slot = resolved.adopt_slot;
        let settings = settings::source(resolved, connector.name());
        let handle = connector.handle.clone();
        let sql = Arc::new(handle.block_on(Sql::connect(&settings))?);
        let server = handle.block_on(preflight::server(&sql))?;
        preflight::check_server(&server)?;
        // Both on one server, also where a failover comes between.
        let hosts = vec![sql.host().to_owned()];
        let mut replication = Replication::connect(&SourceSettings { hosts, ..settings.clone() })?;
        let (identity, history) = identify(&mut replication)?;
        let publication = handle.block_on(preflight::publication(&sql, &settings.publication))?;
        Ok(Source { settings, sql, server, replication, identity, handle, adopt_slot, history, publication })
    }

    /// Publication and tables against the rules: the warnings, or the faults as one error.
    pub(super) fn check_rules(&self, plan: &Plan) -> Result<Vec<String>> {
        let mut findings = self.findings(plan)?;
        let warnings = std::mem::take(&mut findings.warnings);
        findings.into_result().map(|()| warnings)
    }

    /// The same, found and not judged.
    pub(super) fn findings(&self, plan: &Plan) -> Result<Findings> {
        let tables: Vec<_> = check::rule_tables(plan).into_iter().collect();
        let catalog = self.handle.block_on(catalog::tables(&self.sql, &tables))?;
        let mut findings = check::tables(plan, &catalog);
        // That a table does not exist, or is none, is a fault of its own; that the publication lacks it follows from that.
        let exists = |error: &Error| {
            let is = |table: &TableName| {
                catalog.iter().any(|found| found.name == *table && check::no_table(found).is_none())
            };
            error.place().table.as_ref().is_none_or(is)
        };
        let publication = check::publication(plan, &self.settings.publication, self.publication.as_ref());
        findings.errors.splice(0..0, publication.into_iter().filter(exists));
        Ok(findings)
    }

    /// What the source is now: server and slot are asked anew, since a checkpoint may be newer than the connection.
    pub(super) fn facts(&mut self) -> Result<SourceFacts> {
        (self.identity, self.history) = identify(&mut self.replication)?;
        let slot = self.handle.block_on(preflight::slot(&self.sql, &self.settings.slot))?;
        Ok(SourceFacts {
            slot_name: self.settings.slot.clone(),
            slot: slot.as_ref().map(|slot| slot_facts(slot, &self.identity.database)),
            holder: slot.and_then(|slot| slot.active_pid),
            system_identifier: self.identity.system_identifier.clone(),
            timeline: self.identity.timeline,
            flush_lsn: self.identity.flush_lsn,
            history: self.history.clone(),
            adopt_slot: self.adopt_slot,
        })
    }

    pub(super) fn drop_slot(&mut self) -> Result<()> {
        tracing::warn!(slot = self.settings.slot, "dropping the slot");
        self.replication.drop_slot(&self.settings.slot)
    }

    /// Creates the slot (failover-enabled where the server can); its consistent point, or None where the stop came first.
    pub(super) fn create_slot(&mut self, stop: &Stop) -> Result<Option<Lsn>> {
        let failover = self.replication.major_version() >= 17;
        let slot = self.settings.slot.clone();
        let go_on = |waited: Duration| {
            if waited >= Duration::from_secs(5) {
                tracing::info!(
                    slot,
                    waited_s = waited.as_secs(),
                    "waiting for running transactions to end before the slot is consistent"
                );
            }
            !stop.is_set()
        };
        let created = self.replication.create_slot(&self.settings.slot, failover, go_on);
        match created {
            Err(_) if stop.is_set() => Ok(None),
            created => created.map(Some),
        }
    }
}

fn identify(replication: &mut Replication) -> Result<(SystemIdentity, Vec<TimelineSwitch>)> {
    let identity = replication.identify_system()?;
    let history = if identity.timeline > 1 { replication.timeline_history(identity.timeline)? } else { Vec::new() };
    let switch = |switch: &source::TimelineSwitch| TimelineSwitch { timeline: switch.timeline, switch_lsn: switch.at };
    Ok((identity, history.iter().map(switch).collect()))
}

fn slot_facts(slot: &SlotState, database: &str) -> SlotFacts {
    let mismatch = match (slot.slot_type.as_str(), slot.plugin.as_deref(), slot.database.as_deref()) {
        ("logical", Some("pgoutput"), Some(of)) if of == database => None,
        ("logical", Some("pgoutput"), of) => Some(format!("it belongs to database {}", of.unwrap_or("none"))),
        ("logical", plugin, _) => Some(format!("it is of plugin {}", plugin.unwrap_or("none"))),
        _ => Some("it is a physical slot".to_owned()),
    };
    let lost = slot.is_lost().then(|| slot.invalidation_reason.as_deref().unwrap_or("its WAL was removed").to_owned());
    SlotFacts { confirmed_flush: slot.confirmed_flush_lsn.unwrap_or_default(), lost, mismatch }
}

/// Asks the catalog for what a Relation message leaves out.
pub(super) fn enrich(handle: Handle, sql: Arc<Sql>) -> Enrich {
    Box::new(move |relation: &mut Relation| {
        let unknown: Vec<u32> = relation
            .columns
            .iter()
            .filter(|column| ColumnType::builtin(column.type_oid, column.modifier).is_none())
            .map(|column| column.type_oid)
            .collect();
        let types = handle.block_on(catalog::resolve_types(&sql, &unknown))?;
        let primary_key = match relation.identity {
            ReplicaIdentity::Full => Some(handle.block_on(catalog::primary_key(&sql, relation.oid))?),
            ReplicaIdentity::Default | ReplicaIdentity::Index | ReplicaIdentity::Nothing | ReplicaIdentity::Partial => {
                None
            }
        };
        for column in &mut relation.columns {
            let builtin = ColumnType::builtin(column.type_oid, column.modifier);
            let known = builtin.or_else(|| types.get(&column.type_oid).cloned());
            column.kind = known.unwrap_or_else(|| ColumnType::Other(format!("type with OID {}", column.type_oid)));
            column.in_key = match &primary_key {
                Some(names) => names.contains(&column.name),
                None => column.in_identity,
            };
        }
        Ok(())
    })
}
