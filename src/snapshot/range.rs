//! A range of a table's keys, and the chain that the ranges of a table form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Ordinal;
use super::record::{RangeRecord, ReadRecord, unreadable};
use super::visibility::PgSnapshot;
use crate::error::Result;
use crate::model::Lsn;

/// The distance of the ordinals of ranges that follow each other; a range can be split as often as it can be halved.
pub(super) const ORDINAL_STEP: u64 = 1 << 32;
/// Keys that a chunk leaves out may take so many bytes; then it is thrown away, to be read again smaller.
pub(super) const LEFT_OUT_BYTES_MAX: usize = 4 << 20;
/// What a key costs beside its bytes, roughly.
const KEY_OVERHEAD_BYTES: usize = 48;

/// Where a range begins (inclusive) or ends (exclusive): a text for each column of the key, as Postgres spells it.
/// Bounds are never compared here but for equality with themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bound(pub Vec<String>);

/// The ranges of a table by ordinal. Of one leaf each begins where the one before ends, the first has no lower, the last no
/// upper bound; so it is with all ranges of a table that is not divided.
pub(super) type Chain = BTreeMap<Ordinal, Range>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) lower: Option<Bound>,
    pub(super) upper: Option<Bound>,
    /// The chain's version when this range lost a part or was made: keys located before may lie elsewhere.
    pub(super) since: u64,
    /// Transactions that a snapshot of it must see.
    pub(super) unseen: BTreeSet<u64>,
    /// Rows that were published.
    pub(super) rows: u64,
    pub(super) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Pending {
        /// A worker has it.
        taken: bool,
    },
    Reading(Reading),
    Done {
        /// None once it is forgotten: every change that still comes is younger.
        read: Option<ReadRecord>,
    },
}

/// A range whose snapshot was accepted, and whose rows are not published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reading {
    pub(super) snapshot: Arc<PgSnapshot>,
    pub(super) filenode: u32,
    /// The end of the log after the snapshot was taken; known once the rows are read.
    pub(super) lsn: Option<Lsn>,
    /// The server has flushed its log up to here, as the connection that took the snapshot says.
    pub(super) flushed: Lsn,
    /// The stream waits for it.
    pub(super) held: bool,
    pub(super) left_out: LeftOut,
    pub(super) left_out_bytes: usize,
}

/// Which rows of a chunk are not published, since later changes of them are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// Those with these keys, in the spelling that `judge` was given.
    Keys(BTreeSet<Box<[u8]>>),
    /// All: the table was truncated.
    Every,
}

impl Range {
    pub(super) fn pending(lower: Option<Bound>, upper: Option<Bound>, since: u64) -> Range {
        Range { lower, upper, since, unseen: BTreeSet::new(), rows: 0, phase: Phase::Pending { taken: false } }
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        match &self.phase {
            Phase::Reading(reading) => Some(reading),
            Phase::Pending { .. } | Phase::Done { .. } => None,
        }
    }

    /// Nobody reads it yet.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Pending { taken: false }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }

    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self.phase, Phase::Done { read: None })
    }

    /// The position at which its snapshot is forgotten.
    pub(super) fn forget_at(&self) -> Option<Lsn> {
        match &self.phase {
            Phase::Done { read: Some(read) } => Some(read.lsn),
            _ => None,
        }
    }

    pub(super) fn record(&self) -> RangeRecord {
        let read = match &self.phase {
            Phase::Done { read } => read.clone(),
            Phase::Pending { .. } | Phase::Reading(_) => None,
        };
        let (lower, upper) = (self.lower.clone(), self.upper.clone());
        RangeRecord { version: RangeRecord::VERSION, lower, upper, rows: self.rows, read }
    }

    fn done(record: RangeRecord) -> Range {
        let RangeRecord { lower, upper, rows, read, .. } = record;
        Range { rows, phase: Phase::Done { read }, ..Range::pending(lower, upper, 0) }
    }
}

