//! Where the source is and how to reach it: plain data, already resolved from the connector file.

use std::time::Duration;

use crate::model::{Secret, Security, TargetSessionAttrs};

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
    /// silent, and it is waited for as long as it would wait for us: given up earlier, it would begin anew each time.
    pub fn for_wal_sender_timeout(timeout: Duration) -> StreamSettings {
        let (longest, patience) = (Duration::from_secs(10), StreamSettings::default().receive_timeout);
        let interval = if timeout.is_zero() { longest } else { longest.min(timeout / 3) };
        StreamSettings {
            status_interval: interval,
            receive_timeout: patience.max(timeout),
            ..StreamSettings::default()
        }
    }
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings {
            status_interval: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(60),
            buffer_bytes: 256 * 1024,
            buffers: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_goes_out_thrice_in_the_servers_patience() {
        let interval = |ms| StreamSettings::for_wal_sender_timeout(Duration::from_millis(ms)).status_interval;
        assert_eq!(interval(0), Duration::from_secs(10));
        assert_eq!(interval(60_000), Duration::from_secs(10));
        assert_eq!(interval(2_001), Duration::from_millis(667));
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_waits_for_us() {
        let patience = |s| StreamSettings::for_wal_sender_timeout(Duration::from_secs(s)).receive_timeout.as_secs();
        assert_eq!((patience(0), patience(2), patience(60), patience(300)), (60, 60, 60, 300));
    }
}
