//! As much of the expression syntax as these tests write.

use crate::connector::{ColumnRef, Comparison, Literal, Node, NodeKind, Side};

/// Parses `text` or panics.
pub(super) fn parse(text: &str) -> Node {
    let mut parser = Parser { text, at: 0 };
    let node = parser.or();
    assert_eq!(parser.peek(), "", "{text}");
    node
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> &'t str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn or(&mut self) -> Node {
        let mut node = self.and();
        while self.eat("||") {
            node = Node { at: node.at, kind: NodeKind::Or(Box::new(node), Box::new(self.and())) };
        }
        node
    }

    fn and(&mut self) -> Node {
        let mut node = self.comparison();
        while self.eat("&&") {
            node = Node { at: node.at, kind: NodeKind::And(Box::new(node), Box::new(self.comparison())) };
        }
        node
    }

    fn comparison(&mut self) -> Node {
        let left = self.unary();
        let at = left.at;
        use Comparison::*;
        for (token, comparison) in
            [("==", Equal), ("!=", NotEqual), ("<=", LessOrEqual), (">=", GreaterOrEqual), ("<", Less), (">", Greater)]
        {
            if self.eat(token) {
                return Node { at, kind: NodeKind::Compare(comparison, Box::new(left), Box::new(self.unary())) };
            }
        }
        if !self.eat("in [") {
            return left;
        }
        let mut literals = Vec::new();
        while !self.eat("]") {
            let NodeKind::Literal(literal) = self.unary().kind else { panic!("{}", self.text) };
            literals.push(literal);
            self.eat(",");
        }
        Node { at, kind: NodeKind::In(Box::new(left), literals) }
    }

    fn unary(&mut self) -> Node {
        let rest = self.peek();
        let at = self.text[..self.at].chars().count();
        if self.eat("!") {
            return Node { at, kind: NodeKind::Not(Box::new(self.unary())) };
        }
        if self.eat("(") {
            let inner = self.or();
            assert!(self.eat(")"), "{}", self.text);
            return inner;
        }
        let kind = if rest.starts_with('\'') {
            NodeKind::Literal(Literal::String(self.quoted()))
        } else if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let number = self.take(|c| c.is_ascii_digit() || ".-e".contains(c));
            NodeKind::Literal(match number.parse() {
                Ok(int) => Literal::Int(int),
                Err(_) => Literal::Double(number.parse().unwrap()),
            })
        } else {
            self.name()
        };
        Node { at, kind }
    }

    fn name(&mut self) -> NodeKind {
        let name = self.take(|c| c.is_alphanumeric() || c == '_').to_owned();
        assert!(!name.is_empty(), "{}", self.text);
        match name.as_str() {
            "null" => return NodeKind::Literal(Literal::Null),
            "true" | "false" => return NodeKind::Literal(Literal::Bool(name == "true")),
            "changed" => {
                assert!(self.eat("("));
                let column = self.take(|c| c.is_alphanumeric() || c == '_').to_owned();
                assert!(self.eat(")"));
                return NodeKind::Changed(column);
            }
            _ => {}
        }
        let side = match name.as_str() {
            "old" => Side::Old,
            "new" => Side::New,
            _ => return NodeKind::Column(ColumnRef { side: Side::Row, name }),
        };
        let name = if self.eat("[") {
            let name = self.quoted();
            assert!(self.eat("]"));
            name
        } else {
            assert!(self.eat("."), "{}", self.text);
            self.take(|c| c.is_alphanumeric() || c == '_').to_owned()
        };
        NodeKind::Column(ColumnRef { side, name })
    }

    fn quoted(&mut self) -> String {
        assert!(self.eat("'"));
        let text = self.text[self.at..].split('\'').next().unwrap();
        self.at += text.len() + 1;
        text.to_owned()
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.peek();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}
