//! From CEL's syntax (github.com/google/cel-spec, `langdef.md`) to the subset that is understood. Whatever else CEL
//! would accept is a fault that points at it.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators as op};
use cel::parser::{ParseError, Parser};

use super::{ColumnRef, Comparison, Expression, Literal, Node, NodeKind, Place, Side};
use crate::connector::document::excerpt;
use crate::error::{Fault, Faults};

/// The longest expression: its parser calls itself for what is nested, and is slow.
const BYTES_MAX: usize = 4096;

impl Expression {
    /// Parses `text`, whose first character stands at `place`.
    pub fn parse(text: &str, place: Place) -> Result<Expression, Faults> {
        if text.len() > BYTES_MAX {
            let (file, Place { line, column, .. }) = (place.file.clone(), place);
            let message = format!("an expression has at most {BYTES_MAX} bytes, this one has {}", text.len());
            return Err(Faults(vec![Fault { file, line, column, path: String::new(), message, excerpt: None }]));
        }
        let mut expression =
            Expression { text: text.to_owned(), place, root: Node { at: 0, kind: NodeKind::Literal(Literal::Null) } };
        let (tree, positions) = Parser::new().parse_with_source_info(text).map_err(|errors| {
            // What follows the first one mostly follows from it.
            Faults(errors.errors.first().map(|error| expression.syntax_fault(error)).into_iter().collect())
        })?;
        let mut lowering = Lowering { expression: &expression, positions: &positions, faults: Faults::default() };
        match (lowering.node(&tree), lowering.faults) {
            (Some(root), faults) if faults.is_empty() => {
                expression.root = root;
                Ok(expression)
            }
            (_, faults) => Err(faults),
        }
    }

    /// A fault at the character `at` of the text, with the line of the text and a caret below that character.
    ///
    /// Line and column are those of the file as long as the text stands there without escapes.
    pub fn fault(&self, at: usize, message: impl Into<String>) -> Fault {
        let before: String = self.text.chars().take(at).collect();
        let newlines = before.matches('\n').count();
        let in_line = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let column = if newlines == 0 { self.place.column + in_line } else { in_line + 1 };
        let line = self.text.lines().nth(newlines).unwrap_or_default();
        Fault {
            file: self.place.file.clone(),
            line: self.place.line + newlines,
            column,
            path: String::new(),
            message: message.into(),
            excerpt: Some(excerpt(line, in_line + 1)),
        }
    }

    fn syntax_fault(&self, error: &ParseError) -> Fault {
        let line = usize::try_from(error.pos.0 - 1).unwrap_or_default();
        let column = usize::try_from(error.pos.1 - 1).unwrap_or_default();
        let before: usize = self.text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
        self.fault(before + column, format!("malformed expression: {}", syntax_message(&error.msg)))
    }
}

/// The parser's message without its list of all that could have stood there.
fn syntax_message(message: &str) -> String {
    if let Some(word) = message.strip_prefix("reserved identifier: ") {
        return format!("`{word}` is a reserved word; a column of that name is new['{word}']");
    }
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = message.replace("mismatched input '<EOF>'", "unexpected end").replace("'<EOF>'", "the end");
    let message = message.replace("token recognition error at:", "cannot read").replace("<EOF>", "the end");
    message.replace("mismatched input", "unexpected").replace("extraneous input", "unexpected")
}

struct Lowering<'a> {
    expression: &'a Expression,
    positions: &'a SourceInfo,
    faults: Faults,
}

