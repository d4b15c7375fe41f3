//! Any bytes where a peer's, Kafka's or a person's are expected: what the fuzz targets (`fuzz/`) do with an input, and the
//! property tests beside this file with a damaged one of their seeds. The answer is a value or an error that says whose
//! fault it is; a panic, or an error of another kind, is found. In no build but those.
#![allow(clippy::missing_panics_doc, reason = "that is how it tells")]

mod files;
#[cfg(test)]
mod tests;

pub use files::Files;

use std::collections::BTreeMap;

use crate::checkpoint::judge::{Facts, judge};
use crate::checkpoint::record::{CHECKPOINT, Checkpoint, State};
use crate::connector::{Expression, Place};
use crate::decode::CopyRows;
use crate::error::{Error, Kind, Result};
use crate::model::{Datum, Lsn, SlotKind};
use crate::snapshot::Snapshot;
use crate::source;

/// Kinds of what a server may be told that has said nonsense, or refuses, in any words.
fn is_the_servers(error: &Error) -> bool {
    let facts_of_files = [Kind::Bug, Kind::Configuration, Kind::ReferenceUnreadable, Kind::CheckpointUnreadable];
    !facts_of_files.contains(&error.kind())
}

/// A server, from the login on: the first byte is the length of the pieces that it is read in, the rest is what it says.
pub fn wire(input: &[u8]) {
    let Some((cut, said)) = input.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    if let Err(error) = source::hostile::replication(said, cut) {
        assert!(is_the_servers(&error), "{}", error.chain());
    }
    source::hostile::sql(said, cut);
    source::hostile::documents(said);
}

/// Rows of a chunk: the first two bytes are the columns' number and which of them are text, the rest is the COPY.
pub fn copy(input: &[u8]) {
    let Some(([number, text], bytes)) = input.split_first_chunk() else { return };
    let kind = |column| if text >> column & 1 == 1 { SlotKind::Text } else { SlotKind::Binary };
    let columns: Vec<SlotKind> = (0..number % 8).map(kind).collect();
    let read = || -> Result<usize> {
        let (mut rows, mut read) = (CopyRows::new(bytes, &columns)?, 0);
        while let Some(row) = rows.next_row()? {
            let sizes = (0..row.len()).map(|column| match row.get(column) {
                Datum::Text(value) | Datum::Binary(value) => value.len(),
                _ => 0,
            });
            read += sizes.sum::<usize>();
        }
        Ok(read)
    };
    match read() {
        Ok(read) => assert!(read <= bytes.len(), "rows have more bytes than the COPY"),
        Err(error) => assert_eq!(error.kind(), Kind::Protocol, "{}", error.chain()),
    }
}

/// Text of an expression.
pub fn expression(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Expression::parse(&text, Place::default()) {
        Ok(expression) => drop(format!("{expression:?} {:?}", expression.columns())),
        Err(faults) => assert!(!faults.is_empty() && !faults.to_string().is_empty()),
    }
}

/// Records of a checkpoint topic, one a line: a key, a tab and the value; nothing behind the tab is a tombstone. They are
/// read, judged at a start, and what of them is written again says the same.
pub fn checkpoint(input: &[u8]) {
    match start(input) {
        Err(error) if error.kind() == Kind::CheckpointUnreadable => {}
        Err(error) => panic!("{}", error.chain()),
        Ok(state) => {
            let Some(checkpoint) = state.checkpoint else { return };
            let mut again = State::default();
            again.apply(Some(CHECKPOINT.as_bytes()), checkpoint.to_json().ok().as_deref(), 0).ok();
            let version = again.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.version);
            assert_eq!(again.checkpoint, Some(Checkpoint { version, ..checkpoint }));
        }
    }
}

fn start(input: &[u8]) -> Result<State> {
    let mut state = State::default();
    for (line, offset) in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).zip(0..) {
        let mut parts = line.splitn(2, |byte| *byte == b'\t');
        let (key, value) = (parts.next(), parts.next().filter(|value| !value.is_empty()));
        state.apply(key, value, offset)?;
    }
    let unseen = state.checkpoint.as_ref().and_then(|checkpoint| checkpoint.unseen.clone()).unwrap_or_default();
    let next_lsn = state.checkpoint.as_ref().map_or(Lsn(0), |checkpoint| checkpoint.next_lsn);
    let records = || state.progress.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    let snapshot = Snapshot::load(records(), &unseen, next_lsn, 0)?;
    exercise(snapshot)?;
    let read_lsn = Snapshot::load(records(), &BTreeMap::new(), Lsn(0), 0)?.remembered_max();
    let facts = Facts {
        slot_name: "s",
        slot: None,
        checkpoint: state.checkpoint.as_ref(),
        intent: state.intent.as_ref(),
        system_identifier: "7",
        timeline: 2,
        flush_lsn: Lsn(1 << 32),
        history: &[],
        adopt_slot: false,
        read_lsn,
    };
    // Any verdict is one.
    drop(judge(&facts));
    Ok(state)
}

/// What a session does first with snapshots that it has found.
fn exercise(mut snapshot: Snapshot) -> Result<()> {
    let tables: Vec<usize> = snapshot.names().map(|(table, _)| table).collect();
    for table in tables {
        drop((snapshot.state(table), snapshot.rows(table), snapshot.bounds(table), snapshot.unseen()));
        snapshot.begin(7);
        snapshot.next_chunk();
        snapshot.truncate(table);
        snapshot.advance(Lsn(u64::MAX))?;
        snapshot.cancel(table)?;
    }
    Ok(())
}
