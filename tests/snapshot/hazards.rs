//! Rows that are read while the worst happens. What a rule is good for is shown by `make torture-proof`, which switches it
//! off; where two courses need the same rule, the second one's proof is here.

use walwright::faults::{Failpoint, Mutation};

use crate::support::Result;
use crate::support::fault::Fault;
use crate::support::hazard::Hazard;
use crate::support::stack::Stack;

fn survives(hazard: Hazard) -> Result<()> {
    let wrong = hazard.play(Stack::shared()?, None)?;
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// It does, and would not without the rule.
fn survives_by(hazard: Hazard, mutation: Mutation) -> Result<()> {
    survives(hazard)?;
    let wrong = hazard.play(Stack::shared()?, Some(mutation))?;
    println!("{}: {wrong:?}", mutation.name());
    assert!(!wrong.is_empty(), "nothing is wrong with {}", mutation.name());
    Ok(())
}

/// Synchronous replication: what is committed in the log, and streamed, is not visible before a standby has it.
#[test]
fn a_commit_that_is_streamed_long_before_it_is_visible() -> Result<()> {
    survives(Hazard::Invisible)
}

#[test]
fn a_commit_that_is_not_visible_when_the_daemon_is_killed() -> Result<()> {
    survives(Hazard::InvisibleKilled)
}

#[test]
fn a_commit_that_is_streamed_behind_a_read_that_lies_behind_it_and_did_not_see_it() -> Result<()> {
    survives(Hazard::InvisibleLater)
}

#[test]
fn a_commit_before_the_slots_start_that_is_not_visible() -> Result<()> {
    survives(Hazard::BeforeSlot)
}

/// Faults: DDL-02.
#[test]
fn a_row_that_is_older_than_its_table_in_the_publication() -> Result<()> {
    survives_by(Hazard::AddedTable, Mutation::X0Ignored)
}

#[test]
fn rows_that_are_read_and_lost_in_a_crash_of_the_server() -> Result<()> {
    survives(Hazard::Unflushed)
}

/// Faults: DDL-18.
#[test]
fn a_rewrite_of_the_table_behind_the_lock() -> Result<()> {
    survives(Hazard::Rewritten)
}

#[test]
fn a_truncate_and_frozen_rows_behind_the_lock() -> Result<()> {
    survives_by(Hazard::Frozen, Mutation::LockBehindSnapshot)
}

/// Faults: SNP-01.
#[test]
fn rows_that_change_while_they_are_read() -> Result<()> {
    survives(Hazard::Held)
}

#[test]
fn rows_that_change_in_a_large_transaction_while_they_are_read() -> Result<()> {
    survives_by(Hazard::LargeHeld, Mutation::NoHold)
}

/// Faults: SNP-02.
#[test]
fn killed_when_the_stream_has_passed_what_was_read() -> Result<()> {
    survives(Hazard::Forgotten)
}

/// Faults: SNP-02.
#[test]
fn killed_between_progress_and_checkpoint() -> Result<()> {
    survives(Hazard::ProgressApart)
}

#[test]
fn nothing_is_visible_as_soon_as_it_is_streamed() -> Result<()> {
    survives(Hazard::Starvation)
}

#[test]
fn an_idle_server_whose_log_ends_in_a_new_segment() -> Result<()> {
    survives(Hazard::Switched)
}

/// X0 of a backfill: what the stream has brought before, it must have seen end.
#[test]
fn a_backfill_while_a_commit_that_was_streamed_is_not_visible() -> Result<()> {
    survives_by(Hazard::BackfillInvisible, Mutation::X0Ignored)
}

/// Its unseen set: what the stream brings while it waits.
#[test]
fn a_backfill_that_waits_while_a_commit_is_streamed_that_is_not_visible() -> Result<()> {
    survives_by(Hazard::BackfillUnseen, Mutation::UnseenIgnored)
}

#[test]
fn a_backfill_that_waits_for_such_a_commit_when_the_daemon_is_killed() -> Result<()> {
    survives_by(Hazard::BackfillUnseenKilled, Mutation::UnseenNotKept)
}

/// Faults: SNP-01.
#[test]
fn rows_that_change_while_a_backfill_reads_them() -> Result<()> {
    survives(Hazard::BackfillHeld)
}

#[test]
fn a_backfill_that_has_read_what_is_not_streamed_yet() -> Result<()> {
    survives(Hazard::BackfillAhead)
}

/// Whoever is told that it was taken need not ask again.
#[test]
fn a_backfill_that_was_taken_is_not_forgotten() -> Result<()> {
    survives(Hazard::BackfillKilled(Fault::kill(Failpoint::ProgressSent, 1)))
}
