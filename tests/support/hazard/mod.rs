//! Rows that are read while the worst happens: each course of events on a Postgres of its own, judged by what a subscriber
//! is told. Without a mistake of the daemon's nothing may be wrong.

mod backfill;
mod course;
mod reading;

use walwright::faults::Mutation;

use super::Result;
use super::fault::Fault;
use super::stack::Stack;
use reading::Reading;

/// A course of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// A commit is streamed, and left to a pending range, long before it is visible.
    Invisible,
    /// The same, and the daemon is killed in between.
    InvisibleKilled,
    /// A commit is streamed behind the read of its range, which did not see it, though it lies before it in the log.
    InvisibleLater,
    /// A change is streamed before its range is read.
    Pending,
    /// A commit lies before the place where an adopted slot starts, and is not visible.
    BeforeSlot,
    /// A row was written before its table was added to the publication, and is committed behind it.
    AddedTable,
    /// What a chunk has read is lost in a crash of the server.
    Unflushed,
    /// The table's storage is rewritten between a worker's question where to read to and its lock.
    Rewritten,
    /// The table is emptied there, and filled with rows that every snapshot sees.
    Frozen,
    /// Rows change while they are read.
    Held,
    /// They change in a transaction that is too large to gather.
    LargeHeld,
    /// A change that a read holds is streamed behind it, with the daemon killed before and just when it is passed.
    Forgotten,
    /// The daemon is killed between a snapshot's progress and the checkpoint, again and again.
    ProgressApart,
    /// Nothing is visible as soon as it is streamed, for as long as rows are read.
    Starvation,
    /// Nobody writes, and the log ends in a new segment of which nothing is flushed.
    Switched,
    /// The daemon is killed there, while it is written to.
    Killed(Fault),
    /// A commit is streamed, and not visible, when a backfill of its table is asked for.
    BackfillInvisible,
    /// One is streamed, and not visible, while a backfill waits.
    BackfillUnseen,
    /// The same, and the daemon is killed in between.
    BackfillUnseenKilled,
    /// Rows change while a backfill reads them.
    BackfillHeld,
    /// A backfill has read what the stream has still to bring.
    BackfillAhead,
    /// The daemon is killed there, while a backfill is asked for, or read.
    BackfillKilled(Fault),
}

impl Hazard {
    /// Plays it, with a mistake or without: what is wrong with what was published, in words. Kafka and the registry are the
    /// stack's, Postgres is not.
    pub(crate) fn play(self, stack: &Stack, mutation: Option<Mutation>) -> Result<Vec<String>> {
        let mut reading = Reading::new(stack, mutation)?;
        match self {
            Self::Invisible => course::invisible(&mut reading, false),
            Self::InvisibleKilled => course::invisible(&mut reading, true),
            Self::InvisibleLater => course::invisible_later(&mut reading),
            Self::Pending => course::pending(&mut reading),
            Self::BeforeSlot => course::before_slot(&mut reading),
            Self::AddedTable => course::added_table(&mut reading),
            Self::Unflushed => course::unflushed(&mut reading),
            Self::Rewritten => {
                course::behind_the_lock(&mut reading, "BEGIN; ALTER TABLE orders ALTER note TYPE text USING note || ''")
            }
            Self::Frozen => course::behind_the_lock(
                &mut reading,
                "BEGIN; TRUNCATE orders;
                 COPY orders FROM PROGRAM 'for i in $(seq 1 500); do echo $i,NEW,1,again; done' (FORMAT csv, FREEZE)",
            ),
            Self::Held => course::held(&mut reading, "id <= 100"),
            Self::LargeHeld => course::held(&mut reading, "true"),
            Self::Forgotten => course::forgotten(&mut reading),
            Self::ProgressApart => course::progress_apart(&mut reading),
            Self::Starvation => course::starvation(&mut reading),
            Self::Switched => course::switched(&mut reading),
            Self::Killed(fault) => course::killed(&mut reading, fault),
            Self::BackfillInvisible => backfill::invisible(&mut reading),
            Self::BackfillUnseen => backfill::unseen(&mut reading, false),
            Self::BackfillUnseenKilled => backfill::unseen(&mut reading, true),
            Self::BackfillHeld => backfill::held(&mut reading),
            Self::BackfillAhead => backfill::ahead(&mut reading),
            Self::BackfillKilled(fault) => backfill::killed(&mut reading, fault),
        }?;
        reading.judge()
    }
}
