//! Conditions bound to columns: evaluated over tuple bytes without allocation.
//!
//! Logic has three values, as SQL's has: an order with NULL is unknown, and a rule fires on true only. A value that the
//! stream did not carry is a fourth: it decides nothing unless the other side of `&&` or `||` decides alone.

use std::cmp::Ordering;

use super::decimal::Decimal;
use super::rows::Rows;
use super::scalar::{Form, Scalar};
use crate::connector::{Comparison, Side};
use crate::model::Datum;

/// A bound condition.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    /// A boolean column.
    Flag(Source),
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    IsNull(Source),
    /// A text column is this text: what most conditions ask, so it has a path of its own.
    IsText(Source, String),
    Compare(Comparison, Operand, Operand),
    In(Source, Vec<Constant>),
    Changed(Source),
}

/// A column of one of the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) side: Side,
    pub(super) column: usize,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Operand {
    Column(Source),
    Constant(Constant),
}

/// A literal in the form of what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Digits with an optional minus and point.
    Decimal(String),
    Text(String),
    Uuid([u8; 16]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    True,
    False,
    /// An order with NULL.
    Unknown,
    Missing(Missing),
}

/// A value that is needed and not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) column: usize,
    pub(super) cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The row, or this column of it, was not sent.
    NotSent,
    /// An out-of-line value that the update did not send again.
    Toast,
    /// Bytes that are not a value of the column's type.
    Malformed,
}

impl Test {
    pub(super) fn evaluate(&self, rows: &Rows<'_, '_>) -> Verdict {
        match self {
            Test::Constant(value) => Verdict::of(*value),
            Test::Flag(source) => source.flag(rows),
            Test::Not(inner) => inner.evaluate(rows).negated(),
            Test::And(left, right) => both(left, right, rows, Verdict::False),
            Test::Or(left, right) => both(left, right, rows, Verdict::True),
            Test::IsNull(source) => source.is_null(rows),
            Test::IsText(source, text) => source.is_text(text, rows),
            Test::Compare(comparison, left, right) => compare(*comparison, left, right, rows),
            Test::In(source, constants) => is_in(source, constants, rows),
            Test::Changed(source) => changed(source, rows),
        }
    }
}

impl Verdict {
    fn of(value: bool) -> Verdict {
        if value { Verdict::True } else { Verdict::False }
    }

    fn negated(self) -> Verdict {
        match self {
            Verdict::True => Verdict::False,
            Verdict::False => Verdict::True,
            other => other,
        }
    }
}

/// `&&` and `||`: the deciding value (false, true) of either side decides, whatever the other side is.
fn both(left: &Test, right: &Test, rows: &Rows<'_, '_>, deciding: Verdict) -> Verdict {
    let left = left.evaluate(rows);
    if left == deciding {
        return deciding;
    }
    let right = right.evaluate(rows);
    match (left, right) {
        (_, right) if right == deciding => deciding,
        (Verdict::Missing(_), _) => left,
        (_, Verdict::Missing(_)) => right,
        (Verdict::Unknown, _) => Verdict::Unknown,
        _ => right,
    }
}

impl Source {
    #[inline]
    fn read<'a>(&self, rows: &Rows<'_, 'a>) -> Result<Scalar<'a>, Missing> {
        let datum = rows.get(self.side, self.column);
        self.form.read(datum).ok_or_else(|| self.missing(datum))
    }

    #[cold]
    fn missing(&self, datum: Datum<'_>) -> Missing {
        let cause = match datum {
            Datum::Absent => Cause::NotSent,
            Datum::Unchanged => Cause::Toast,
            Datum::Null | Datum::Text(_) | Datum::Binary(_) => Cause::Malformed,
        };
        Missing { column: self.column, cause }
    }

    fn flag(&self, rows: &Rows<'_, '_>) -> Verdict {
        match self.read(rows) {
            Ok(Scalar::Bool(value)) => Verdict::of(value),
            Ok(_) => Verdict::Unknown,
            Err(missing) => Verdict::Missing(missing),
        }
    }

