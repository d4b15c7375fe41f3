//! The names of all faults, in one list each, so that tests can go through them.

macro_rules! names {
    ($(#[$about:meta])* $kind:ident { $($(#[$what:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$what])* $variant,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[$kind] = &[$($kind::$variant,)*];

            /// As the environment spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                }
            }
        }
    };
}

names! {
    /// Where the process can be ended, in the order in which a connector comes by.
    Failpoint {
        /// The checkpoint topic was read without a fence.
        StateRead = "state-read",
        /// The source said who it is.
        ServerIdentified = "server-identified",
        /// The start was judged before the fence.
        JudgedUnfenced = "judged-unfenced",
        /// The control id is ours.
        ControlFenced = "control-fenced",
        /// One of the ids that carry events is ours.
        DataFenced = "data-fenced",
        /// The checkpoint topic was read to its end behind the fence.
        FencedRead = "fenced-read",
        /// The takeover record is committed.
        TakeoverWritten = "takeover-written",
        /// The start was judged behind the fence.
        Judged = "judged",
        /// The topics exist.
        TopicsPrepared = "topics-prepared",
        /// The intent to create a slot is committed.
        IntentWritten = "intent-written",
        /// The slot exists, its checkpoint does not.
        SlotCreated = "slot-created",
        /// The first checkpoint is committed, be the slot new or adopted.
        CheckpointWritten = "checkpoint-written",
        /// START_REPLICATION was answered.
        StreamStarted = "stream-started",
        /// The slot was read once more.
        SlotRead = "slot-read",
        /// What lies on Kafka behind the checkpoint was read, if there may be something.
        RepeatsRead = "repeats-read",
        /// Begin was received.
        BeginReceived = "begin-received",
        /// Origin was received: the transaction came to the source by replication.
        OriginReceived = "origin-received",
        /// Type was received.
        TypeReceived = "type-received",
        /// Relation was received.
        RelationReceived = "relation-received",
        /// Insert, Update or Delete was received.
        RowReceived = "row-received",
        /// Truncate was received.
        TruncateReceived = "truncate-received",
        /// A message of `pg_logical_emit_message` was received.
        MessageReceived = "message-received",
        /// Commit was received.
        CommitReceived = "commit-received",
        /// A keepalive was received.
        KeepaliveReceived = "keepalive-received",
        /// A Kafka transaction for a group is open.
        GroupBegun = "group-begun",
        /// The same while the commit of the group before is not asked for yet.
        GroupOverlaps = "group-overlaps",
        /// A unit's records were handed to the client.
        RecordsSent = "records-sent",
        /// A piece of a large transaction was handed to the client.
        PieceSent = "piece-sent",
        /// The checkpoint was handed to the client.
        CheckpointSent = "checkpoint-sent",
        /// The broker has acknowledged every record.
        Delivered = "delivered",
        /// The commit is about to be sent: killed some microseconds later, its outcome is open. Control records too.
        CommitSent = "commit-sent",
        /// A group is committed, its slot does not know.
        CommitAcknowledged = "commit-acknowledged",
        /// One of the other ids by which a busy connector publishes is ours.
        OtherTaken = "other-taken",
        /// The first transaction since then is committed: they take turns from here on.
        TurnsBegun = "turns-begun",
        /// The reader knows what it may confirm.
        Confirmed = "confirmed",
        /// A standby status update was sent.
        StatusSent = "status-sent",
        /// The intake is closed, what was received is still to be committed.
        DrainBegun = "drain-begun",
        /// What was received is committed.
        DrainCommitted = "drain-committed",
        /// The last status and the good-bye were sent.
        StreamLeft = "stream-left",
        /// A transaction that could not be finished was aborted.
        Aborted = "aborted",
        /// The X0 of a table to be read is known, and on Kafka it is not.
        X0Taken = "x0-taken",
        /// A worker knows how far it reads; it has neither locked the table nor taken a snapshot.
        ChunkSplit = "chunk-split",
        /// A worker's snapshot was accepted, and its rows are not read.
        ChunkOffered = "chunk-offered",
        /// The rows of a chunk are read.
        ChunkRead = "chunk-read",
        /// The rows of a chunk are on their way to Kafka.
        ChunkLeft = "chunk-left",
        /// The progress of a snapshot was handed to the client, the checkpoint was not.
        ProgressSent = "progress-sent",
        /// The stream has passed what was read: its snapshots are forgotten, and on Kafka they are not.
        SnapshotForgotten = "snapshot-forgotten",
    }
}

