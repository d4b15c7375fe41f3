//! When a connector publishes with more than one transactional id, and how it gets them.
//!
//! A commit is acknowledged before its markers are in the partitions. Until they are, the coordinator answers the next
//! transaction of the same id with CONCURRENT_TRANSACTIONS, and librdkafka waits a fixed 20 ms before it asks again. So a
//! connector that commits that often takes more ids, and gives them up when it has not for a while: a producer costs
//! threads and connections.

use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::Producer;
use super::fence::{data_id, take_over};
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint};
use crate::kafka::KafkaClient;

/// Producers of a connector that commits often.
const PRODUCERS: usize = 3;
/// A transaction that begins so soon after a commit may find its markers missing.
const SOON: Duration = Duration::from_millis(25);
/// So many of those within `OFTEN` are worth more producers.
const SOON_MAX: u32 = 5;
const OFTEN: Duration = Duration::from_secs(1);
/// After so long without any the others are given up; so long after they could not be taken they are tried again.
const REST: Duration = Duration::from_secs(60);
/// The longest that taking the others' ids may last.
const TAKE: Duration = Duration::from_secs(20);

/// Watches how often one connector commits.
pub struct Others {
    client: KafkaClient,
    /// `<prefix>.<connector>`
    control_id: String,
    transaction_timeout_ms: u32,
    /// To which they will publish.
    topics: Vec<String>,
    coming: Option<Receiver<Result<Vec<Producer>>>>,
    /// When they could not be taken.
    refused: Option<Instant>,
    committed: Option<Instant>,
    /// The last time that a transaction began soon.
    soon: Option<Instant>,
    /// How many have, from `counted` on.
    count: u32,
    counted: Instant,
}

impl Others {
    /// Of the connector whose ids begin with `control_id`; the producers that it takes are like `fence`'s.
    pub fn new(client: KafkaClient, control_id: String, transaction_timeout_ms: u32, topics: Vec<String>) -> Others {
        let (coming, refused, committed, soon) = (None, None, None, None);
        let counted = Instant::now();
        Others {
            client,
            control_id,
            transaction_timeout_ms,
            topics,
            coming,
            refused,
            committed,
            soon,
            count: 0,
            counted,
        }
    }

    /// A transaction begins; `alone`: with the first id, for there is no other. Those whose ids are ours now.
    pub fn begun(&mut self, alone: bool) -> Result<Vec<Producer>> {
        let now = Instant::now();
        if self.committed.is_some_and(|committed| now - committed < SOON) {
            self.soon = Some(now);
            if now - self.counted >= OFTEN {
                (self.count, self.counted) = (0, now);
            }
            self.count += 1;
        }
        if let Some(coming) = &self.coming {
            let taken = match coming.try_recv() {
                Err(TryRecvError::Empty) => return Ok(Vec::new()),
                Err(TryRecvError::Disconnected) => Err(Error::new(Kind::Bug, "a thread panicked")),
                Ok(taken) => taken,
            };
            self.coming = None;
            return Ok(taken.unwrap_or_else(|error| {
                // One is enough to go on with; if it is fenced it will say so itself.
                tracing::info!(error = %error.chain(), "publishing goes on with one transactional id");
                self.refused = Some(now);
                Vec::new()
            }));
        }
        let may_try = self.refused.is_none_or(|refused| now - refused >= REST);
        if alone && may_try && self.count >= SOON_MAX {
            self.count = 0;
            self.coming = Some(self.take(now + TAKE)?);
        }
        Ok(Vec::new())
    }

    /// A transaction is committed.
    pub fn committed(&mut self) {
        self.committed = Some(Instant::now());
    }

    /// When the others may be given up, if nothing is published until then.
    pub fn rest_at(&self) -> Option<Instant> {
        self.soon.map(|soon| soon + REST)
    }

    /// In a thread of its own, while publishing goes on: taking an id over lasts some round trips.
    fn take(&self, until: Instant) -> Result<Receiver<Result<Vec<Producer>>>> {
        let (taken, coming) = bounded(1);
        let (client, control_id, timeout) = (self.client.clone(), self.control_id.clone(), self.transaction_timeout_ms);
        let topics = self.topics.clone();
        let take = move || {
            let others = (1..PRODUCERS).map(|number| {
                let producer = take_over(&client, &data_id(&control_id, number), &topics, timeout, until)?;
                faults::pass(Failpoint::OtherTaken);
                Ok(producer)
            });
            // The session may have ended.
            drop(taken.send(others.collect()));
        };
        let spawned = Builder::new().name("others".to_owned()).spawn(take);
        spawned.map_err(|error| Error::new(Kind::Bug, "cannot start a thread").because(error))?;
        Ok(coming)
    }
}
