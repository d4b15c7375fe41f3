//! From kind to disposition and remedy: one exhaustive table, so that a new kind cannot slip in with a default.

use std::fmt;

/// What an error leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// A failure of the world: tried again with backoff, without limit, in the open (health, metric, one log line).
    Retry,
    /// A fact about data, position or configuration: the connector stops until a person acts.
    Halt,
    /// A promise of this program was broken: the connector stops; a report is wanted.
    Bug,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident, $name:literal, $disposition:ident, $remedy:literal;)+) => {
        /// What kind of thing went wrong; its name is stable and part of the interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[doc = $doc])+ $kind,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)+];

            /// The stable name, kebab-case.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)+ }
            }

            /// What an error of this kind leads to.
            pub fn disposition(self) -> Disposition {
                match self { $(Kind::$kind => Disposition::$disposition,)+ }
            }

            /// What has happened, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Kind::$kind => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What a person can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Kind::$kind => $remedy,)+ }
            }

            /// The command that says more: what is safe, and what to do step by step.
            pub fn more(self) -> &'static str {
                match self { $(Kind::$kind => concat!("walwright explain ", $name),)+ }
            }
        }
    };
}

kinds! {
    /// Faults in files or environment that a person wrote.
    Configuration, "configuration", Halt, "mend the named lines and start again; `walwright check` shows the same list without starting";

    /// The daemon did not take a command, or could not be asked.
    CommandRefused, "command-refused", Halt, "do what the message says, then give the command again; nothing was changed";

    /// A file that a setting refers to is missing, empty, or holds something else.
    ReferenceUnreadable, "reference-unreadable", Retry, "check the named file (path, mount, permissions, content); it is read again at every attempt";

    /// No connection to Postgres, or it broke.
    PostgresUnreachable, "postgres-unreachable", Retry, "check that the server runs and that host, port and network path are right; the connector tries again by itself";
    /// The server refused the user or password.
    PostgresAuthentication, "postgres-authentication", Retry, "check user, password and pg_hba.conf; the password is read again at every attempt";
    /// The server answered, but is starting up, shutting down or in recovery.
    PostgresNotReady, "postgres-not-ready", Retry, "wait for the server to accept connections; the connector tries again by itself";
    /// A limit of the server is used up (max_wal_senders, max_connections ...).
    PostgresExhausted, "postgres-exhausted", Retry, "raise the named limit of the server or free what holds it; the connector tries again by itself";
    /// The database of the connector file does not exist.
    DatabaseMissing, "database-missing", Halt, "create the database or correct [source] database, then restart";
    /// wal_level or another server setting forbids logical decoding.
    ServerSetting, "server-setting", Halt, "change the named server setting (wal_level = logical needs a restart of Postgres), then restart the connector";
    /// The role lacks a right.
    Permission, "permission", Halt, "grant the named right to the role, then restart the connector";
    /// A query was refused for a reason that has no kind of its own.
    PostgresRefused, "postgres-refused", Halt, "read the server's message; mend what it names, then restart the connector";
    /// The server broke the replication protocol or sent what cannot be decoded.
    Protocol, "protocol", Halt, "nothing was confirmed; report this with the position, and check what sits between the connector and Postgres";

    /// The publication is missing.
    PublicationMissing, "publication-missing", Halt, "create the publication (the message has the SQL), or name one that is old enough, then restart the connector";
    /// The publication does not send what the rules need.
    PublicationMismatch, "publication-mismatch", Halt, "alter the publication or the rules so that they agree (the message has the SQL), then restart the connector";
    /// A table has no replica identity, or one that lacks what a rule needs.
    ReplicaIdentity, "replica-identity", Halt, "set the replica identity that the message names (of a partitioned table: on each partition), then restart the connector";
    /// A table or column that a rule needs is missing or has another type.
    SchemaMismatch, "schema-mismatch", Halt, "change the rule, the contract or the table so that they agree, then restart the connector; nothing was lost, the slot waits";

    /// The slot is held by another session.
    SlotHeld, "slot-held", Retry, "another session reads this slot; stop it if it should not, the connector takes over by itself when the slot is free";
    /// The slot is missing although a checkpoint exists.
    SlotMissing, "slot-missing", Halt, "changes after the checkpoint may be missing; look at the gap with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`; never recreate the slot by hand";
    /// The slot lost WAL that it needed, or was invalidated.
    SlotLost, "slot-lost", Halt, "changes after the checkpoint are gone from the server; look at the gap with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`";
    /// A slot of this name exists that this connector did not make.
    SlotForeign, "slot-foreign", Halt, "set adopt_slot = true in [source] to use it, choose another slot name, or drop it if nobody needs it";
    /// The slot is of another plugin, another database, or not logical.
    SlotMismatch, "slot-mismatch", Halt, "choose another slot name in [source], or drop the slot if nobody needs it";
    /// The slot stands ahead of the checkpoint.
    SlotAhead, "slot-ahead", Halt, "someone moved the slot: the changes in the named gap were not published; look at it with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`";
    /// The server's WAL ends before the checkpoint.
    ServerBehind, "server-behind", Halt, "this server was restored or left behind by a failover: connect to the right server, or look at the gap with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`";
    /// Another cluster than the one of the checkpoint.
    SystemMismatch, "system-mismatch", Halt, "connect to the cluster that the checkpoint names; after pg_upgrade or a rebuild look at the gap with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`";
    /// The checkpoint does not lie on this server's timeline.
    TimelineMismatch, "timeline-mismatch", Halt, "connect to the server that was promoted, or look at the gap with `walwright accept-gap --dry-run` and accept it, or read the rows again with `walwright resync`";

    /// A value that its field cannot hold exactly.
    ValueOutOfRange, "value-out-of-range", Halt, "give the rule a contract whose field holds the value, then restart the connector; to mend the row changes nothing, its change is in the WAL as it was";
    /// NULL where the contract has no null, or in a key.
    NullValue, "null-value", Halt, "give the rule a contract whose field is nullable, or leave such rows out by `when`, then restart the connector; to mend the row changes nothing, its change is in the WAL as it was";
    /// A code that a rule's map does not list.
    UnlistedCode, "unlisted-code", Halt, "add the code to the rule's map, then restart the connector";
    /// An update did not resend a TOASTed value that a rule needs.
    UnchangedToast, "unchanged-toast", Halt, "ALTER TABLE .. REPLICA IDENTITY FULL on the table, so that later updates carry the value; past this one the connector gets only if no rule needs the column";
    /// A change that policy says must not happen unmapped.
    Unmapped, "unmapped", Halt, "add a rule for the change, or set the named policy to filter or warn, then restart the connector";

    /// No broker answers, or it answers with a passing error.
    KafkaUnreachable, "kafka-unreachable", Retry, "check that the brokers run and that [kafka] is right; the connector tries again by itself and the slot waits";
    /// The brokers refused the client.
    KafkaAuthorization, "kafka-authorization", Retry, "check the client's credentials and ACLs (topics, transactional ids, cluster); the connector tries again by itself";
    /// The cluster cannot do what is needed, or a topic is not as it must be.
    KafkaSetting, "kafka-setting", Halt, "change the named topic or broker setting, then restart the connector";
    /// A topic that must exist does not.
    TopicMissing, "topic-missing", Halt, "create the topic, or give it create = { partitions, replication } in the connector file, then restart the connector";
    /// A record over the broker's or the topic's limit.
    RecordTooLarge, "record-too-large", Halt, "raise max.message.bytes of the topic (and message.max.bytes of client and broker), then restart the connector";
    /// A record whose time the topic does not take.
    RecordTime, "record-time", Retry, "correct the clock of the database server, or let the topic take the time (message.timestamp.type = LogAppendTime, message.timestamp.after.max.ms, message.timestamp.before.max.ms); the connector tries again by itself";
    /// The producer was fenced, failed, or the outcome of a commit is unknown: the recovery path.
    KafkaTransaction, "kafka-transaction", Retry, "nothing to do: the connector reads its checkpoint and goes on from there";
    /// Another instance took this connector over.
    TakenOver, "taken-over", Halt, "another instance runs this connector now; stop one of the two, restart this one only if it should take over";
    /// The checkpoint topic holds what cannot be understood.
    CheckpointUnreadable, "checkpoint-unreadable", Halt, "the checkpoint was written by a newer version or is damaged; run that version, or begin anew after `walwright remove`";
    /// A transaction did not fit in transaction.timeout.ms twice.
    TransactionTooLong, "transaction-too-long", Halt, "raise transaction.timeout.ms (and the broker's transaction.max.timeout.ms), or set large_transactions = \"split\"";

    /// No registry answers, or it answers with a passing error.
    RegistryUnreachable, "registry-unreachable", Retry, "check that the registry runs and that [registry] url is right; the connector tries again by itself";
    /// The registry refused the client.
    RegistryAuthorization, "registry-authorization", Retry, "check user and password, or token, in [registry]; they are read again at every attempt";
    /// The registry refused a schema or does not know it.
    RegistryRefused, "registry-refused", Halt, "push the contracts with `walwright schemas push`, or mend what the registry's message names, then restart the connector";

    /// A promise of this program was broken.
    Bug, "bug", Bug, "report this with the log; nothing beyond the checkpoint was confirmed";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_remedies_are_sentences() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.remedy().len() > 20));
        assert!(Kind::ALL.iter().all(|kind| kind.meaning().ends_with('.') && !kind.remedy().ends_with('.')));
    }
}
