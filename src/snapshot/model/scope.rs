//! Which histories are explored.

use super::flaw::Flaw;
use super::postgres::Op::{self, Delete, Move, Put, Rewrite, Truncate};
use super::postgres::{KEYS, Rows};
use super::world::{Limits, Scope};
use crate::snapshot::Variant;

/// Named groups of scopes.
pub(super) type Groups = Vec<(&'static str, Vec<Scope>)>;

const A: Rows = [Some(1), None, None];
const AB: Rows = [Some(1), Some(2), None];
const EMPTY: Rows = [None; KEYS];

const PLAIN: Scope = Scope {
    variant: Variant::Initial,
    base: A,
    keys: 2,
    script: Vec::new(),
    workers: 1,
    split: true,
    begins: false,
    slot_later: false,
    large: false,
    limits: Limits { crashes: 0, power_cuts: 0, failures: 0, pauses: 0 },
    flaw: None,
};

/// What a transaction may do, in histories of a few.
fn menu() -> Vec<Vec<Op>> {
    vec![
        vec![Put(0)],
        vec![Delete(0)],
        vec![Put(1)],
        vec![Put(0), Put(1)],
        vec![Move(0, 1)],
        vec![Move(1, 0)],
        vec![Truncate],
        vec![Truncate, Put(1)],
        vec![Rewrite],
    ]
}

/// All histories of so many transactions in which each statement finds what it needs.
fn histories(base: Rows, transactions: usize) -> Vec<Vec<Vec<Op>>> {
    let mut all: Vec<(Vec<Vec<Op>>, Rows)> = vec![(Vec::new(), base)];
    for _ in 0..transactions {
        let longer = all.iter().flat_map(|(script, rows)| {
            menu().into_iter().filter_map(move |ops| {
                let mut rows = *rows;
                for op in &ops {
                    let fits = match *op {
                        Delete(key) => rows[key].is_some(),
                        Move(from, to) => rows[from].is_some() && rows[to].is_none(),
                        Put(_) | Truncate | Rewrite => true,
                    };
                    if !fits {
                        return None;
                    }
                    op.apply(&mut rows, 9);
                }
                let mut script = script.clone();
                script.push(ops);
                Some((script, rows))
            })
        });
        all = longer.collect();
    }
    all.into_iter().map(|(script, _)| script).collect()
}

/// All histories of so many transactions, in both variants.
fn both(plain: &Scope, transactions: usize) -> Vec<Scope> {
    let variants = [Variant::Initial, Variant::Backfill];
    let scopes = variants.into_iter().flat_map(|variant| {
        histories(plain.base, transactions)
            .into_iter()
            .map(move |script| Scope { variant, script, ..plain.clone() })
    });
    scopes.collect()
}

fn limits(crashes: u8, power_cuts: u8, failures: u8, pauses: u8) -> Limits {
    Limits { crashes, power_cuts, failures, pauses }
}

/// Some seconds.
pub(super) fn small() -> Groups {
    let one = |base, limits| both(&Scope { base, limits, ..PLAIN }, 1);
    vec![
        ("one transaction", one(A, limits(1, 1, 0, 0))),
        ("one transaction, two workers", both(&Scope { workers: 2, limits: limits(0, 0, 1, 0), ..PLAIN }, 1)),
        ("one transaction, empty table", one(EMPTY, limits(1, 0, 0, 1))),
        ("two transactions", both(&PLAIN, 2)),
        ("a slot made among them", both(&Scope { slot_later: true, begins: true, limits: limits(1, 0, 0, 0), ..PLAIN }, 1)),
        ("a large transaction", large_ones(limits(1, 0, 0, 0))),
    ]
}

fn large_ones(limits: Limits) -> Vec<Scope> {
    let scripts: [Vec<Vec<Op>>; 3] = [
        vec![vec![Put(0), Put(1), Delete(0)]],
        vec![vec![Truncate, Put(1)], vec![Put(1), Put(0)]],
        vec![vec![Move(0, 1), Move(1, 0)]],
    ];
    let variants = [Variant::Initial, Variant::Backfill];
    let scope = |variant| scripts.clone().map(move |script| Scope { variant, script, large: true, limits, ..PLAIN });
    variants.into_iter().flat_map(scope).collect()
}

/// Minutes.
pub(super) fn large() -> Groups {
    vec![
        ("two transactions, a crash", both(&Scope { limits: limits(1, 0, 0, 0), ..PLAIN }, 2)),
        ("two transactions, a power cut", both(&Scope { limits: limits(0, 1, 0, 0), ..PLAIN }, 2)),
        ("two transactions, a failure", both(&Scope { limits: limits(0, 0, 1, 0), base: AB, ..PLAIN }, 2)),
        ("two transactions, two workers", both(&Scope { workers: 2, ..PLAIN }, 2)),
        ("a slot made among two", both(&Scope { slot_later: true, begins: true, ..PLAIN }, 2)),
        ("one chunk", both(&Scope { split: false, limits: limits(1, 0, 0, 0), ..PLAIN }, 2)),
        ("three transactions", both(&PLAIN, 3)),
        ("large transactions", large_ones(limits(1, 1, 1, 0))),
    ]
}

/// Where a mistake must show, the smallest scope first.
pub(super) fn for_flaw(flaw: Flaw) -> Vec<Scope> {
    let plain = Scope { flaw: Some(flaw), ..PLAIN };
    let mut scopes = both(&Scope { limits: limits(1, 1, 1, 0), ..plain.clone() }, 1);
    scopes.extend(both(&Scope { slot_later: true, begins: true, limits: limits(0, 1, 0, 0), ..plain.clone() }, 1));
    scopes.extend(both(&Scope { workers: 2, limits: limits(0, 0, 1, 0), ..plain.clone() }, 1));
    scopes.extend(both(&plain, 2));
    scopes.extend(both(&Scope { limits: limits(0, 1, 0, 0), ..plain.clone() }, 2));
    scopes
}
