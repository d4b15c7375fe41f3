//! What a real server sent for the transactions that the SQL at the end of this file makes.

use super::*;
use crate::model::{Lsn, Operation, ReplicaIdentity};

const BINARY: &str = include_str!("pg15_binary.txt");
const TEXT: &str = include_str!("pg15_text.txt");

/// The messages of a captured file.
pub(super) fn messages(file: &str) -> Vec<Vec<u8>> {
    file.lines().filter(|line| !line.starts_with('#')).map(bytes).collect()
}

/// The two captured files' messages.
pub(super) fn all() -> Vec<Vec<u8>> {
    [messages(BINARY), messages(TEXT)].concat()
}

fn bytes(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in line.split(['(', ')']) {
        match part.split_once('x') {
            Some((byte, times)) => {
                let byte = u8::from_str_radix(byte, 16).unwrap();
                bytes.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
            }
            None => bytes.extend((0..part.len()).step_by(2).map(|i| u8::from_str_radix(&part[i..i + 2], 16).unwrap())),
        }
    }
    bytes
}

/// A message on one line; long values shortened.
fn line(decoder: &mut Decoder, bytes: &[u8]) -> String {
    let show = |row: Option<Row<'_>>| {
        let Some(row) = row else { return "-".to_owned() };
        let datum = |column| match row.get(column) {
            Datum::Null => "null".to_owned(),
            Datum::Unchanged => "unchanged".to_owned(),
            Datum::Absent => "absent".to_owned(),
            Datum::Text(value) if value.len() > 100 => format!("{}*{}", char::from(value[0]), value.len()),
            Datum::Text(value) => format!("'{}'", str::from_utf8(value).unwrap()),
            Datum::Binary(value) if value.len() > 100 => format!("{}*{}", char::from(value[0]), value.len()),
            Datum::Binary(value) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let data: Vec<_> = (0..row.len()).map(datum).collect();
        format!("({})", data.join(" "))
    };
    match decoder.decode(bytes).unwrap() {
        Message::Begin { final_lsn, xid, .. } => format!("begin {final_lsn} {xid}"),
        Message::Commit { commit_lsn, end_lsn, .. } => format!("commit {commit_lsn} {end_lsn}"),
        Message::Row { relation, change } => {
            format!("{} {relation} {} {}", change.operation.name(), show(change.old), show(change.new))
        }
        other => format!("{other:?}"),
    }
}

fn lines(file: &str) -> Vec<String> {
    let mut decoder = Decoder::new();
    messages(file).iter().map(|bytes| line(&mut decoder, bytes)).collect()
}

#[test]
fn the_fuzz_target_starts_from_these_messages() {
    let seeds: [(&str, &[u8]); 2] = [
        (BINARY, include_bytes!("../../../fuzz/seeds/pgoutput/binary")),
        (TEXT, include_bytes!("../../../fuzz/seeds/pgoutput/text")),
    ];
    for (file, seed) in seeds {
        // Its input: each message behind its length.
        let framed = |body: Vec<u8>| [&u16::try_from(body.len()).unwrap().to_be_bytes(), &*body].concat();
        assert!(messages(file).into_iter().flat_map(framed).eq(seed.iter().copied()));
    }
}

#[test]
fn binary_rows_of_a_real_server() {
    let id = |id: u32| format!("{id:08x}");
    let rest = "01 0002b58341728614 00112233445566778899aabbccddeeff";
    let (total, new, paid) = ("000200000000000200132328", "4e4557", "50414944");
    let expected = [
        "begin 0/192C340 733".to_owned(),
        "Type".to_owned(),
        "Relation { index: 0 }".to_owned(),
        format!("insert 0 - ({} 416461 {total} {new} x*3000 {rest})", id(1)),
        format!("update 0 - ({} 416461 {total} {paid} unchanged {rest})", id(1)),
        format!(
            "update 0 ({} absent absent absent absent absent absent absent) ({} 416461 {total} {paid} unchanged {rest})",
            id(1),
            id(2)
        ),
        format!("delete 0 ({} absent absent absent absent absent absent absent) -", id(2)),
    ];
    assert_eq!(lines(BINARY)[..7], expected);
}