    #[inline]
    fn is_text(&self, text: &str, rows: &Rows<'_, '_>) -> Verdict {
        match rows.get(self.side, self.column) {
            Datum::Text(value) | Datum::Binary(value) => Verdict::of(value == text.as_bytes()),
            Datum::Null => Verdict::False,
            datum => Verdict::Missing(self.missing(datum)),
        }
    }

    /// A value stored out of line is not NULL, whatever it is.
    fn is_null(&self, rows: &Rows<'_, '_>) -> Verdict {
        match rows.get(self.side, self.column) {
            Datum::Absent => Verdict::Missing(self.missing(Datum::Absent)),
            datum => Verdict::of(datum == Datum::Null),
        }
    }
}

impl Test {
    /// `==` and `!=` of a column and a constant.
    pub(super) fn equal(source: Source, constant: Constant) -> Test {
        match constant {
            Constant::Null => Test::IsNull(source),
            Constant::Text(text) if source.form == Form::Text => Test::IsText(source, text),
            constant => Test::Compare(Comparison::Equal, Operand::Column(source), Operand::Constant(constant)),
        }
    }
}

impl Operand {
    #[inline]
    fn read<'s, 'a: 's>(&'s self, rows: &Rows<'_, 'a>) -> Result<Scalar<'s>, Missing> {
        match self {
            Operand::Column(source) => source.read(rows),
            Operand::Constant(constant) => Ok(constant.scalar()),
        }
    }

    fn column(&self) -> Option<usize> {
        match self {
            Operand::Column(source) => Some(source.column),
            Operand::Constant(_) => None,
        }
    }
}

impl Constant {
    #[inline]
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Constant::Null => Scalar::Null,
            Constant::Bool(value) => Scalar::Bool(*value),
            Constant::Int(value) => Scalar::Int(*value),
            Constant::Float(value) => Scalar::Float(*value),
            Constant::Decimal(text) => Decimal::text(text.as_bytes()).map_or(Scalar::Null, Scalar::Decimal),
            Constant::Text(text) => Scalar::Bytes(text.as_bytes()),
            Constant::Uuid(uuid) => Scalar::Uuid(*uuid),
        }
    }
}

fn compare(comparison: Comparison, left: &Operand, right: &Operand, rows: &Rows<'_, '_>) -> Verdict {
    let (a, b) = match (left.read(rows), right.read(rows)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(missing), _) | (_, Err(missing)) => return Verdict::Missing(missing),
    };
    let decided = match comparison {
        Comparison::Equal => a.same(&b),
        Comparison::NotEqual => a.same(&b).map(|same| !same),
        _ if matches!(a, Scalar::Null) || matches!(b, Scalar::Null) => return Verdict::Unknown,
        Comparison::Less => a.order(&b).map(Ordering::is_lt),
        Comparison::LessOrEqual => a.order(&b).map(Ordering::is_le),
        Comparison::Greater => a.order(&b).map(Ordering::is_gt),
        Comparison::GreaterOrEqual => a.order(&b).map(Ordering::is_ge),
    };
    let column = left.column().or(right.column()).unwrap_or_default();
    decided.map_or(Verdict::Missing(Missing { column, cause: Cause::Malformed }), Verdict::of)
}

fn is_in(source: &Source, constants: &[Constant], rows: &Rows<'_, '_>) -> Verdict {
    match source.read(rows) {
        Ok(value) => Verdict::of(constants.iter().any(|constant| value.same(&constant.scalar()) == Some(true))),
        Err(missing) => Verdict::Missing(missing),
    }
}

fn changed(source: &Source, rows: &Rows<'_, '_>) -> Verdict {
    if rows.is_unchanged(source.column) {
        return Verdict::False;
    }
    let side = |side| Source { side, ..*source }.read(rows);
    match (side(Side::Old), side(Side::New)) {
        (Ok(old), Ok(new)) => Verdict::of(old.same(&new) != Some(true)),
        (Err(missing), _) | (_, Err(missing)) => Verdict::Missing(missing),
    }
}
