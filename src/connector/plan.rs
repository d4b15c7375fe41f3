//! A checked connector: what map and encode compile from. Topics, events and tables refer to each other by index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::{ColumnRef, Expression, Literal, Place};
use crate::contract::Contract;
use crate::model::{Operation, OperationSet, TableName};

/// One connector file, checked.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct Plan {
    /// The file's stem: `[a-z][a-z0-9_-]{0,62}`.
    pub name: String,
    /// `[source] id`: who this source is, in ids and `ce_source`.
    pub source_id: String,
    pub topics: Vec<TopicPlan>,
    /// In the order of the file, which is the order of the events of one change.
    pub events: Vec<EventPlan>,
    pub tombstones: Vec<TombstonePlan>,
    /// One for every table that an event, a tombstone or a `[[table]]` section names.
    pub tables: Vec<TablePlan>,
    /// `[tables] unnamed`: what becomes of changes of tables that the file does not name.
    pub unnamed: Unhandled,
    pub large_transactions: LargeTransactions,
    pub snapshot: SnapshotPlan,
    /// SHA-256 over all that decides which records a change yields, as hex: in the checkpoint.
    pub mapping_hash: String,
    pub by_table: ByTable,
}

/// Each table's part of a plan by the indexes there: a stream of a thousand tables asks for each by itself. Made when it is
/// first asked for; what is asked of a plan afterwards holds for the lists as they were then.
#[derive(Clone, Debug, Default)]
pub struct ByTable(OnceLock<HashMap<TableName, Parts>>);

#[derive(Clone, Debug, Default)]
struct Parts {
    events: Vec<usize>,
    tombstones: Vec<usize>,
    table: Option<usize>,
}

/// A `[[topic]]`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub struct TopicPlan {
    /// The name on Kafka (`topic_prefix` included).
    pub name: String,
    pub key: KeyKind,
    /// None: the topic must exist.
    pub create: Option<TopicCreate>,
    /// Kafka's own topic settings, for creation and check.
    pub config: BTreeMap<String, String>,
    pub place: Place,
}

/// How keys of a topic are written; one kind a topic.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyKind {
    /// UTF-8 of Postgres' text output.
    String,
    /// A record in Confluent's wire format, by this contract, subject `<topic>-key`.
    Avro(Arc<Contract>),
}

/// `create = { partitions, replication }`
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicCreate {
    pub partitions: i32,
    pub replication: i32,
}

/// An `[[event]]`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct EventPlan {
    pub contract: Arc<Contract>,
    pub table: TableName,
    pub on: OperationSet,
    pub when: Option<Expression>,
    /// Index into `Plan::topics`.
    pub topic: usize,
    pub key: KeyPlan,
    /// One for each field of the contract, in the contract's order.
    pub fields: Vec<FieldPlan>,
    /// `[event.headers]`: name and source, in the order of the names.
    pub headers: Vec<(String, FieldPlan)>,
    pub place: Place,
}

/// Where a record's key comes from.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum KeyPlan {
    String(FieldPlan),
    /// One for each field of the key's contract, in its order.
    Avro(Vec<FieldPlan>),
}

/// The source of one field, with its place in the file.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPlan {
    /// The field's (or header's) name.
    pub name: String,
    pub source: FieldSource,
    pub place: Place,
}

/// Where a field's value comes from.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum FieldSource {
    /// A column, as it is.
    Column {
        column: ColumnRef,
        on_null: OnNull,
    },
    /// A column whose text is looked up; a code that is not listed halts.
    Map {
        column: ColumnRef,
        map: BTreeMap<String, String>,
        on_null: OnNull,
    },
    Literal(Literal),
    /// The contract's own default.
    Default,
    /// The `common.EventMeta` record.
    Meta,
}

/// A NULL for a field that is not nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNull {
    /// Not spelled out: a nullable column is refused at `check --live`; should a NULL come all the same, halt.
    Refuse,
    /// `on_null = "halt"`
    Halt,
}