#[test]
fn text_rows_of_a_real_server() {
    let rest = "'t' '2024-02-29 12:34:56.789012+00' '00112233-4455-6677-8899-aabbccddeeff'";
    let expected = [
        format!("insert 0 - ('1' 'Ada' '19.90' 'NEW' x*3000 {rest})"),
        format!("update 0 - ('1' 'Ada' '19.90' 'PAID' unchanged {rest})"),
    ];
    assert_eq!(lines(TEXT)[3..5], expected);
}

#[test]
fn under_full_the_old_row_has_the_value_that_the_new_one_leaves_out() {
    assert_eq!(
        lines(TEXT)[10..16],
        [
            "begin 0/192EA80 734".to_owned(),
            "Relation { index: 1 }".to_owned(),
            "insert 1 - ('5' y*3000 '{\"a\": 1}')".to_owned(),
            "update 1 ('5' y*3000 '{\"a\": 1}') ('6' unchanged '{\"a\": 1}')".to_owned(),
            "delete 1 ('6' y*3000 '{\"a\": 1}') -".to_owned(),
            "commit 0/192EA80 0/192EAB0".to_owned(),
        ]
    );
}

#[test]
fn relations_messages_and_truncates_of_a_real_server() {
    let mut decoder = Decoder::new();
    let (mut logical, mut truncated) = (Vec::new(), Vec::new());
    for bytes in messages(BINARY) {
        match decoder.decode(&bytes).unwrap() {
            Message::Logical { transactional, lsn, prefix, content } => {
                logical.push((transactional, lsn, prefix.to_vec(), content.to_vec()));
            }
            Message::Truncate { relations, cascade, restart_identity } => {
                truncated.push((relations.to_vec(), cascade, restart_identity));
            }
            Message::Row { change, .. } => assert_ne!(change.operation, Operation::Rekey, "that is map's judgement"),
            _ => {}
        }
    }
    assert_eq!(logical[0], (true, Lsn(0x192_C340), b"outbox".to_vec(), b"hello".to_vec()));
    assert_eq!(logical[1], (false, Lsn(0x192_C3B0), b"ping".to_vec(), b"\x00\xff".to_vec()));
    assert_eq!(truncated, [(vec![0, 1], true, true)]);
    let table = decoder.relation(0).unwrap();
    let identity: Vec<_> = table.columns.iter().map(|column| column.in_identity).collect();
    assert_eq!((table.name.to_string().as_str(), table.identity), ("public.t", ReplicaIdentity::Default));
    assert_eq!(identity, [true, false, false, false, false, false, false, false]);
    let kinds: Vec<_> = table.columns.iter().map(|column| column.kind.to_string()).collect();
    assert_eq!(kinds, ["integer", "text", "numeric(12,2)", "type 16386", "text", "boolean", "timestamptz", "uuid"]);
    let full = decoder.relation(1).unwrap();
    assert_eq!(full.identity, ReplicaIdentity::Full);
    assert!(full.columns.iter().all(|column| column.in_identity));
}

// create type status as enum ('NEW','PAID');
// create table t (id int4 primary key, name text, total numeric(12,2), st status, big text, ok bool, at timestamptz, u uuid);
// create table f (a int8, b text, c jsonb); alter table f replica identity full;
// (big and b with set storage external; a publication for all tables; a slot)
// begin;
// insert into t values (1,'Ada',19.90,'NEW',repeat('x',3000),true,'2024-02-29 12:34:56.789012+00','00112233-..-aabbccddeeff');
// update t set st='PAID' where id=1;
// update t set id=2 where id=1;
// delete from t where id=2;
// select pg_logical_emit_message(true,'outbox','hello');
// commit;
// select pg_logical_emit_message(false,'ping','\x00ff'::bytea);
// begin; insert into f values (5,repeat('y',3000),'{"a": 1}'); update f set a=6; delete from f; commit;
// begin; truncate t, f restart identity cascade; commit;
