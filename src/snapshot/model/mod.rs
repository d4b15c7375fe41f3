//! Every interleaving of small histories on the real core, with a tiny Postgres and a tiny Kafka around it.
//!
//! A state is all of it: what is in the log, flushed, visible; what the stream has delivered, statement by statement; what
//! each worker holds; what the committer has in hand and what is on Kafka. From each, everything that may happen next is
//! tried: commits, flushes, visibility, deliveries, snapshots taken and offered, reads, publishing, Kafka's commits, a
//! chunk that fails, a crash of the daemon, a power cut of the server (which takes unflushed commits back and gives their
//! xids again; workers connect anew and read on until the session ends), a pause, a cancellation. Where nothing can happen
//! any more, all must be done, and done right (`check`).
//!
//! `flaw` lists mistakes that this must find; `STATES=1` tells how many states each scope has.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod check;
mod flaw;
mod postgres;
mod scope;
mod session;
mod world;

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use flaw::Flaw;
use world::{Scope, World};

/// Two hashes of a state stand for it.
fn fingerprint(world: &World) -> (u64, u64) {
    let (mut one, mut other) = (DefaultHasher::new(), DefaultHasher::new());
    other.write_u8(1);
    world.hash(&mut one);
    world.hash(&mut other);
    (one.finish(), other.finish())
}

/// What was explored of a scope.
#[derive(Default)]
struct Explored {
    states: usize,
    ends: usize,
    violation: Option<String>,
}

/// Goes everywhere from the beginning, until something is wrong.
fn explore(scope: &Scope) -> Explored {
    let mut explored = Explored::default();
    let first = World::new(scope);
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut stack = vec![first];
    while let Some(world) = stack.pop() {
        explored.states += 1;
        assert!(explored.states < 20_000_000, "too many states: {scope:?}");
        match step(scope, &world) {
            Ok((following, ended)) => {
                explored.ends += usize::from(ended);
                stack.extend(following.into_iter().filter(|world| seen.insert(fingerprint(world))));
            }
            Err(violation) => {
                explored.violation = Some(violation);
                return explored;
            }
        }
    }
    explored
}

/// The states that follow, and whether all is done here.
fn step(scope: &Scope, world: &World) -> Result<(Vec<World>, bool), String> {
    let complete = world.is_complete();
    if complete {
        check::check(scope, world)?;
    }
    let following = world.following(scope)?;
    if following.is_empty() && !complete {
        return Err(format!("stuck: {world:?}"));
    }
    Ok((following.into_iter().map(|(_, world)| world).collect(), complete))
}

/// The shortest way to a violation, step by step.
fn trace(scope: &Scope) -> String {
    let first = World::new(scope);
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut queue = std::collections::VecDeque::from([(first, Vec::new())]);
    while let Some((world, path)) = queue.pop_front() {
        let told = |violation: String| format!("{violation}\n{scope:?}\n{}", path.join(", "));
        match step(scope, &world).and_then(|_| world.following(scope)) {
            Err(violation) => return told(violation),
            Ok(following) => {
                for (name, next) in following {
                    if seen.insert(fingerprint(&next)) {
                        let mut path: Vec<&str> = path.clone();
                        path.push(name);
                        queue.push_back((next, path));
                    }
                }
            }
        }
    }
    "not reproduced".to_owned()
}

fn all_hold(name: &str, scopes: &[Scope]) -> usize {
    let (mut states, mut ends) = (0, 0);
    for scope in scopes {
        let explored = explore(scope);
        if std::env::var_os("STATES").is_some() {
            println!("{:>9} {:?} {:?}", explored.states, scope.variant, scope.script);
        }
        states += explored.states;
        ends += explored.ends;
        assert!(explored.violation.is_none(), "{}", trace(scope));
    }
    println!("{name}: {} scopes, {states} states, {ends} ends", scopes.len());
    states
}

/// Faults: SNP-01.
#[test]
fn small_histories_hold_in_every_interleaving() {
    for (name, scopes) in scope::small() {
        all_hold(name, &scopes);
    }
}

#[test]
#[ignore = "minutes: make test-full"]
fn a_million_states_hold() {
    let states: usize = scope::large().iter().map(|(name, scopes)| all_hold(name, scopes)).sum();
    println!("{states} states");
    assert!(states >= 1_000_000, "{states} states");
}

#[test]
fn seeded_mistakes_are_found() {
    let mut missed = Vec::new();
    for flaw in Flaw::ALL {
        let scope = scope::for_flaw(*flaw);
        let control = explore(&Scope { flaw: None, ..scope.clone() });
        assert_eq!(control.violation, None, "{flaw:?} is not what makes the difference");
        let Explored { states, violation, .. } = explore(&scope);
        match violation {
            Some(violation) => {
                println!("{flaw:?}: {states} states: {}", violation.chars().take(160).collect::<String>())
            }
            None => missed.push(*flaw),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
