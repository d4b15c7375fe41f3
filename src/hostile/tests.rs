//! The fuzz targets with every build: each seed as it is, and damaged.

use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

mod allocation;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// What becomes of a seed.
#[derive(Clone, Debug)]
enum Damage {
    /// Another byte stands there.
    Byte(Index, u8),
    /// A number that is the end of something: as many bytes become these.
    Number(Index, Vec<u8>),
    /// So many bytes are missing.
    Hole(Index, Index),
    /// It ends there.
    End(Index),
    /// What stands at the first place stands at the second one, too.
    Again(Index, Index, Index),
    /// A piece of the text becomes this.
    Text(Index, &'static str),
}

/// Pieces of the texts, and what does not belong there.
const TEXTS: &[&str] = &[
    "\0",
    "\n",
    "\t",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    "==",
    "||",
    "!",
    "null",
    "true",
    "-1",
    "0",
    "4294967296",
    "18446744073709551615",
    "FFFFFFFF/FFFFFFFF",
    "1e400",
    "\u{FFFD}",
    "\u{202E}",
    "\\u0000",
    "\\",
    "[[event]]\n",
    "on",
    "\"version\":3",
    "\"type\"",
    "common.A",
    "common.B",
    "common.EventMeta",
    "progress/",
    "checkpoint\t",
    ".",
    "/leaves",
];

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        any::<u16>().prop_map(|number| number.to_be_bytes().to_vec()),
        any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
        prop::sample::select(vec![0x7FFF_FFFF, 0x8000_0000, u32::MAX, 0, 3, 4, 65_535])
            .prop_map(|number| number.to_be_bytes().to_vec()),
        Just(u64::MAX.to_be_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<Index>(), number).prop_map(|(at, number)| Damage::Number(at, number)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, count)| Damage::Hole(at, count)),
        any::<Index>().prop_map(Damage::End),
        (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(a, b, c)| Damage::Again(a, b, c)),
        (any::<Index>(), prop::sample::select(TEXTS)).prop_map(|(at, text)| Damage::Text(at, text)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len() + 1;
        let piece = |at: &Index, count: usize| at.index(length)..(at.index(length) + count).min(length - 1);
        match damage {
            Damage::Byte(at, byte) => drop(bytes.splice(piece(at, 1), [*byte])),
            Damage::Number(at, number) => drop(bytes.splice(piece(at, number.len()), number.iter().copied())),
            Damage::Hole(at, count) => drop(bytes.drain(piece(at, count.index(64)))),
            Damage::End(at) => bytes.truncate(at.index(length)),
            Damage::Again(from, count, to) => {
                let copied = bytes[piece(from, count.index(256))].to_vec();
                drop(bytes.splice(piece(to, 0), copied));
            }
            Damage::Text(at, text) => drop(bytes.splice(piece(at, 1), text.bytes())),
        }
    }
    bytes
}

/// An input of the target: a seed with some damage.
fn inputs(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    (prop::sample::select(seeds(target)), prop::collection::vec(damage(), 0..6))
        .prop_map(|(seed, damages)| damaged(seed, &damages))
}

fn files() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    (folder, files)
}

/// That so many damaged seeds are taken or refused.
fn hold(target: &str, cases: u32, exercise: impl Fn(&[u8])) {
    seeds(target).iter().for_each(|seed| exercise(seed));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let held = runner.run(&inputs(target), |input| {
        exercise(&input);
        Ok(())
    });
    if let Err(error) = held {
        panic!("{target}: {error}");
    }
}

/// Faults PG-27.
#[test]
fn any_server_is_understood_or_refused() {
    hold("wire", 512, wire);
}

#[test]
fn any_rows_of_a_chunk_are_read_or_refused() {
    hold("copy", 4096, copy);
}

#[test]
fn any_records_of_a_checkpoint_topic_are_read_or_refused() {
    hold("checkpoint", 8192, checkpoint);
}

#[test]
fn any_expression_is_read_or_refused() {
    hold("expression", 4096, expression);
}

#[test]
fn any_connector_file_is_a_plan_or_has_faults() {
    let (_folder, files) = files();
    hold("connector", 512, |input| files.connector(input));
}

#[test]
fn any_process_file_is_read_or_has_faults() {
    let (_folder, files) = files();
    hold("process", 2048, |input| files.process(input));
}

#[test]
fn any_contracts_are_read_or_have_faults() {
    let (_folder, files) = files();
    hold("contract", 512, |input| files.contract(input));
}

/// Each number and each position of a good record, one after the other, is the largest that there is.
#[test]
fn numbers_at_their_end_are_numbers() {
    for seed in seeds("checkpoint") {
        let digits = |at: usize| seed.get(at).is_some_and(u8::is_ascii_hexdigit);
        for start in (0..seed.len()).filter(|at| digits(*at) && !at.checked_sub(1).is_some_and(digits)) {
            let end = (start..).find(|at| !digits(*at)).unwrap();
            for largest in ["18446744073709551615", "4294967295", "FFFFFFFF"] {
                let mut input = seed.clone();
                input.splice(start..end, largest.bytes());
                checkpoint(&input);
                // The other half of a position is as large.
                checkpoint(String::from_utf8_lossy(&input).replace("FFFFFFFF/", "FFFFFFFF/F").as_bytes());
            }
        }
    }
}

/// What the seeds are for: each of them gets to the end of what it is of.
#[test]
fn the_seeds_are_good() {
    let (_folder, files) = files();
    for seed in seeds("checkpoint") {
        assert!(start(&seed).is_ok_and(|state| state.checkpoint.is_some()));
    }
    let ended = source::hostile::replication(&seeds("wire")[0][1..], 64).unwrap_err();
    assert_eq!(ended.detail(), "the replication connection broke: the server closed the connection");
    assert!(seeds("connector").iter().chain(&seeds("process")).all(|seed| !seed.is_empty()));
    drop(files);
}