names! {
    /// Mistakes as they are made, to see whether the tests find them.
    Mutation {
        /// A keepalive is confirmed though work is in flight.
        AckOnKeepalive = "ack-on-keepalive",
        /// A group is confirmed when its records are sent.
        AckOnSend = "ack-on-send",
        /// A group is confirmed when its commit is sent.
        ConfirmBeforeCommit = "confirm-before-commit",
        /// What was received is confirmed with what is committed.
        ConfirmWalEnd = "confirm-wal-end",
        /// The last row of a transaction is dropped.
        DropLastRow = "drop-last-row",
        /// Of the records that wait, only the last one of each key is sent.
        LastOfKeyOnly = "last-of-key-only",
        /// Rows written before the checkpoint are dropped, though their transaction committed behind it.
        ResumeByRowLsn = "resume-by-row-lsn",
        /// A transaction that commits at `next_lsn` is dropped.
        InclusiveComparison = "inclusive-comparison",
        /// The stream starts where the slot stands, and all that comes is published.
        StartAtConfirmed = "start-at-confirmed",
        /// The state in memory is that of the unfenced read.
        FenceAfterRead = "fence-after-read",
        /// Checkpoints of transactions that were aborted are believed.
        ReadUncommittedState = "read-uncommitted-state",
        /// Whoever is fenced fences back.
        FencingInTurns = "fencing-in-turns",
        /// Any earlier owner's record counts as another instance that has taken over.
        BothGiveWay = "both-give-way",
        /// The checkpoint is committed behind the events, in a transaction of its own.
        CheckpointOutside = "checkpoint-outside",
        /// Each checkpoint has a key of its own.
        CheckpointKeys = "checkpoint-keys",
        /// A commit that was refused counts as done.
        RefusalAsSuccess = "refusal-as-success",
        /// The fast lane writes its checkpoint while records are in flight.
        DeliveryOutstanding = "delivery-outstanding",
        /// A record that failed counts as delivered.
        DeliveryErrorIgnored = "delivery-error-ignored",
        /// A group that failed is aborted, and the next one sent.
        GoOnAfterAbort = "go-on-after-abort",
        /// Pieces of a large transaction are committed as they come.
        TornTransaction = "torn-transaction",
        /// What came of a transaction that was cut off is committed.
        TornOnDrain = "torn-on-drain",
        /// A slot that is missing is created.
        SlotRecreated = "slot-recreated",
        /// A slot that was moved ahead is streamed from.
        SlotAheadIgnored = "slot-ahead-ignored",
        /// A slot that somebody else made is used.
        ForeignSlotAdopted = "foreign-slot-adopted",
        /// An unchanged TOASTed value is published as NULL.
        NullForToast = "null-for-toast",
        /// The old row's value stands where the new one's should.
        OldForNew = "old-for-new",
        /// The new row's value stands where the old one's should.
        NewForOld = "new-for-old",
        /// SQL's NULL becomes the text null.
        NullAsText = "null-as-text",
        /// Decimals have another scale.
        WrongScale = "wrong-scale",
        /// Timestamps are off by an hour, as where a zone is applied twice.
        TimeZoneTwice = "time-zone-twice",
        /// A record's time counts from Postgres' epoch.
        RecordTimeEpoch = "record-time-epoch",
        /// Keys are spread by another hash than Kafka's.
        WrongPartition = "wrong-partition",
        /// A key that is given up gets no tombstone.
        NoTombstoneOnRekey = "no-tombstone-on-rekey",
        /// A tombstone has no key.
        TombstoneWithoutKey = "tombstone-without-key",
        /// A truncate is passed over.
        LostTruncate = "lost-truncate",
        /// A filtered change counts as published.
        FilteredAsPublished = "filtered-as-published",
        /// A record has the headers of the one before it.
        HeadersOfNeighbour = "headers-of-neighbour",
        /// Ids name a rule by its place in the file.
        IdByRuleOrder = "id-by-rule-order",
        /// Ids have a random part.
        IdRandom = "id-random",
        /// Ids count the changes of all tables.
        IdCountsAllTables = "id-counts-all-tables",
        /// What a crash has left on Kafka behind the checkpoint is sent again.
        RepeatsSent = "repeats-sent",
        /// A range is read with a snapshot that does not see what the stream has left to it.
        UnseenIgnored = "unseen-ignored",
        /// What the stream has left to a range is not in the checkpoint.
        UnseenNotKept = "unseen-not-kept",
        /// Rows are read while transactions run that began before the stream or the publication knew of the table.
        X0Ignored = "x0-ignored",
        /// A change of a range that is being read is published before its rows.
        NoHold = "no-hold",
        /// Changes of ranges that nobody reads yet are published.
        PendingPublished = "pending-published",
        /// What comes while a published range's snapshot is remembered lies before the read in the log: it counts as read.
        DecidedByLsn = "decided-by-lsn",
        /// A change is published behind the read that holds it.
        CoveredPublished = "covered-published",
        /// A backfill publishes rows that have changed since they were read.
        NothingLeftOut = "nothing-left-out",
        /// A backfill publishes rows before the changes that they hold.
        BackfillAhead = "backfill-ahead",
        /// Rows are published that the server has not flushed.
        PublishUnflushed = "publish-unflushed",
        /// The snapshot of a range is forgotten when its rows are published.
        ForgetAtOnce = "forget-at-once",
        /// The progress of a snapshot is committed behind its rows, in a transaction of its own.
        ProgressOutside = "progress-outside",
        /// A server that nobody writes to is not made to flush what was read.
        NoPush = "no-push",
        /// The snapshot is taken before the table is locked.
        LockBehindSnapshot = "lock-behind-snapshot",
    }
}
