//! What must hold when all is done.

use super::postgres::{KEYS, Op, value};
use super::world::{Event, Scope, TABLE, World};
use crate::snapshot::{State, Variant};

/// What a key's subscriber must have seen, or in what it differs.
pub(super) fn check(scope: &Scope, world: &World) -> Result<(), String> {
    if world.kafka.records.len() != 1 || !world.core.is_idle() {
        return Err(format!("records that nobody needs: {:?}", world.kafka.records.keys()));
    }
    for key in 0..KEYS {
        let events = &world.kafka.events[key];
        let wrong = match scope.variant {
            Variant::Initial => check_initial(scope, world, key, events),
            Variant::Backfill => check_backfill(scope, world, key, events),
        };
        wrong.map_err(|wrong| format!("key {key}: {wrong} in {events:?}"))?;
        let cancelled = world.core.state(TABLE) == Some(State::Cancelled);
        if cancelled && !events.iter().any(|event| matches!(event, Event::Read { .. })) {
            continue;
        }
        let all = world.postgres.sees();
        let table = world.postgres.rows(&scope.script, scope.base, all)[key];
        let folded = fold(events);
        if folded != table {
            return Err(format!("key {key}: folded {folded:?}, in the table {table:?}: {events:?}"));
        }
    }
    Ok(())
}

fn fold(events: &[Event]) -> Option<u8> {
    events.iter().fold(None, |folded, event| match event {
        Event::Read { row: None, .. } => folded,
        Event::Read { row, .. } | Event::Changed { row, .. } => *row,
        Event::Truncated { .. } => None,
    })
}

/// Read once; then every change that the read does not hold, in order. Before it only truncates that it holds: those
/// that other ranges do not.
fn check_initial(scope: &Scope, world: &World, key: usize, events: &[Event]) -> Result<(), String> {
    let reads: Vec<usize> =
        events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Read { .. })).map(|(i, _)| i).collect();
    if reads.is_empty() && world.core.state(TABLE) == Some(State::Cancelled) {
        return check_cancelled(scope, world, key, events);
    }
    let &[at] = reads.as_slice() else { return Err(format!("read {} times", reads.len())) };
    let Event::Read { sees, row } = events[at] else { return Err("no read".to_owned()) };
    let mut before = events[..at].iter();
    if !before.all(|event| matches!(event, Event::Truncated { transaction } if sees >> transaction & 1 == 1)) {
        return Err("published before the read".to_owned());
    }
    let expected = world.postgres.rows(&scope.script, scope.base, sees)[key];
    if row != expected {
        return Err(format!("read {row:?} for {expected:?}"));
    }
    let changes = changes(scope, world, key, |transaction| sees >> transaction & 1 == 0);
    if events[at + 1..] != changes { Err(format!("{changes:?} expected behind the read")) } else { Ok(()) }
}

/// Nothing was read: every change from some place on, and before it truncates for the sake of other ranges.
fn check_cancelled(scope: &Scope, world: &World, key: usize, events: &[Event]) -> Result<(), String> {
    let changes = changes(scope, world, key, |_| true);
    let truncates = events.iter().take_while(|event| matches!(event, Event::Truncated { .. })).count();
    let holds = (0..=truncates).any(|first| changes.ends_with(&events[first..]));
    if holds { Ok(()) } else { Err(format!("no end of {changes:?}")) }
}

/// Every change that the slot sends, in order; a read, if any, behind those that it holds and before all others.
fn check_backfill(scope: &Scope, world: &World, key: usize, events: &[Event]) -> Result<(), String> {
    let is_read = |event: &&Event| matches!(event, Event::Read { .. });
    if events.iter().filter(is_read).count() > 1 {
        return Err("read more than once".to_owned());
    }
    if let Some((at, sees)) = events.iter().enumerate().find_map(|(at, event)| match event {
        Event::Read { sees, .. } => Some((at, *sees)),
        Event::Changed { .. } | Event::Truncated { .. } => None,
    }) {
        let holds = |event: &Event| match event {
            Event::Changed { transaction, .. } | Event::Truncated { transaction } => sees >> transaction & 1 == 1,
            Event::Read { .. } => false,
        };
        if !events[..at].iter().all(holds) || events[at + 1..].iter().any(holds) {
            return Err("the read is not at its place".to_owned());
        }
    }
    let published: Vec<Event> = events.iter().filter(|event| !is_read(event)).copied().collect();
    let changes = changes(scope, world, key, |transaction| world.postgres.excluded >> transaction & 1 == 0);
    if published != changes { Err(format!("{changes:?} expected")) } else { Ok(()) }
}

/// The changes of a key by these transactions, in the order of their commits.
fn changes(scope: &Scope, world: &World, key: usize, of: impl Fn(u8) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    for transaction in world.postgres.log.iter().copied().filter(|transaction| of(*transaction)) {
        for (i, op) in scope.script[usize::from(transaction)].iter().enumerate() {
            if *op == Op::Truncate {
                all.push(Event::Truncated { transaction });
            } else if let Some(row) = op.effect(key, value(usize::from(transaction), i)) {
                all.push(Event::Changed { transaction, row });
            }
        }
    }
    all
}
