//! Orders on columns that can be NULL must be guarded: `total != null && total > 5`.

use crate::connector::{ColumnRef, Comparison, Literal, Node, NodeKind, Side};
use crate::model::{Operation, OperationSet};

/// The unguarded operands of a condition, each with its node's offset.
pub(super) fn unguarded<'n>(
    root: &'n Node,
    on: OperationSet,
    is_nullable: &dyn Fn(&str) -> bool,
) -> Vec<(usize, &'n ColumnRef)> {
    let mut guard = Guard { on, is_nullable, found: Vec::new() };
    guard.walk(root, &[]);
    guard.found
}

struct Guard<'n, 'f> {
    on: OperationSet,
    is_nullable: &'f dyn Fn(&str) -> bool,
    found: Vec<(usize, &'n ColumnRef)>,
}

impl<'n> Guard<'n, '_> {
    /// `known` are not NULL here: what stands further left would have decided otherwise.
    fn walk(&mut self, node: &'n Node, known: &[ColumnRef]) {
        match &node.kind {
            NodeKind::Not(inner) => self.walk(inner, known),
            NodeKind::And(left, right) => self.walk_both(left, right, known, true),
            NodeKind::Or(left, right) => self.walk_both(left, right, known, false),
            NodeKind::Compare(comparison, left, right) if is_order(*comparison) => {
                self.operand(left, known);
                self.operand(right, known);
            }
            _ => {}
        }
    }

    fn walk_both(&mut self, left: &'n Node, right: &'n Node, known: &[ColumnRef], outcome: bool) {
        self.walk(left, known);
        let mut known = known.to_vec();
        self.proves(left, outcome, &mut known);
        self.walk(right, &known);
    }

    fn operand(&mut self, node: &'n Node, known: &[ColumnRef]) {
        if let NodeKind::Column(column) = &node.kind
            && (self.is_nullable)(&column.name)
            && !known.contains(&self.row_of(column))
        {
            self.found.push((node.at, column));
        }
    }

    /// Adds the columns that are not NULL where `node` comes out as `outcome`.
    fn proves(&self, node: &Node, outcome: bool, known: &mut Vec<ColumnRef>) {
        match &node.kind {
            NodeKind::Not(inner) => self.proves(inner, !outcome, known),
            NodeKind::And(left, right) if outcome => [left, right].iter().for_each(|n| self.proves(n, true, known)),
            NodeKind::Or(left, right) if !outcome => [left, right].iter().for_each(|n| self.proves(n, false, known)),
            NodeKind::Compare(comparison, left, right) => {
                for (operand, other) in [(left, right), (right, left)] {
                    let NodeKind::Column(column) = &operand.kind else { continue };
                    if not_null_if(*comparison, other, outcome) {
                        known.push(self.row_of(column));
                    }
                }
            }
            NodeKind::In(operand, constants) if outcome && !constants.contains(&Literal::Null) => {
                if let NodeKind::Column(column) = &operand.kind {
                    known.push(self.row_of(column));
                }
            }
            _ => {}
        }
    }

    /// A bare name is the new row's column, or the old one's where the rule fires on delete only.
    fn row_of(&self, column: &ColumnRef) -> ColumnRef {
        let side = match column.side {
            Side::Row if !self.on.contains(Operation::Delete) => Side::New,
            Side::Row if self.on.iter().eq([Operation::Delete]) => Side::Old,
            side => side,
        };
        ColumnRef { side, name: column.name.clone() }
    }
}

fn is_order(comparison: Comparison) -> bool {
    !matches!(comparison, Comparison::Equal | Comparison::NotEqual)
}

/// Whether a comparison that comes out as `outcome` proves that its operand is not NULL.
fn not_null_if(comparison: Comparison, other: &Node, outcome: bool) -> bool {
    match (&other.kind, comparison) {
        (NodeKind::Literal(Literal::Null), Comparison::NotEqual) => outcome,
        (NodeKind::Literal(Literal::Null), Comparison::Equal) => !outcome,
        (NodeKind::Literal(_), Comparison::Equal) => outcome,
        (NodeKind::Literal(_), Comparison::NotEqual) => !outcome,
        _ => false,
    }
}
