//! What a person asks of a connector's snapshots while it runs.
//!
//! A command ends the session, and the next one begins with what it asks for: there is one place where snapshots begin,
//! stop and go on. It costs the stream a second, and no row.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

/// How long a command waits for the connector to take it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command, as it is posted to `/connectors/{connector}/snapshots`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// Reads the rows of a table, or those for which `where` holds, beside the stream.
    Snapshot {
        /// `schema.table`
        table: String,
        /// A condition as SQL.
        #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// Reads no further, for now; None: whatever is read.
    Pause {
        /// `schema.table`
        table: Option<String>,
    },
    /// Goes on with what was paused.
    Resume {
        /// `schema.table`
        table: Option<String>,
    },
    /// Reads no further. What was published stays.
    Cancel {
        /// `schema.table`
        table: Option<String>,
    },
}

/// What became of a command: the tables that it was done to, or why it was not.
pub type Answer = Result<Vec<String>, String>;

/// A command on its way to the connector.
pub(in crate::pipeline) struct Asked {
    pub(in crate::pipeline) command: Command,
    pub(in crate::pipeline) answer: Sender<Answer>,
}

/// An answer that is given once what was asked for is on Kafka: until then a crash would forget it.
#[derive(Debug)]
pub(in crate::pipeline) struct Answered {
    to: Sender<Answer>,
    answer: Answer,
}

impl Answered {
    pub(in crate::pipeline) fn new(to: Sender<Answer>, answer: Answer) -> Answered {
        Answered { to, answer }
    }

    /// Whoever asked may have gone.
    pub(in crate::pipeline) fn tell(self) {
        drop(self.to.send(self.answer));
    }
}

/// The way from those who command to the connector.
#[derive(Clone)]
pub(in crate::pipeline) struct Commands(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<Asked>>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Default for Commands {
    fn default() -> Commands {
        let (wake, woken) = bounded(1);
        Commands(Arc::new(Shared { waiting: Mutex::default(), wake, woken }))
    }
}

impl Commands {
    /// Gives the command to the connector, and waits for what becomes of it.
    pub(in crate::pipeline) fn give(&self, command: Command) -> Answer {
        let (answer, answered) = bounded(1);
        self.with(|waiting| waiting.push(Asked { command, answer }));
        // Full: it is awake.
        let _woken = self.0.wake.try_send(());
        answered.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                format!("the connector has not taken the command within {} s", PATIENCE.as_secs())
            }
            RecvTimeoutError::Disconnected => {
                "the connector failed before the command was on Kafka: ask again".to_owned()
            }
        })?
    }

    /// What was asked since the last time.
    pub(in crate::pipeline) fn take(&self) -> Vec<Asked> {
        while self.0.woken.try_recv().is_ok() {}
        self.with(std::mem::take)
    }

    /// Becomes ready when there is something to take.
    pub(in crate::pipeline) fn woken(&self) -> &Receiver<()> {
        &self.0.woken
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Asked>) -> T) -> T {
        act(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