impl Reading {
    pub(super) fn new(snapshot: Arc<PgSnapshot>, filenode: u32) -> Reading {
        let left_out = LeftOut::Keys(BTreeSet::new());
        Reading { snapshot, filenode, lsn: None, flushed: Lsn::default(), held: false, left_out, left_out_bytes: 0 }
    }

    /// The row with this key is not to be published.
    pub(super) fn leave_out(&mut self, key: &[u8]) {
        if let LeftOut::Keys(keys) = &mut self.left_out
            && self.left_out_bytes <= LEFT_OUT_BYTES_MAX
            && keys.insert(key.into())
        {
            self.left_out_bytes += key.len() + KEY_OVERHEAD_BYTES;
        }
    }

    pub(super) fn leaves_out_too_many(&self) -> bool {
        self.left_out_bytes > LEFT_OUT_BYTES_MAX
    }
}

/// One pending range of a leaf, or a table: nothing is read.
pub(super) fn whole(leaf: u32, since: u64) -> (Ordinal, Range) {
    (Ordinal { leaf, nth: ORDINAL_STEP }, Range::pending(None, None, since))
}

/// The ranges of a leaf of which these are done and what lies between them is pending.
pub(super) fn restore(table: &str, leaf: u32, done: BTreeMap<u64, RangeRecord>) -> Result<Chain> {
    let mut chain = Chain::new();
    let of_leaf = |nth| Ordinal { leaf, nth };
    // Where the next range begins: None is behind the last one.
    let (mut at, mut last) = (Some(None), 0);
    for (ordinal, record) in done {
        let Some(lower) = at else {
            return Err(unreadable(table, &format!("range {ordinal} behind the end of the table")));
        };
        if record.lower != lower {
            let between = last + (ordinal - last) / 2;
            if between == last || record.lower.is_none() {
                return Err(unreadable(table, &format!("range {ordinal}, which does not fit the one before")));
            }
            chain.insert(of_leaf(between), Range::pending(lower, record.lower.clone(), 0));
        }
        at = record.upper.clone().map(Some);
        last = ordinal;
        chain.insert(of_leaf(ordinal), Range::done(record));
    }
    if let Some(lower) = at {
        chain.insert(of_leaf(last + ORDINAL_STEP), Range::pending(lower, None, 0));
    }
    Ok(chain)
}

/// Cuts the range in two at `upper`; the upper part is pending and knows what the whole knew. False where ordinals have
/// run out, and the range stays whole.
pub(super) fn split(chain: &mut Chain, ordinal: Ordinal, upper: Bound, version: u64) -> bool {
    let Ordinal { leaf, nth } = ordinal;
    let behind = Ordinal { leaf, nth: nth + 1 }..=Ordinal { leaf, nth: u64::MAX };
    let next = chain.range(behind).next().map(|(next, _)| next.nth);
    let rest = Ordinal { leaf, nth: next.map_or(nth + ORDINAL_STEP, |next| nth + (next - nth) / 2) };
    let Some(range) = chain.get_mut(&ordinal).filter(|_| rest > ordinal) else { return false };
    let end = range.upper.replace(upper.clone());
    range.since = version;
    let unseen = range.unseen.clone();
    chain.insert(rest, Range { unseen, ..Range::pending(Some(upper), end, version) });
    true
}

