//! The protocol under a deterministic scheduler.
//!
//! What runs is the product's own code: the assembler with ledger, decoder and encoder, the committer, the steps of a
//! start, the start table, ownership and the supervisor's rules. What is simulated is what they call: Kafka, Postgres,
//! the clock, and the moment at which a process dies. Each call is a point at which anybody else may run.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod check;
mod choice;
mod cluster;
mod fixture;
mod flaw;
mod instance;
mod kafka;
mod node;
mod postgres;
mod schedule;
mod wire;

use choice::{Choices, Named, following};
use cluster::Scope;
use flaw::Flaw;
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
const SHORT: &[(Item, bool)] = &[(TWO, true), (ONE, false), (ONE, true)];

const SOLO: Scope =
    Scope { workload: MIXED, instances: 1, together: false, transactional: true, split: false, flaw: None };
const PAIR: Scope = Scope { workload: SHORT, instances: 2, ..SOLO };
const TWINS: Scope = Scope { together: true, ..PAIR };
const SPLIT: Scope = Scope { workload: MIXED, split: true, ..PAIR };
const LONG: Scope = Scope { workload: MIXED, ..TWINS };
const FAST: Scope = Scope { transactional: false, ..SOLO };
const RIVALS: Scope = Scope { transactional: false, ..PAIR };

/// By name, for replays.
const SCOPES: &[(&str, Scope)] = &[
    ("solo", SOLO),
    ("pair", PAIR),
    ("twins", TWINS),
    ("long", LONG),
    ("split", SPLIT),
    ("fast", FAST),
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

#[test]
fn nothing_goes_wrong_where_nothing_is_done() {
    for (name, scope) in SCOPES {
        let outcome = run(*scope, Choices::listed(&[]), true);
        println!("{name}: {} steps, {} questions", outcome.steps, outcome.taken.len());
        assert_eq!(outcome.violation, None, "{}", outcome.trace.join("\n"));
    }
}

/// What the simulation has found in the product, each with the schedule that showed it.
const FOUND: &[(&str, Scope, &[Named])] = &[
    (
        "a slot that a successor moves on while the start looks away is no gap",
        TWINS,
        &[((0, "look at the slot again"), 1, "stalls")],
    ),
    (
        "a slot that a late request of the last owner created is used",
        TWINS,
        &[((0, "create the slot"), 1, "waits a moment"), ((2, "marker"), 3, "waits a moment")],
    ),
    (
        "a slot that an unfenced instance moves on is no gap",
        RIVALS,
        &[
            ((0, "read the checkpoint behind the fence"), 2, "is joined by the other"),
            ((2, "marker"), 1, "stalls"),
            ((1, "look at the source"), 2, "stalls"),
        ],
    ),
    (
        "the checkpoint that an instance writes late, after its successor's, is none",
        RIVALS,
        &[
            ((0, "start the stream"), 2, "has no effect, the client sees a failure"),
            ((0, "commit"), 7, "is joined by the other"),
            ((0, "append"), 1, "stalls"),
            ((0, "send records"), 8, "stalls"),
        ],
    ),
];

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
fn every_schedule_with_few_deviations() {
    for (name, scope) in SCOPES {
        let start = std::time::Instant::now();
        let (count, failure) = exhaust(*scope, number("DEVIATIONS", 1) as usize);
        println!("{name}: {count} schedules in {:?}", start.elapsed());
        assert!(failure.is_none(), "{name}: {}", failure.unwrap_or_default());
    }
}

#[test]
fn seeded_mistakes_are_found() {
    let mut missed = Vec::new();
    for (flaw, name) in Flaw::ALL {
        let flawed: Vec<_> =
            SCOPES.iter().map(|(scope, terms)| (*scope, Scope { flaw: Some(*flaw), ..*terms })).collect();
        let (count, failure) = draw(&flawed, number("SEED", 1), 20_000);
        match &failure {
            Some(failure) => println!("{name}: {count} schedules, {}", failure.lines().next().unwrap_or_default()),
            None => missed.push(*name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn random_schedules() {
    let (seed, count) = (number("SEED", 1), number("SCHEDULES", 5000));
    let start = std::time::Instant::now();
    let (count, failure) = draw(SCOPES, seed, count);
    println!("{count} schedules in {:?}", start.elapsed());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}
