use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Node, String> {
    let place = Place { file: "oms.toml".into(), line: 7, column: 9 };
    Expression::parse(text, place).map(|expression| expression.root).map_err(|faults| faults.to_string())
}

/// The tree in prefix form, with the offset of each operator and column.
fn shape(node: &Node) -> String {
    let at = node.at;
    match &node.kind {
        NodeKind::Column(column) => format!("{:?}.{}@{at}", column.side, column.name).to_lowercase(),
        NodeKind::Literal(literal) => format!("{literal:?}"),
        NodeKind::Not(inner) => format!("(!@{at} {})", shape(inner)),
        NodeKind::And(left, right) => format!("(&&@{at} {} {})", shape(left), shape(right)),
        NodeKind::Or(left, right) => format!("(||@{at} {} {})", shape(left), shape(right)),
        NodeKind::Compare(comparison, left, right) => {
            format!("({comparison:?}@{at} {} {})", shape(left), shape(right))
        }
        NodeKind::In(operand, list) => format!("(in@{at} {} {list:?})", shape(operand)),
        NodeKind::Changed(column) => format!("changed@{at} {column}"),
    }
}

#[test]
fn the_subset_is_understood_with_the_offsets_of_its_parts() {
    let cases = [
        ("id", "row.id@0"),
        ("old.status", "old.status@0"),
        ("new['order-note']", "new.order-note@0"),
        ("'EUR'", "String(\"EUR\")"),
        ("-5", "Int(-5)"),
        ("-2.5", "Double(-2.5)"),
        ("null", "Null"),
        ("changed(on_hand)", "changed@7 on_hand"),
        ("changed(new['a b'])", "changed@7 a b"),
        ("!gift", "(!@0 row.gift@1)"),
        ("status in ['A', 'B']", "(in@7 row.status@0 [String(\"A\"), String(\"B\")])"),
        (
            "a == 1 || b < 2.0 && c != null",
            "(||@7 (Equal@2 row.a@0 Int(1)) (&&@18 (Less@12 row.b@10 Double(2.0)) (NotEqual@23 row.c@21 Null)))",
        ),
    ];
    for (text, expected) in cases {
        match parse(text) {
            Ok(node) => assert_eq!(shape(&node), expected, "{text}"),
            Err(faults) => assert_eq!(faults, expected, "{text}"),
        }
    }
}

#[test]
fn faults_point_at_what_is_wrong() {
    let cases = [
        ("'ä' == x.y.z", 16, "a column is written as name, old.name, new.name or new['odd name']"),
        ("(x +", 13, "malformed expression: unexpected end"),
        ("'EUR", 9, "malformed expression: cannot read ''EUR'"),
        ("a = 3", 11, "malformed expression: cannot read '= '"),
        (
            "namespace == 1",
            9,
            "malformed expression: `namespace` is a reserved word; a column of that name is new['namespace']",
        ),
        ("has(new.x)", 13, "a column is written as name, old.name, new.name or new['odd name']"),
        ("a.all(x, x > 1)", 14, "not supported yet; there are comparisons, &&, ||, !, in, null and changed(column)"),
        ("f(x)", 10, "no function `f`; there is changed(column)"),
        (
            "x - y == 1",
            11,
            "computed values are not supported yet; a column with a dash in its name is new['order-note']",
        ),
        ("a ? b : c", 11, "computed values are not supported yet"),
        ("[1]", 9, "a list stands only behind `in`"),
        ("a in b", 14, "behind `in` stands a list of constants: status in ['A', 'B']"),
        ("a in [b]", 15, "a list has constants only; text stands in quotes: 'EUR'"),
        ("changed(1)", 17, "changed() takes a column by its name: changed(status)"),
        ("new", 9, "`new` is a whole row; name a column of it: new.status"),
        ("5u", 9, "constants are null, true, false, numbers without a suffix, and text in quotes"),
        ("x[1]", 9, "a column is written as name, old.name, new.name or new['odd name']"),
    ];
    for (text, column, message) in cases {
        let expected = format!("oms.toml:7:{column}: {message}\n    {text}\n    {:>width$}", "^", width = column - 8);
        assert_eq!(parse(text).unwrap_err(), expected);
    }
}

#[test]
fn all_faults_of_an_expression_are_found_also_on_later_lines() {
    assert_eq!(
        parse("a == 5u &&\n  f(b)").unwrap_err(),
        "oms.toml:7:14: constants are null, true, false, numbers without a suffix, and text in quotes\n    a == 5u &&\n         ^\n\
         oms.toml:8:4: no function `f`; there is changed(column)\n      f(b)\n       ^"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c .'\"()\\[\\]=<>!&|?:{}+*,0-9ä\n-]{0,40}") {
        drop(parse(&text));
    }
}
