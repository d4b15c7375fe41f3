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
        /// Begin was received.
        BeginReceived = "begin-received",
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
    }
}

names! {
    /// Mistakes as they are made, to see whether the tests find them.
    Mutation {
        /// A keepalive is confirmed though work is in flight.
        AckOnKeepalive = "ack-on-keepalive",
    }
}
