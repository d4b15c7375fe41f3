//! Where the source is and how to reach it: plain data, already resolved from the connector file.

use std::time::Duration;

use crate::model::{Secret, Security, TargetSessionAttrs};

/// The longest `wal_sender_timeout` of a replication session.
const WAL_SENDER_TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// One source database, its slot and its publication.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Names, IP addresses or directories of Unix sockets (a leading `/`), tried in order.
    pub hosts: Vec<String>,
    /// Which of them is taken.
    pub target_session_attrs: TargetSessionAttrs,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    pub security: Security,
    pub slot: String,
    pub publication: String,
    /// The connector's name, for `application_name`.
    pub connector: String,
}

impl SourceSettings {
    /// How the sessions call themselves in `pg_stat_activity`.
    pub(super) fn application_name(&self) -> String {
        format!("walwright/{}", self.connector)
    }
}

/// How the replication stream is read and kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Time between status updates when nothing else asks for one; below half the server's `wal_sender_timeout`.
    pub status_interval: Duration,
    /// Silence after which the connection counts as dead; long before the server is asked for a sign of life.
    pub receive_timeout: Duration,
    /// The `wal_sender_timeout` that this session asks for in place of the server's.
    pub wal_sender_timeout: Option<Duration>,
    /// Size of one buffer; a longer message makes its own buffer grow.
    pub buffer_bytes: usize,
    /// Number of buffers between the reader and whoever takes the frames.
    pub buffers: usize,
}

impl StreamSettings {
    /// The settings for a server with this `wal_sender_timeout` (zero: the server never hangs up).
    ///
    /// A server that skips through changes that are not published hears us only when half of its timeout has passed since
    /// it did last (`WalSndUpdateProgress`), and answers what has asked by then. So each update asks once the server is
    /// silent, and a longer timeout than 20 s is shortened for this session: then a server that works is silent for no
    /// more than 15 s, and a dead path is known within 30 s, by the server too, which lets the slot go.
    pub fn for_wal_sender_timeout(timeout: Duration) -> StreamSettings {
        let shortened = (timeout.is_zero() || timeout > WAL_SENDER_TIMEOUT_MAX).then_some(WAL_SENDER_TIMEOUT_MAX);
        let defaults = StreamSettings::default();
        StreamSettings {
            status_interval: defaults.status_interval.min(shortened.unwrap_or(timeout) / 3),
            wal_sender_timeout: shortened,
            ..defaults
        }
    }
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings {
            status_interval: Duration::from_secs(5),
            receive_timeout: Duration::from_secs(25),
            wal_sender_timeout: None,
            buffer_bytes: 256 * 1024,
            buffers: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: PG-06.
    #[test]
    fn status_goes_out_thrice_in_the_servers_patience() {
        let interval = |ms| StreamSettings::for_wal_sender_timeout(Duration::from_millis(ms)).status_interval;
        assert_eq!(interval(0), Duration::from_secs(5));
        assert_eq!(interval(60_000), Duration::from_secs(5));
        assert_eq!(interval(2_001), Duration::from_millis(667));
    }

    #[test]
    fn a_server_that_is_patient_is_asked_to_be_less_so() {
        let settings = |s| StreamSettings::for_wal_sender_timeout(Duration::from_secs(s));
        let asked = |s| settings(s).wal_sender_timeout.map(|timeout| timeout.as_secs());
        assert_eq!((asked(0), asked(2), asked(20), asked(60)), (Some(20), None, None, Some(20)));
        let Some(timeout) = settings(60).wal_sender_timeout else { panic!("none") };
        let silence = timeout / 2 + settings(60).status_interval;
        assert!(silence < settings(60).receive_timeout * 2 / 3, "a server that filters is not given up");
    }
}
