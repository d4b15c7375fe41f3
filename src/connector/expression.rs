//! Expressions as plain data: CEL syntax, parsed at start, names not yet bound to columns.

mod parse;

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

#[cfg(test)]
mod tests;
