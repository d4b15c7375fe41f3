//! Memory follows what is there and not what is claimed, and no depth of nesting runs the stack out (a test's thread has
//! 2 MiB of it, as a connector's).

use super::*;

/// What reading an input may take beside what it is long.
const CAP: u64 = 4 << 20;

/// Peak memory of `exercise`, and that it is no more than the cap and a multiple of the input.
fn capped(what: &str, input: &[u8], times: u64, exercise: impl FnOnce(&[u8])) {
    let counted = allocation_counter::measure(|| exercise(input));
    let cap = CAP + times * input.len() as u64;
    assert!(counted.bytes_max <= cap, "{what}: {} bytes for {} of input", counted.bytes_max, input.len());
}

/// Depths at which a parser that calls itself has run out of stack long ago.
const DEEP: usize = 100_000;

#[test]
fn rows_of_a_chunk() {
    let head = b"PGCOPY\n\xFF\r\n\0\0\0\0\0";
    let huge = i32::MAX.to_be_bytes();
    for claimed in [
        [&[1, 0], &head[..], &huge].concat(),
        [&[1, 0], &head[..], &[0; 4], &[0, 1], &huge].concat(),
        [&[1, 0], &head[..], &[0; 4], &[0xFF, 0xFE]].concat(),
    ] {
        capped("copy", &claimed, 0, copy);
    }
}

#[test]
fn a_servers_messages() {
    let [seed, _] = &seeds("wire")[..] else { panic!() };
    let huge = 0x3FFF_FFFF_u32.to_be_bytes();
    // Everything that begins at some message of a good connection, and then claims a gigabyte.
    for start in message_starts(seed) {
        for tag in *b"REDTdSN" {
            let claimed = [&seed[..start], &[tag], &huge, b"ab"].concat();
            capped("wire", &claimed, 0, wire);
        }
    }
}

/// Where messages of the seed begin.
fn message_starts(seed: &[u8]) -> Vec<usize> {
    let mut starts = vec![1];
    while let Some(length) = starts.last().and_then(|start| seed.get(start + 1..start + 5)) {
        let length = u32::from_be_bytes(length.try_into().unwrap());
        starts.push(starts.last().unwrap() + 1 + length as usize);
    }
    starts
}

#[test]
fn files_that_are_nested_deeply() {
    let (_folder, files) = files();
    let dotted = format!("a{}", ".a".repeat(DEEP));
    let deep = [
        format!("a = {}", "[".repeat(DEEP)),
        format!("a = {}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("a = {}", "{ a = ".repeat(DEEP)),
        format!("{dotted} = 1"),
        format!("[{dotted}]"),
        format!("[[{dotted}]]"),
        format!("a = {{ {dotted} = 1 }}"),
    ];
    for text in &deep {
        capped("connector", text.as_bytes(), 1000, |text| files.connector(text));
        capped("process", text.as_bytes(), 1000, |text| files.process(text));
    }
}

#[test]
fn expressions_that_are_nested_deeply() {
    for (part, end) in [
        ("(", ""),
        ("!", "a"),
        ("-", "1"),
        ("[", ""),
        ("a || ", "a"),
        ("a == ", "a"),
        ("a.", "a"),
        ("a[", "'a'"),
        ("f(", ""),
    ] {
        // As deep as an expression may be long, and deeper.
        for depth in [4090 / part.len(), DEEP] {
            let text = format!("{}{end}", part.repeat(depth));
            capped(part, text.as_bytes(), 1000, expression);
        }
    }
}

#[test]
fn contracts_that_are_nested_deeply() {
    let (_folder, files) = files();
    let record = |fields: &str| {
        format!(r#"{{ "type": "record", "name": "OrderPlaced", "namespace": "oms", "fields": [{fields}] }}"#)
    };
    let field = |kind: &str| record(&format!(r#"{{ "name": "f", "type": {kind} }}"#));
    let shared = |name: &str, kind: &str| format!(r#"{{ "name": "{name}", "namespace": "common", "type": {kind} }}"#);
    let deep = "{ \"type\": ".repeat(DEEP);
    let own = field(r#""common.A""#);
    for texts in [
        vec!["[".repeat(DEEP)],
        vec![field(&"[".repeat(DEEP))],
        vec![field(&deep)],
        // A shared type that is itself, or each other, or twice the other.
        vec![own.clone(), own.clone(), own.clone(), shared("A", r#""common.A""#)],
        vec![own.clone(), own.clone(), own.clone(), shared("A", r#""array", "items": "common.A""#)],
        vec![own.clone(), own.clone(), own, shared("A", r#""common.B""#), shared("B", r#"["common.A", "common.A"]"#)],
    ] {
        capped("contract", texts.join("\0").as_bytes(), 1000, |text| files.contract(text));
    }
}

#[test]
fn records_of_a_checkpoint_topic() {
    let deep = "[".repeat(DEEP);
    let long = "1,".repeat(400_000);
    for record in [
        format!("checkpoint\t{deep}"),
        format!("checkpoint\t{{\"version\":1,\"partitions\":{deep}"),
        format!("checkpoint\t{{\"version\":2,\"unseen\":{{\"t\":[{long}1]}}}}"),
        format!("checkpoint\t{{\"version\":3,\"acknowledged\":{{\"t\":[{long}1]}}}}"),
        format!("checkpoint\t{}", " ".repeat(2 << 20)),
        format!("progress/t/leaves\t{{\"version\":1,\"leaves\":{deep}"),
        format!("progress/t\t{deep}"),
    ] {
        capped("checkpoint", record.as_bytes(), 8, checkpoint);
    }
}
