//! The protocol under a deterministic scheduler: crash at every step, acknowledgements in any order, commits of unknown
//! outcome, coordinators that time out, processes that stall and wake up again.
//!
//! What runs is the product's own code: the assembler with decoder, ledger, map and encode, the committer, the steps of a
//! start, the start table, ownership and the supervisor's rules. Simulated is what they call (`recovery::World` and
//! `lane::Lane`): Kafka, Postgres, the clock. An instance is a coroutine; each of its calls is a point at which anybody else
//! may run, time may pass, or it may die. All is on one thread, so that a schedule is nothing but the answers to the
//! scheduler's questions (`choice`), and a seed or a list of answers replays it:
//!
//! ```text
//! SEED=7 SCHEDULES=1 cargo test --profile ci --lib simulation::random      one seed, told step by step if it fails
//! SEED=1 SCHEDULES=1000000 ...                                             as many as you like
//! DEVIATIONS=2 cargo test --profile ci --lib simulation::every_schedule_with_two -- --ignored
//! ```
//!
//! `check` says what must hold at every step and at the end, `flaw` which mistakes in the protocol must be found,
//! `found` what was found in the product. A failure is told with as few deviations as it takes; they go into `found`.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod actor;
mod check;
mod choice;
mod cluster;
mod fixture;
mod flaw;
mod found;
mod instance;
mod kafka;
mod lane;
mod node;
mod postgres;
mod schedule;
mod wire;

use std::time::Instant;

use choice::{Choices, following};
use cluster::Scope;
use flaw::Flaw;
use found::FOUND;
use postgres::Item;
use schedule::{Outcome, run};

const ONE: Item = Item::Commit { rows: 1 };
const TWO: Item = Item::Commit { rows: 2 };
const LARGE: Item = Item::Commit { rows: 7 };

/// Commits one behind the other, what is not published, a long one; the last is made when all is quiet.
const MIXED: &[(Item, bool)] = &[
    (TWO, true),
    (ONE, false),
    (Item::Noise, false),
    (Item::Message, false),
    (LARGE, false),
    (ONE, false),
    (ONE, true),
];
/// Enough for groups that overlap.
const MANY: &[(Item, bool)] =
    &[(ONE, true), (TWO, false), (ONE, false), (TWO, false), (ONE, false), (TWO, false), (ONE, false), (ONE, true)];
const SHORT: &[(Item, bool)] = &[(TWO, true), (ONE, false), (ONE, true)];

const SOLO: Scope = Scope {
    workload: MIXED,
    instances: 1,
    together: false,
    transactional: true,
    switches: false,
    split: false,
    burst: false,
    behind: false,
    flaw: None,
};
const PAIR: Scope = Scope { workload: SHORT, instances: 2, ..SOLO };
const TWINS: Scope = Scope { together: true, ..PAIR };
const SPLIT: Scope = Scope { workload: MIXED, split: true, ..PAIR };
const BUSY: Scope = Scope { workload: MANY, burst: true, ..PAIR };
const BEHIND: Scope = Scope { behind: true, ..BUSY };
const LONG: Scope = Scope { workload: MIXED, ..TWINS };
const FAST: Scope = Scope { transactional: false, ..SOLO };
const RUSH: Scope = Scope { workload: MANY, burst: true, ..FAST };
/// From the fast lane to transactions.
const SWITCHED: Scope = Scope { switches: true, ..FAST };
const RIVALS: Scope = Scope { transactional: false, ..PAIR };

/// By name, for replays.
const SCOPES: &[(&str, Scope)] = &[
    ("solo", SOLO),
    ("pair", PAIR),
    ("twins", TWINS),
    ("long", LONG),
    ("busy", BUSY),
    ("behind", BEHIND),
    ("split", SPLIT),
    ("fast", FAST),
    ("rush", RUSH),
    ("switched", SWITCHED),
    ("rivals", RIVALS),
];

/// A failure told: as few deviations as it takes, and every step.
fn report(scope: Scope, outcome: &Outcome, name: &str) -> String {
    let failed = |told: &Outcome| told.violation.as_ref().map(|violation| kind(violation).to_owned());
    let mut told = run(scope, Choices::listed(&outcome.list.0), true);
    let mut index = 0;
    while let Some(_needed) = told.named.get(index) {
        let mut fewer = told.named.clone();
        fewer.remove(index);
        let shorter = run(scope, Choices::named(&fewer), true);
        if failed(&shorter) == failed(&told) {
            told = shorter;
        } else {
            index += 1;
        }
    }
    let violation = told.violation.as_deref().unwrap_or("not reproduced");
    let answers: Vec<String> = told.named.iter().map(|answer| format!("    {answer:?},")).collect();
    format!("{violation}\n{name}\n{}\n{}", answers.join("\n"), told.trace.join("\n"))
}

