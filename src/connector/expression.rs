//! Expressions as plain data: CEL syntax, parsed at start, names not yet bound to columns.

mod parse;

use std::fmt;
use std::path::PathBuf;

/// Where something stands in a file that a person wrote: 1-based line and column (in characters).
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

/// A parsed expression with its text, for errors that point into it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub text: String,
    pub place: Place,
    pub root: Node,
}

impl Expression {
    /// The columns that it reads, each with the offset at which it stands.
    pub fn columns(&self) -> Vec<(usize, ColumnRef)> {
        let mut columns = Vec::new();
        self.root.collect_columns(&mut columns);
        columns
    }
}

impl Node {
    fn collect_columns(&self, columns: &mut Vec<(usize, ColumnRef)>) {
        match &self.kind {
            NodeKind::Column(column) => columns.push((self.at, column.clone())),
            // Both rows are read.
            NodeKind::Changed(name) => {
                for side in [Side::Old, Side::New] {
                    columns.push((self.at, ColumnRef { side, name: name.clone() }));
                }
            }
            NodeKind::Literal(_) => {}
            NodeKind::Not(node) | NodeKind::In(node, _) => node.collect_columns(columns),
            NodeKind::And(left, right) | NodeKind::Or(left, right) | NodeKind::Compare(_, left, right) => {
                left.collect_columns(columns);
                right.collect_columns(columns);
            }
        }
    }
}

/// A node of the syntax tree.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Offset in characters into the expression's text.
    pub at: usize,
    pub kind: NodeKind,
}

/// The subset of CEL that is understood.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    Column(ColumnRef),
    Literal(Literal),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// `operand in ['A', 'B']`
    In(Box<Node>, Vec<Literal>),
    /// `changed(column)`: old and new value differ; NULL equals only NULL.
    Changed(String),
}

/// `==` and `!=` are total (null equals only null); the others are refused on nullable operands.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Which row a column is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A bare name: the new row, on delete the old one (its identity columns only).
    Row,
    /// `old.name`
    Old,
    /// `new.name`
    New,
}

/// A column by name.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnRef {
    pub side: Side,
    pub name: String,
}

/// As expressions spell it.
impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
        let plain =
            is_word(&self.name) && !self.name.is_empty() && !self.name.starts_with(|char: char| char.is_ascii_digit());
        let name = &self.name;
        match (self.side, plain) {
            (Side::Row, true) => f.write_str(name),
            (Side::Old, true) => write!(f, "old.{name}"),
            (Side::New, true) => write!(f, "new.{name}"),
            (Side::Old, false) => write!(f, "old['{name}']"),
            (Side::Row | Side::New, false) => write!(f, "new['{name}']"),
        }
    }
}

/// A constant.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
}

/// As expressions spell it; constants of a connector file are no secrets.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("null"),
            Literal::Bool(value) => value.fmt(f),
            Literal::Int(value) => value.fmt(f),
            Literal::Double(value) => write!(f, "{value:?}"),
            Literal::String(value) => write!(f, "'{}'", value.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests;