impl Lowering<'_> {
    /// Where `tree` stands, in characters (the parser counts bytes): an operator's own place, a column's first character.
    fn at(&self, tree: &IdedExpr) -> usize {
        match &tree.expr {
            Expr::Select(select) => return self.at(&select.operand),
            Expr::Call(CallExpr { func_name, args, .. }) if func_name == op::INDEX => {
                return args.first().map_or(0, |row| self.at(row));
            }
            _ => {}
        }
        let bytes = self.positions.offset_for(tree.id).and_then(|(start, _)| usize::try_from(start).ok());
        let before = bytes.and_then(|bytes| self.expression.text.get(..bytes));
        before.map_or(0, |before| before.chars().count())
    }

    fn refuse<T>(&mut self, tree: &IdedExpr, message: impl Into<String>) -> Option<T> {
        let fault = self.expression.fault(self.at(tree), message);
        self.faults.push(fault);
        None
    }

    fn node(&mut self, tree: &IdedExpr) -> Option<Node> {
        let kind = match &tree.expr {
            Expr::Literal(value) => NodeKind::Literal(self.literal(tree, value)?),
            Expr::Ident(_) | Expr::Select(_) => NodeKind::Column(self.column(tree)?),
            Expr::Call(call) => return self.call(tree, call),
            Expr::List(_) => return self.refuse(tree, "a list stands only behind `in`"),
            Expr::Unspecified | Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) => {
                return self.refuse(tree, NOT_SUPPORTED);
            }
        };
        Some(Node { at: self.at(tree), kind })
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Option<Node> {
        let kind = match (call.func_name.as_str(), call.args.as_slice()) {
            (op::LOGICAL_AND, [left, right]) => {
                let (left, right) = self.pair(left, right)?;
                NodeKind::And(left, right)
            }
            (op::LOGICAL_OR, [left, right]) => {
                let (left, right) = self.pair(left, right)?;
                NodeKind::Or(left, right)
            }
            (op::LOGICAL_NOT, [inner]) => NodeKind::Not(Box::new(self.node(inner)?)),
            (op::IN, [operand, list]) => {
                let (operand, list) = (self.node(operand), self.list(list));
                NodeKind::In(Box::new(operand?), list?)
            }
            (op::INDEX, [_, _]) => NodeKind::Column(self.column(tree)?),
            (op::NEGATE, [inner]) => NodeKind::Literal(self.negated(tree, inner)?),
            ("changed", [column]) => NodeKind::Changed(self.changed(column)?),
            (name, [left, right]) if comparison(name).is_some() => {
                let (left, right) = self.pair(left, right)?;
                NodeKind::Compare(comparison(name)?, left, right)
            }
            (op::SUBSTRACT, _) => {
                return self.refuse(
                    tree,
                    "computed values are not supported yet; a column with a dash in its name is new['order-note']",
                );
            }
            (op::ADD | op::MULTIPLY | op::DIVIDE | op::MODULO | op::CONDITIONAL, _) => {
                return self.refuse(tree, "computed values are not supported yet");
            }
            ("changed", _) => return self.refuse(tree, "write changed(column)"),
            (name, _) => return self.refuse(tree, format!("no function `{name}`; there is changed(column)")),
        };
        Some(Node { at: self.at(tree), kind })
    }

    /// Both sides, so that the faults of both are found.
    fn pair(&mut self, left: &IdedExpr, right: &IdedExpr) -> Option<(Box<Node>, Box<Node>)> {
        let (left, right) = (self.node(left), self.node(right));
        Some((Box::new(left?), Box::new(right?)))
    }

    fn literal(&mut self, tree: &IdedExpr, value: &LiteralValue) -> Option<Literal> {
        Some(match value {
            LiteralValue::Null => Literal::Null,
            LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
            LiteralValue::Int(value) => Literal::Int(*value.inner()),
            LiteralValue::Double(value) => Literal::Double(*value.inner()),
            LiteralValue::String(value) => Literal::String(value.inner().to_owned()),
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
                return self
                    .refuse(tree, "constants are null, true, false, numbers without a suffix, and text in quotes");
            }
        })
    }

    fn negated(&mut self, tree: &IdedExpr, inner: &IdedExpr) -> Option<Literal> {
        match &inner.expr {
            Expr::Literal(LiteralValue::Int(value)) if *value.inner() != i64::MIN => Some(Literal::Int(-value.inner())),
            Expr::Literal(LiteralValue::Double(value)) => Some(Literal::Double(-value.inner())),
            _ => self.refuse(tree, "computed values are not supported yet"),
        }
    }

    fn list(&mut self, tree: &IdedExpr) -> Option<Vec<Literal>> {
        let Expr::List(list) = &tree.expr else {
            return self.refuse(tree, "behind `in` stands a list of constants: status in ['A', 'B']");
        };
        let constants: Vec<_> = list.elements.iter().map(|element| self.constant(element)).collect();
        constants.into_iter().collect()
    }

    fn constant(&mut self, tree: &IdedExpr) -> Option<Literal> {
        match self.node(tree)?.kind {
            NodeKind::Literal(literal) => Some(literal),
            _ => self.refuse(tree, "a list has constants only; text stands in quotes: 'EUR'"),
        }
    }

    /// `name`, `old.name`, `new.name`, `old['odd name']` or `new['odd name']`.
    fn column(&mut self, tree: &IdedExpr) -> Option<ColumnRef> {
        let (row, name) = match &tree.expr {
            Expr::Ident(name) => (None, Some(name.as_str())),
            Expr::Select(select) if !select.test => (Some(select.operand.as_ref()), Some(select.field.as_str())),
            Expr::Call(CallExpr { args, .. }) => match args.as_slice() {
                [row, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                    (Some(row), Some(name.inner()))
                }
                _ => (None, None),
            },
            _ => (None, None),
        };
        let side = match row.map(|row| &row.expr) {
            None => Some(Side::Row),
            Some(Expr::Ident(row)) if row == "old" => Some(Side::Old),
            Some(Expr::Ident(row)) if row == "new" => Some(Side::New),
            Some(_) => None,
        };
        match (side, name) {
            (Some(Side::Row), Some(row @ ("old" | "new"))) => {
                self.refuse(tree, format!("`{row}` is a whole row; name a column of it: {row}.status"))
            }
            (Some(side), Some(name)) => Some(ColumnRef { side, name: name.to_owned() }),
            _ => self.refuse(tree, "a column is written as name, old.name, new.name or new['odd name']"),
        }
    }

    fn changed(&mut self, tree: &IdedExpr) -> Option<String> {
        match self.node(tree)?.kind {
            NodeKind::Column(ColumnRef { side: Side::Row | Side::New, name }) => Some(name),
            _ => self.refuse(tree, "changed() takes a column by its name: changed(status)"),
        }
    }
}

const NOT_SUPPORTED: &str = "not supported yet; there are comparisons, &&, ||, !, in, null and changed(column)";

fn comparison(function: &str) -> Option<Comparison> {
    Some(match function {
        op::EQUALS => Comparison::Equal,
        op::NOT_EQUALS => Comparison::NotEqual,
        op::LESS => Comparison::Less,
        op::LESS_EQUALS => Comparison::LessOrEqual,
        op::GREATER => Comparison::Greater,
        op::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
