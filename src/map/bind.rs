//! Binds a condition's names to columns and checks its types; all faults of it at once.

use std::collections::BTreeSet;

use super::condition::{Constant, Operand, Source, Test};
use super::guard;
use super::operand;
use super::scalar::Form;
use super::supply::{self, Objection};
use crate::connector::{ColumnRef, Comparison, Expression, Literal, Node, NodeKind, Side};
use crate::model::{Column, OperationSet, Relation};

/// An objection with the offset of the node that it is about.
pub(super) type Objections = Vec<(usize, Objection)>;

/// Binds the condition of a rule that fires on `on`. With `not_null`, the columns that cannot be NULL, an order on any
/// other column must be guarded.
pub(super) fn bind(
    expression: &Expression,
    on: OperationSet,
    relation: &Relation,
    not_null: Option<&BTreeSet<String>>,
) -> Result<Test, Objections> {
    let mut binder = Binder { relation, on, objections: Vec::new() };
    let test = binder.test(&expression.root);
    if let Some(not_null) = not_null {
        binder.guard(&expression.root, not_null);
    }
    match test {
        Some(test) if binder.objections.is_empty() => Ok(test),
        _ => Err(binder.objections),
    }
}

struct Binder<'r> {
    relation: &'r Relation,
    on: OperationSet,
    objections: Objections,
}