/// The first word of a violation.
fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or_default()
}

/// Every schedule with at most so many deviations, until one fails; how many there were.
fn exhaust(scope: Scope, deviations: usize) -> (u64, Option<String>) {
    let (mut list, mut count) = (Vec::new(), 0);
    loop {
        let outcome = run(scope, Choices::listed(&list), false);
        count += 1;
        if outcome.violation.is_some() {
            return (count, Some(report(scope, &outcome, &format!("schedule {}", outcome.list))));
        }
        match following(&outcome.taken, deviations) {
            Some(next) => list = next,
            None => return (count, None),
        }
    }
}

/// Seeds from `first` on, on all scopes in turn, until one fails.
fn draw(scopes: &[(&str, Scope)], first: u64, count: u64) -> (u64, Option<String>) {
    for seed in first..first + count {
        let (name, scope) = scopes[(seed % scopes.len() as u64) as usize];
        let outcome = run(scope, Choices::random(seed), false);
        if outcome.violation.is_some() {
            return (seed - first + 1, Some(report(scope, &outcome, &format!("scope {name}, SEED={seed}"))));
        }
    }
    (count, None)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn all_with(deviations: usize) {
    for (name, scope) in SCOPES {
        let start = Instant::now();
        let (count, failure) = exhaust(*scope, deviations);
        println!("{name}: {count} schedules with at most {deviations} deviations in {:.1?}", start.elapsed());
        assert!(failure.is_none(), "{name}: {}", failure.unwrap_or_default());
    }
}

fn many(default: u64) {
    let (seed, count) = (number("SEED", 1), number("SCHEDULES", default));
    let start = Instant::now();
    let (count, failure) = draw(SCOPES, seed, count);
    let per_second = count as f64 / start.elapsed().as_secs_f64();
    println!("{count} schedules from seed {seed} on, {per_second:.0} a second");
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}

#[test]
fn nothing_goes_wrong_where_nothing_is_done() {
    for (name, scope) in SCOPES {
        let outcome = run(*scope, Choices::listed(&[]), true);
        println!("{name}: {} steps, {} questions", outcome.steps, outcome.taken.len());
        assert_eq!(outcome.violation, None, "{}", outcome.trace.join("\n"));
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    for (name, scope, answers) in FOUND {
        let outcome = run(*scope, Choices::named(answers), true);
        assert_eq!(
            outcome.named.len(),
            answers.len(),
            "{name}: the schedule has lost its meaning: {:?}",
            outcome.named
        );
        assert_eq!(outcome.violation, None, "{name}:\n{}", outcome.trace.join("\n"));
    }
}

#[test]
fn seeded_mistakes_are_found() {
    let mut missed = Vec::new();
    for (flaw, name) in Flaw::ALL {
        let concerned = SCOPES.iter().filter(|(_, terms)| !(terms.transactional && flaw.is_of_the_fast_lane()));
        let flawed = concerned.map(|(scope, terms)| (*scope, Scope { flaw: Some(*flaw), ..*terms }));
        let (count, failure) = draw(&flawed.collect::<Vec<_>>(), number("SEED", 1), number("SCHEDULES", 200_000));
        match &failure {
            Some(failure) => println!("{name}: {count} schedules, {}", failure.lines().next().unwrap_or_default()),
            None => missed.push(*name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_schedule_replays_to_the_last_step() {
    for seed in 0..50 {
        let (_, scope) = SCOPES[seed % SCOPES.len()];
        let drawn = run(scope, Choices::random(seed as u64), true);
        let listed = run(scope, Choices::listed(&drawn.list.0), true);
        let named = run(scope, Choices::named(&drawn.named), true);
        assert!(drawn.trace == listed.trace && drawn.trace == named.trace, "seed {seed}");
    }
}

/// Faults: ACK-02, ACK-03.
#[test]
fn every_schedule_with_one_deviation() {
    all_with(1);
}

/// Faults: ACK-01.
#[test]
fn random_schedules() {
    many(50_000);
}

#[test]
#[ignore = "minutes: make test-full"]
fn every_schedule_with_two_deviations() {
    all_with(number("DEVIATIONS", 2) as usize);
}

#[test]
#[ignore = "minutes: make test-full"]
fn a_million_random_schedules() {
    many(1_000_000);
}