/// Joins forgotten ranges that follow each other; answers the ordinals that are gone and those that have grown.
pub(super) fn merge(chain: &mut Chain) -> (Vec<Ordinal>, BTreeSet<Ordinal>) {
    let (mut gone, mut grown) = (Vec::new(), BTreeSet::new());
    let mut before: Option<Ordinal> = None;
    let ordinals: Vec<Ordinal> = chain.keys().copied().collect();
    for ordinal in ordinals {
        if !chain.get(&ordinal).is_some_and(Range::is_forgotten) {
            before = None;
            continue;
        }
        let Some(first) = before.filter(|first| first.leaf == ordinal.leaf) else {
            before = Some(ordinal);
            continue;
        };
        let joined = chain.remove(&ordinal);
        if let (Some(range), Some(joined)) = (chain.get_mut(&first), joined) {
            range.upper = joined.upper;
            range.rows = range.rows.saturating_add(joined.rows);
        }
        gone.push(ordinal);
        grown.insert(first);
    }
    (gone, grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(text: &str) -> Option<Bound> {
        Some(Bound(vec![text.to_owned()]))
    }

    fn extents(chain: &Chain) -> Vec<(Option<Bound>, Option<Bound>, bool)> {
        chain.values().map(|range| (range.lower.clone(), range.upper.clone(), range.is_done())).collect()
    }

    fn done(lower: Option<Bound>, upper: Option<Bound>) -> RangeRecord {
        RangeRecord { version: 1, lower, upper, rows: 3, read: None }
    }

    #[test]
    fn what_has_no_record_is_pending() {
        let none = restore("t", 3, BTreeMap::new()).unwrap();
        assert_eq!(none, Chain::from([whole(3, 0)]));
        let records = BTreeMap::from([(5, done(bound("b"), bound("c"))), (9, done(bound("d"), bound("e")))]);
        let chain = restore("t", 0, records).unwrap();
        let expected = [
            (None, bound("b"), false),
            (bound("b"), bound("c"), true),
            (bound("c"), bound("d"), false),
            (bound("d"), bound("e"), true),
            (bound("e"), None, false),
        ];
        assert_eq!(extents(&chain), expected);
        let all = restore("t", 0, BTreeMap::from([(5, done(None, bound("c"))), (6, done(bound("c"), None))])).unwrap();
        assert!(all.values().all(Range::is_done));
    }

    #[test]
    fn ranges_that_form_no_chain_are_refused() {
        for records in [
            BTreeMap::from([(5, done(None, None)), (6, done(bound("c"), None))]),
            BTreeMap::from([(5, done(None, bound("b"))), (6, done(bound("c"), None))]),
            BTreeMap::from([(5, done(None, bound("b"))), (60, done(None, None))]),
        ] {
            assert!(restore("t", 0, records).is_err());
        }
    }

    #[test]
    fn a_range_splits_until_its_ordinals_run_out() {
        // Another leaf's ranges stand behind.
        let mut chain = Chain::from([whole(1, 0), whole(2, 0)]);
        let first = Ordinal { leaf: 1, nth: ORDINAL_STEP };
        assert!(split(&mut chain, first, Bound(vec!["m".to_owned()]), 1));
        let mut halvings = 0;
        while split(&mut chain, first, Bound(vec![format!("{halvings}")]), 2) {
            halvings += 1;
        }
        assert_eq!((halvings, chain.pop_last().map(|(last, _)| last.leaf)), (32, Some(2)));
        let uppers: Vec<_> = chain.values().map(|range| range.upper.clone()).collect();
        let lowers: Vec<_> = chain.values().skip(1).map(|range| range.lower.clone()).collect();
        assert_eq!(uppers[..uppers.len() - 1], lowers);
    }

    #[test]
    fn forgotten_neighbours_become_one() {
        let records = [(10, None, bound("b")), (20, bound("b"), bound("c")), (30, bound("c"), bound("d"))];
        let records = records.into_iter().map(|(ordinal, lower, upper)| (ordinal, done(lower, upper)));
        let mut chain = restore("t", 1, records.collect()).unwrap();
        chain.extend(restore("t", 2, BTreeMap::from([(5, done(None, None))])).unwrap());
        chain.extend(restore("t", 3, BTreeMap::from([(5, done(None, None))])).unwrap());
        let of_first = |nth| Ordinal { leaf: 1, nth };
        assert_eq!(merge(&mut chain), (vec![of_first(20), of_first(30)], BTreeSet::from([of_first(10)])));
        let others = chain.split_off(&Ordinal { leaf: 2, nth: 0 });
        assert_eq!(extents(&others), [(None, None, true), (None, None, true)]);
        assert_eq!(extents(&chain), [(None, bound("d"), true), (bound("d"), None, false)]);
        assert_eq!(chain.first_key_value().map(|(_, range)| range.rows), Some(9));
        assert_eq!(merge(&mut chain), (vec![], BTreeSet::new()));
    }
}
