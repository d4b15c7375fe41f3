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
    leaves: false,
    begins: false,
    slot_later: false,
    large: false,
    limits: Limits { crashes: 0, power_cuts: 0, failures: 0, pauses: 0, cancels: 0 },
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
        histories(plain.base, transactions).into_iter().map(move |script| Scope { variant, script, ..plain.clone() })
    });
    scopes.collect()
}

fn limits(crashes: u8, power_cuts: u8, failures: u8, pauses: u8) -> Limits {
    Limits { crashes, power_cuts, failures, pauses, cancels: 0 }
}

const CANCEL: Limits = Limits { crashes: 1, power_cuts: 0, failures: 0, pauses: 0, cancels: 1 };

/// Some seconds.
pub(super) fn small() -> Groups {
    let one = |base, limits| both(&Scope { base, limits, ..PLAIN }, 1);
    vec![
        ("one transaction", one(A, limits(1, 1, 0, 0))),
        ("one transaction, two workers", both(&Scope { workers: 2, limits: limits(0, 0, 1, 0), ..PLAIN }, 1)),
        ("two workers, a power cut", both(&Scope { workers: 2, limits: limits(0, 1, 0, 0), ..PLAIN }, 1)),
        ("one transaction, empty table, a pause", one(EMPTY, limits(0, 0, 0, 1))),
        ("two transactions", both(&PLAIN, 2)),
        (
            "a slot made among them",
            both(&Scope { slot_later: true, begins: true, limits: limits(1, 0, 0, 0), ..PLAIN }, 1),
        ),
        ("one transaction, cancelled", both(&Scope { limits: CANCEL, ..PLAIN }, 1)),
        ("a large transaction", large_ones(limits(1, 0, 0, 0))),
        ("leaves, one transaction", one_of_leaves(limits(1, 1, 1, 0))),
        ("leaves, two transactions", both(&leaves(), 2)),
    ]
}

/// The second key's leaf is new.
fn leaves() -> Scope {
    Scope { leaves: true, ..PLAIN }
}

fn one_of_leaves(limits: Limits) -> Vec<Scope> {
    both(&Scope { limits, ..leaves() }, 1)
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
        ("three transactions", three()),
        ("two transactions, cancelled", both(&Scope { limits: Limits { crashes: 0, ..CANCEL }, ..PLAIN }, 2)),
        ("large transactions, cancelled", large_ones(CANCEL)),
        ("large transactions", large_ones(limits(1, 1, 1, 0))),
        ("leaves, a crash", both(&Scope { limits: limits(1, 0, 0, 0), ..leaves() }, 2)),
        ("leaves, a power cut", both(&Scope { limits: limits(0, 1, 0, 0), ..leaves() }, 2)),
        ("leaves, two workers, cancelled", both(&Scope { workers: 2, limits: CANCEL, ..leaves() }, 1)),
    ]
}

/// Histories of three, each with a reason to go wrong.
fn three() -> Vec<Scope> {
    let scripts: [[&[Op]; 3]; 8] = [
        [&[Put(0)], &[Put(1)], &[Put(0), Put(1)]],
        [&[Move(0, 1)], &[Put(0)], &[Delete(1)]],
        [&[Put(0)], &[Delete(0)], &[Put(0)]],
        [&[Put(1)], &[Truncate], &[Put(0)]],
        [&[Truncate], &[Put(1)], &[Truncate]],
        [&[Rewrite], &[Put(1)], &[Truncate]],
        [&[Move(0, 2)], &[Put(1)], &[Move(2, 0)]],
        [&[Put(1)], &[Put(2)], &[Put(0)]],
    ];
    let variants = [Variant::Initial, Variant::Backfill];
    let scope = |variant| {
        scripts.map(|script| {
            let script = script.map(<[Op]>::to_vec).to_vec();
            Scope { variant, keys: 3, script, ..PLAIN }
        })
    };
    variants.into_iter().flat_map(scope).collect()
}

/// Where a mistake must show: the smallest scope.
pub(super) fn for_flaw(flaw: Flaw) -> Scope {
    let plain = Scope { flaw: Some(flaw), script: vec![vec![Put(0)]], ..PLAIN };
    let ddl = Scope { script: vec![vec![Truncate]], ..plain };
    let backfill = Scope { variant: Variant::Backfill, ..plain.clone() };
    let slot = Scope { slot_later: true, begins: true, ..plain.clone() };
    match flaw {
        Flaw::ChecksNothingInProgress
        | Flaw::DecidesByPosition
        | Flaw::PublishesPending
        | Flaw::HoldsNothing
        | Flaw::ForgetsEarly
        | Flaw::AcceptsStale => plain,
        Flaw::ForgetsUnseen | Flaw::ProgressApart | Flaw::ForgetsApart => Scope { limits: limits(1, 0, 0, 0), ..plain },
        Flaw::WaitsForNoFlush | Flaw::AsksAnotherServer => Scope { limits: limits(0, 1, 0, 0), ..plain },
        Flaw::VouchesForOthers => Scope { workers: 2, limits: limits(0, 1, 0, 0), ..plain },
        Flaw::TakesNoX0 => slot,
        Flaw::KeepsLostX0 => Scope { limits: limits(0, 1, 0, 0), ..slot },
        Flaw::TakesNoLock | Flaw::IgnoresTheFilenode => ddl,
        Flaw::FailureForgets => Scope { limits: limits(0, 0, 1, 0), ..backfill },
        Flaw::LeavesNothingOut | Flaw::WaitsForNoStream => backfill,
        Flaw::WaitsForEachOther => Scope { script: vec![vec![Truncate], vec![Put(1)]], ..plain },
        Flaw::ListsTooEarly => Scope { leaves: true, script: vec![vec![Put(1)]], ..plain },
        Flaw::ForgetsTheList => Scope { leaves: true, ..ddl },
        Flaw::ListsUnflushed => {
            let script = vec![vec![Put(0)], vec![Put(1)]];
            Scope { leaves: true, script, limits: limits(0, 1, 0, 0), ..plain }
        }
        Flaw::SplitForgets => Scope { workers: 2, script: vec![vec![Put(1)]], ..plain },
    }
}
