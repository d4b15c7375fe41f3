//! One row change as Postgres sent it.

use super::Row;

/// What happened to a row, as rules name it in `on = [..]`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Insert,
    Update,
    /// An update that changed the replica identity key (under FULL the primary key).
    Rekey,
    Delete,
    Truncate,
    /// A snapshot's read of a row that already existed.
    Read,
}

impl Operation {
    /// All of them, in the order of the documentation.
    pub const ALL: [Operation; 6] = [
        Operation::Insert,
        Operation::Update,
        Operation::Rekey,
        Operation::Delete,
        Operation::Truncate,
        Operation::Read,
    ];

    /// As connector files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Rekey => "rekey",
            Operation::Delete => "delete",
            Operation::Truncate => "truncate",
            Operation::Read => "read",
        }
    }
}

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationSet(u8);

#[allow(missing_docs, reason = "a set's methods")]
impl OperationSet {
    pub fn insert(&mut self, operation: Operation) {
        self.0 |= 1 << operation as u8;
    }

    pub fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.into_iter().filter(move |operation| self.contains(*operation))
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> OperationSet {
        let mut set = OperationSet::default();
        operations.into_iter().for_each(|operation| set.insert(operation));
        set
    }
}

/// The rows of one change. Insert: `new`. Update: `new`, and `old` where the server sent it (all columns under
/// REPLICA IDENTITY FULL, else the identity's columns, the others `Absent`). Delete: `old`. Truncate: neither.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub operation: Operation,
    pub old: Option<Row<'a>>,
    pub new: Option<Row<'a>>,
}
