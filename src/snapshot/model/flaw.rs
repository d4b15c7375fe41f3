//! Mistakes that the model must find.

/// One mistake: the model makes it on its own, where it is one of the callers, or by meddling with the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A snapshot is accepted though it does not see what was left to it.
    ChecksNothingInProgress,
    /// What was committed before the read's position counts as read.
    DecidesByPosition,
    /// Changes of pending ranges are published.
    PublishesPending,
    /// Changes of ranges that are being read are published at once.
    HoldsNothing,
    /// Unseen xids are not in the checkpoint.
    ForgetsUnseen,
    /// Progress has a Kafka transaction of its own, behind that of the rows.
    ProgressApart,
    /// Snapshots are taken without waiting for what ran before.
    TakesNoX0,
    /// The table is not locked before the snapshot is taken.
    TakesNoLock,
    /// Rows are published before what they show is flushed.
    WaitsForNoFlush,
    /// The flush position is asked of a server that has crashed meanwhile.
    AsksAnotherServer,
    /// What one worker's connection says of flushing counts for the chunks of others.
    VouchesForOthers,
    /// A snapshot is forgotten as soon as its rows are published.
    ForgetsEarly,
    /// A snapshot is forgotten in the Kafka transaction before the one that has passed it.
    ForgetsApart,
    /// Storages are not compared.
    IgnoresTheFilenode,
    /// A chunk that failed forgets what the stream did meanwhile.
    FailureForgets,
    /// An older snapshot than one in use is accepted.
    AcceptsStale,
    /// A backfill leaves nothing out.
    LeavesNothingOut,
    /// A backfill's chunk does not wait for the stream.
    WaitsForNoStream,
    /// A chunk waits for the stream, which waits for the chunk.
    WaitsForEachOther,
    /// X0 is kept when a crash has taken its xid back.
    KeepsLostX0,
    /// A split leaves the unseen xids with the lower part.
    SplitForgets,
    /// Leaves are listed by a snapshot that does not see what was left to the table.
    ListsTooEarly,
    /// The snapshot that the leaves were listed by is forgotten at once.
    ForgetsTheList,
    /// The list counts before it is flushed.
    ListsUnflushed,
}

impl Flaw {
    pub(super) const ALL: &'static [Flaw] = &[
        Flaw::ChecksNothingInProgress,
        Flaw::DecidesByPosition,
        Flaw::PublishesPending,
        Flaw::HoldsNothing,
        Flaw::ForgetsUnseen,
        Flaw::ProgressApart,
        Flaw::TakesNoX0,
        Flaw::TakesNoLock,
        Flaw::WaitsForNoFlush,
        Flaw::AsksAnotherServer,
        Flaw::VouchesForOthers,
        Flaw::ForgetsEarly,
        Flaw::ForgetsApart,
        Flaw::IgnoresTheFilenode,
        Flaw::FailureForgets,
        Flaw::AcceptsStale,
        Flaw::LeavesNothingOut,
        Flaw::WaitsForNoStream,
        Flaw::WaitsForEachOther,
        Flaw::KeepsLostX0,
        Flaw::SplitForgets,
        Flaw::ListsTooEarly,
        Flaw::ForgetsTheList,
        Flaw::ListsUnflushed,
    ];
}
