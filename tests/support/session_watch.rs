//! What the sessions of a role hold at the source, looked at twenty times a second: transactions, and locks on tables.
//! Replication connections are left out, which hold a transaction while a slot is made.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Result;
use super::sql::Sql;

const PERIOD: Duration = Duration::from_millis(50);

const LONGEST: &str = "
SELECT EXTRACT(EPOCH FROM clock_timestamp() - xact_start)::float8, COALESCE(state, '') || ': ' || left(query, 160)
  FROM pg_stat_activity
 WHERE usename = $1 AND backend_type = 'client backend' AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1";
const LOCKS: &str = "
SELECT DISTINCT l.mode || ' on ' || c.relname
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE a.usename = $1 AND a.datname = current_database() AND c.relnamespace = 'public'::regnamespace AND l.mode <> 'AccessShareLock'";

#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) samples: u64,
    /// The longest that a transaction was seen open, in seconds, and what it did then.
    pub(crate) longest_s: f64,
    pub(crate) longest: String,
    /// Samples with a lock on a table above ACCESS SHARE, and which ones.
    pub(crate) locked: u64,
    pub(crate) locks: BTreeSet<String>,
}

pub(crate) struct SessionWatch {
    stop: Sender<()>,
    thread: JoinHandle<Result<Sessions>>,
}

impl SessionWatch {
    /// Watches the sessions of a role from now on, by a superuser's session in their database.
    pub(crate) fn start(sql: Sql, role: &str) -> Result<Self> {
        let ((stop, stopped), role) = (channel(), role.to_owned());
        let thread = Builder::new().name("session-watch".to_owned()).spawn(move || watch(&sql, &role, &stopped))?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn finish(self) -> Result<Sessions> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the watchdog of the sessions panicked")?
    }
}

fn watch(sql: &Sql, role: &str, stop: &Receiver<()>) -> Result<Sessions> {
    let mut seen = Sessions::default();
    while matches!(stop.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout)) {
        seen.samples += 1;
        if let Some(row) = sql.query(LONGEST, &[&role])?.first() {
            let open: f64 = row.try_get(0)?;
            if open > seen.longest_s {
                (seen.longest_s, seen.longest) = (open, row.try_get(1)?);
            }
        }
        let locks = sql.query(LOCKS, &[&role])?;
        seen.locked += u64::from(!locks.is_empty());
        for lock in &locks {
            seen.locks.insert(lock.try_get(0)?);
        }
    }
    Ok(seen)
}