/// One side of a comparison, bound as far as it is known alone.
enum Bound<'r, 'n> {
    Column(Source, &'r Column),
    Literal(&'n Literal),
}

impl<'r> Binder<'r> {
    fn object(&mut self, at: usize, message: impl Into<String>) {
        self.objections.push((at, Objection::mismatch(message)));
    }

    /// A node that must be true or false. None: an objection was made.
    fn test(&mut self, node: &Node) -> Option<Test> {
        match &node.kind {
            NodeKind::Literal(Literal::Bool(value)) => Some(Test::Constant(*value)),
            NodeKind::Column(name) => self.flag(node.at, name),
            NodeKind::Not(inner) => Some(Test::Not(Box::new(self.test(inner)?))),
            NodeKind::And(left, right) => self.both(left, right, Test::And),
            NodeKind::Or(left, right) => self.both(left, right, Test::Or),
            NodeKind::Compare(comparison, left, right) => self.compare(*comparison, left, right),
            NodeKind::In(operand, literals) => self.is_in(operand, literals),
            NodeKind::Changed(name) => self.changed(node.at, name),
            NodeKind::Literal(_) => {
                self.object(node.at, "a constant where something true or false belongs");
                None
            }
        }
    }

    fn both(&mut self, left: &Node, right: &Node, join: fn(Box<Test>, Box<Test>) -> Test) -> Option<Test> {
        let (left, right) = (self.test(left), self.test(right));
        Some(join(Box::new(left?), Box::new(right?)))
    }

    fn flag(&mut self, at: usize, name: &ColumnRef) -> Option<Test> {
        let (source, column) = self.column(at, name)?;
        if source.form == Form::Bool {
            return Some(Test::Flag(source));
        }
        self.object(at, format!("{} is {}, not true or false; compare it with something", column.name, column.kind));
        None
    }

    fn compare(&mut self, comparison: Comparison, left: &Node, right: &Node) -> Option<Test> {
        let (a, b) = (self.operand(left), self.operand(right));
        match (a?, b?) {
            (Bound::Column(source, column), Bound::Literal(literal)) => {
                self.compare_literal(comparison, (left.at, source, column), (right.at, literal), false)
            }
            (Bound::Literal(literal), Bound::Column(source, column)) => {
                self.compare_literal(comparison, (right.at, source, column), (left.at, literal), true)
            }
            (Bound::Column(a, left_column), Bound::Column(b, right_column)) => {
                let refused = operand::refuse_column(left_column, comparison).map(|message| (left.at, message));
                let refused = refused
                    .or_else(|| operand::refuse_column(right_column, comparison).map(|message| (right.at, message)))
                    .or_else(|| operand::refuse_pair(left_column, right_column).map(|message| (left.at, message)));
                self.unless(refused, Test::Compare(comparison, Operand::Column(a), Operand::Column(b)))
            }
            (Bound::Literal(_), Bound::Literal(_)) => {
                self.object(left.at, "two constants are compared; name a column on one side");
                None
            }
        }
    }

    fn compare_literal(
        &mut self,
        comparison: Comparison,
        (column_at, source, column): (usize, Source, &Column),
        (literal_at, literal): (usize, &Literal),
        literal_first: bool,
    ) -> Option<Test> {
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if *literal == Literal::Null && !is_equality {
            self.object(literal_at, "null has no order; use == or !=");
            return None;
        }
        if *literal != Literal::Null
            && let Some(message) = operand::refuse_column(column, comparison)
        {
            self.object(column_at, message);
            return None;
        }
        let constant = self.constant(literal_at, column, literal)?;
        Some(match comparison {
            Comparison::Equal => Test::equal(source, constant),
            Comparison::NotEqual => Test::Not(Box::new(Test::equal(source, constant))),
            _ if literal_first => Test::Compare(comparison, Operand::Constant(constant), Operand::Column(source)),
            _ => Test::Compare(comparison, Operand::Column(source), Operand::Constant(constant)),
        })
    }

    fn is_in(&mut self, node: &Node, literals: &[Literal]) -> Option<Test> {
        let Bound::Column(source, column) = self.operand(node)? else {
            self.object(node.at, "a constant left of `in`; name a column");
            return None;
        };
        if let Some(message) = operand::refuse_column(column, Comparison::Equal) {
            self.object(node.at, message);
            return None;
        }
        let constants: Vec<_> = literals.iter().map(|literal| self.constant(node.at, column, literal)).collect();
        Some(Test::In(source, constants.into_iter().collect::<Option<_>>()?))
    }

    fn changed(&mut self, at: usize, name: &str) -> Option<Test> {
        let wanted = ColumnRef { side: Side::New, name: name.to_owned() };
        let (source, column) = self.find(at, &wanted)?;
        match supply::object_changed(column, self.on, self.relation) {
            Some(objection) => {
                self.objections.push((at, objection));
                None
            }
            None => Some(Test::Changed(source)),
        }
    }

    fn operand<'n>(&mut self, node: &'n Node) -> Option<Bound<'r, 'n>> {
        match &node.kind {
            NodeKind::Column(name) => self.column(node.at, name).map(|(source, column)| Bound::Column(source, column)),
            NodeKind::Literal(literal) => Some(Bound::Literal(literal)),
            _ => {
                self.object(node.at, "columns and constants are compared; join conditions with && and ||");
                None
            }
        }
    }

    fn constant(&mut self, at: usize, column: &Column, literal: &Literal) -> Option<Constant> {
        operand::constant(column, literal).map_err(|message| self.object(at, message)).ok()
    }

    /// The column and whether the stream has it.
    fn column(&mut self, at: usize, wanted: &ColumnRef) -> Option<(Source, &'r Column)> {
        let (source, column) = self.find(at, wanted)?;
        match supply::object(wanted, column, self.on, self.relation) {
            Some(objection) => {
                self.objections.push((at, objection));
                None
            }
            None => Some((source, column)),
        }
    }

    fn find(&mut self, at: usize, wanted: &ColumnRef) -> Option<(Source, &'r Column)> {
        let relation = self.relation;
        let found = relation.column(&wanted.name).and_then(|index| Some((index, relation.columns.get(index)?)));
        let Some((index, column)) = found else {
            let ColumnRef { side, name } = wanted;
            let hint = relation.folded_hint(name).unwrap_or_else(|| match side {
                Side::Row => format!("; for the constant write '{name}'"),
                Side::Old | Side::New => String::new(),
            });
            self.object(at, format!("{} has no column {name}{hint}", relation.name));
            return None;
        };
        Some((Source { side: wanted.side, column: index, form: Form::of(column) }, column))
    }

    fn unless(&mut self, refused: Option<(usize, String)>, test: Test) -> Option<Test> {
        let Some((at, message)) = refused else { return Some(test) };
        self.object(at, message);
        None
    }

    fn guard(&mut self, root: &Node, not_null: &BTreeSet<String>) {
        for (at, column) in guard::unguarded(root, self.on, &|name| !not_null.contains(name)) {
            let name = supply::spelled(column);
            self.object(at, format!("{name} can be NULL, which has no order: write `{name} != null && ..` before it"));
        }
    }
}
