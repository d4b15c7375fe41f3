//! Mistakes in the protocol that the simulation must find.

/// One mistake, made by the simulated world on the product's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Replay drops a commit that starts at `next_lsn`.
    ComparesInclusively,
    /// The slot is told before Kafka has committed.
    ConfirmsBeforeCommit,
    /// A keepalive's position is confirmed whatever is in flight.
    ConfirmsKeepalives,
    /// The checkpoint topic is read first, then the others are fenced.
    FencesAfterReading,
    /// Only the control id is taken over.
    LeavesDataIdUnfenced,
    /// Of the ids that carry events only the first is taken over.
    LeavesTheOtherIdUnfenced,
    /// The other id is used as soon as it is taken.
    UsesTheOtherUnproven,
    /// The takeover record is written before the other id is taken over.
    ClaimsBeforeTheOther,
    /// A group is sent while records of the one before, which another producer has, are not acknowledged.
    SendsBeforeAcknowledged,
    /// A group that fails is aborted, the one behind it is not.
    SparesTheLater,
    /// The checkpoint has a transaction of its own, behind that of the records.
    CheckpointApart,
    /// The commit does not wait for the deliveries.
    CommitsUndelivered,
    /// A slot is created with nothing that says whose it is.
    WritesNoIntent,
    /// A split transaction is replayed from its beginning.
    ForgetsThePart,
    /// The checkpoint is not read again behind the fence.
    ReadsOnce,
    /// After a failure the position is taken from memory, as if a commit that failed had no effect.
    TrustsItsMemory,
    /// The server's flush position is not asked anew behind the fence.
    RemembersTheFlushPosition,
    /// A starter gives way to a takeover record that was there before it.
    GivesWayToThePast,
    /// A failover is not noticed.
    IgnoresTheTimeline,
    /// A keepalive inside of a transaction moves the position.
    BelievesKeepalives,
    /// What lies behind the checkpoint is published again.
    LooksForNoRepeats,
    /// It is left out but for the last event.
    SparesTheLastRepeat,
    /// Offsets move on while the replay is among what was found by the first of them.
    MovesOnAmongRepeats,
    /// A transaction of which something was found counts as found.
    TakesTheWholeForFound,
    /// Events of another server's transaction count as found.
    TakesAnotherTimelines,
    /// Records of aborted transactions count as found.
    TakesAbortedForFound,
}

impl Flaw {
    /// All, with their names.
    pub(super) const ALL: &'static [(Flaw, &'static str)] = &[
        (Flaw::ComparesInclusively, "compares inclusively"),
        (Flaw::ConfirmsBeforeCommit, "confirms before the commit"),
        (Flaw::ConfirmsKeepalives, "confirms keepalives with work in flight"),
        (Flaw::FencesAfterReading, "fences after reading"),
        (Flaw::LeavesDataIdUnfenced, "leaves the data id unfenced"),
        (Flaw::LeavesTheOtherIdUnfenced, "leaves the other data id unfenced"),
        (Flaw::UsesTheOtherUnproven, "uses the other data id unproven"),
        (Flaw::ClaimsBeforeTheOther, "writes the takeover record before it takes the other id"),
        (Flaw::SendsBeforeAcknowledged, "sends a group before the last one is acknowledged"),
        (Flaw::SparesTheLater, "aborts a group and spares the one behind it"),
        (Flaw::CheckpointApart, "checkpoint in a transaction of its own"),
        (Flaw::CommitsUndelivered, "commits with a delivery outstanding"),
        (Flaw::WritesNoIntent, "writes no intent"),
        (Flaw::ForgetsThePart, "forgets the published part of a split transaction"),
        (Flaw::ReadsOnce, "does not read again behind the fence"),
        (Flaw::TrustsItsMemory, "takes a failed commit for one without effect"),
        (Flaw::RemembersTheFlushPosition, "judges by an old flush position"),
        (Flaw::GivesWayToThePast, "gives way to a takeover record from before"),
        (Flaw::IgnoresTheTimeline, "ignores the timeline"),
        (Flaw::BelievesKeepalives, "moves on with a keepalive inside of a transaction"),
        (Flaw::LooksForNoRepeats, "publishes again what lies behind the checkpoint"),
        (Flaw::SparesTheLastRepeat, "leaves out what lies behind the checkpoint, but for the last event"),
        (Flaw::MovesOnAmongRepeats, "moves the offsets on while the replay is not past what was found"),
        (Flaw::TakesTheWholeForFound, "takes a transaction of which something was found for found"),
        (Flaw::TakesAnotherTimelines, "takes another server's transaction at the same LSN for found"),
        (Flaw::TakesAbortedForFound, "takes records of aborted transactions for found"),
    ];

    /// Made where something was published without transactions.
    pub(super) fn is_of_the_fast_lane(self) -> bool {
        matches!(
            self,
            Flaw::LooksForNoRepeats
                | Flaw::SparesTheLastRepeat
                | Flaw::MovesOnAmongRepeats
                | Flaw::TakesTheWholeForFound
                | Flaw::TakesAnotherTimelines
                | Flaw::TakesAbortedForFound
        )
    }
}
