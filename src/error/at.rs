//! Where an error happened: whatever of it is known.

use std::fmt;

use crate::model::{Position, TableName};

/// Connector, table, column, contract, topic and position of an error.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    pub connector: Option<String>,
    pub table: Option<TableName>,
    pub column: Option<String>,
    pub contract: Option<String>,
    pub topic: Option<String>,
    pub position: Option<Position>,
}

#[allow(missing_docs, reason = "each names the one part that it sets")]
impl At {
    pub fn connector(name: impl Into<String>) -> At {
        At { connector: Some(name.into()), ..At::default() }
    }

    pub fn table(name: TableName) -> At {
        At { table: Some(name), ..At::default() }
    }

    pub fn column(name: impl Into<String>) -> At {
        At { column: Some(name.into()), ..At::default() }
    }

    pub fn contract(path: impl Into<String>) -> At {
        At { contract: Some(path.into()), ..At::default() }
    }

    pub fn topic(name: impl Into<String>) -> At {
        At { topic: Some(name.into()), ..At::default() }
    }

    pub fn position(position: Position) -> At {
        At { position: Some(position), ..At::default() }
    }

    /// Takes from `outer` what is not known here.
    pub(super) fn fill(&mut self, outer: At) {
        self.connector = self.connector.take().or(outer.connector);
        self.table = self.table.take().or(outer.table);
        self.column = self.column.take().or(outer.column);
        self.contract = self.contract.take().or(outer.contract);
        self.topic = self.topic.take().or(outer.topic);
        self.position = self.position.take().or(outer.position);
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == At::default()
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("connector", self.connector.clone()),
            ("table", self.table.as_ref().map(ToString::to_string)),
            ("column", self.column.clone()),
            ("contract", self.contract.clone()),
            ("topic", self.topic.clone()),
            ("position", self.position.map(|position| position.to_string())),
        ];
        let known: Vec<String> =
            parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
        f.write_str(&known.join(", "))
    }
}