/// A `[[tombstone]]`: on delete, and on rekey with the old key, before that change's events.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct TombstonePlan {
    pub table: TableName,
    pub topic: usize,
    pub key: KeyPlan,
    pub place: Place,
}

/// What is known about a table: from its `[[table]]` section or by default.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub struct TablePlan {
    pub name: TableName,
    /// Known columns that are deliberately not published.
    pub unpublished: BTreeSet<String>,
    pub new_columns: NewColumns,
    /// A change that no event takes.
    pub unmatched: Unhandled,
    pub truncate: Unhandled,
    pub place: Place,
}

/// What becomes of a column that neither a rule nor `unpublished` names.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewColumns {
    Warn,
    Halt,
}

/// What becomes of a change that no rule takes.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhandled {
    /// Counted as filtered under the name of the line that says so.
    Filter,
    Halt,
}

/// `large_transactions`: whether a transaction that outlasts a Kafka transaction may become visible in parts.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeTransactions {
    Whole,
    Split,
}

/// `[snapshot]`: how rows that exist already are read.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    pub mode: SnapshotMode,
    /// Connections that read at once.
    pub workers: usize,
    /// The most that all of them together read in a second; None: as fast as they can.
    pub rows_per_second: Option<u64>,
    /// The same in bytes, as COPY writes them.
    pub bytes_per_second: Option<u64>,
}

/// Which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// None but on demand.
    None,
    /// Once, each table that a rule on `read` names.
    Initial,
}

impl Plan {
    /// The tables whose rows can be read: a rule on `read` names them.
    pub fn readable_tables(&self) -> Vec<TableName> {
        let is_read =
            |table: &&TablePlan| self.events_of(&table.name).any(|(_, event)| event.fires_on(Operation::Read));
        self.tables.iter().filter(is_read).map(|table| table.name.clone()).collect()
    }

    /// The tables whose rows are read without being asked for.
    pub fn tables_to_read(&self) -> Vec<TableName> {
        match self.snapshot.mode {
            SnapshotMode::None => Vec::new(),
            SnapshotMode::Initial => self.readable_tables(),
        }
    }

    /// The events that `table` feeds, with their indexes, in the order of the file.
    pub fn events_of(&self, table: &TableName) -> impl Iterator<Item = (usize, &EventPlan)> {
        self.parts(table).events.iter().map(|index| (*index, &self.events[*index]))
    }

    /// The tombstones that `table` feeds, with their indexes.
    pub fn tombstones_of(&self, table: &TableName) -> impl Iterator<Item = (usize, &TombstonePlan)> {
        self.parts(table).tombstones.iter().map(|index| (*index, &self.tombstones[*index]))
    }

    /// The section of `table`.
    pub fn table(&self, name: &TableName) -> Option<&TablePlan> {
        self.parts(name).table.map(|index| &self.tables[index])
    }

    fn parts(&self, table: &TableName) -> &Parts {
        const NONE: &Parts = &Parts { events: Vec::new(), tombstones: Vec::new(), table: None };
        self.by_table.0.get_or_init(|| self.all_parts()).get(table).unwrap_or(NONE)
    }

    fn all_parts(&self) -> HashMap<TableName, Parts> {
        let mut all: HashMap<TableName, Parts> = HashMap::new();
        for (index, event) in self.events.iter().enumerate() {
            all.entry(event.table.clone()).or_default().events.push(index);
        }
        for (index, tombstone) in self.tombstones.iter().enumerate() {
            all.entry(tombstone.table.clone()).or_default().tombstones.push(index);
        }
        for (index, table) in self.tables.iter().enumerate() {
            all.entry(table.name.clone()).or_default().table.get_or_insert(index);
        }
        all
    }
}

impl EventPlan {
    /// Whether this rule fires on `operation` (its condition aside).
    pub fn fires_on(&self, operation: Operation) -> bool {
        self.on.contains(operation)
    }
}
