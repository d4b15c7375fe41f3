//! The fence: whoever published for this connector before can commit nothing any more.

use std::thread::{Builder, scope};
use std::time::Instant;

use super::{Producer, Progress};
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint};
use crate::kafka::KafkaClient;

/// Transactional ids with which a connector may publish: `<prefix>.<connector>.0` to `.7`. All are fenced, whatever
/// number of producers this version uses, so that versions can follow each other.
pub const DATA_IDS: usize = 8;

/// The producers that own a connector's transactional ids.
pub struct Fenced {
    /// With `<prefix>.<connector>`, which never carries events.
    pub control: Producer,
    /// With `<prefix>.<connector>.0`.
    pub data: Producer,
}

/// Takes over the control id, then the first of the ids that carry events, which is kept, then the others: whoever holds
/// the first still will have the others taken from it (see `Turns`). `topic` is one that exists.
///
/// Errors: `KafkaUnreachable` where a coordinator does not answer until then, `KafkaTransaction` where another instance
/// fences at the same time, `KafkaAuthorization` and `KafkaSetting` (transaction.timeout.ms over the broker's limit).
pub fn fence(
    client: &KafkaClient,
    prefix: &str,
    connector: &str,
    topic: &str,
    transaction_timeout_ms: u32,
    until: Instant,
) -> Result<Fenced> {
    let control_id = control_id(prefix, connector);
    let topics = [topic.to_owned()];
    let take = |id: String| take_over(client, &id, &topics, transaction_timeout_ms, until);
    let control = take(control_id.clone())?;
    faults::pass(Failpoint::ControlFenced);
    let data = |number: usize| -> Result<Producer> {
        let producer = take(data_id(&control_id, number))?;
        faults::pass(Failpoint::DataFenced);
        Ok(producer)
    };
    let others = || {
        // One coordinator round trip and, after a crash, one abort each: in parallel they cost what one costs.
        scope(|threads| {
            let started: Vec<_> = (1..DATA_IDS)
                .map(|number| {
                    let work = move || data(number).map(drop);
                    Builder::new().name(format!("fence.{number}")).spawn_scoped(threads, work)
                })
                .collect();
            started.into_iter().try_for_each(|thread| {
                let thread = thread.map_err(|error| Error::new(Kind::Bug, "cannot start a thread").because(error))?;
                thread.join().map_err(|_| Error::new(Kind::Bug, "a thread panicked while fencing"))?
            })
        })
    };
    let first = data(0)?;
    others()?;
    Ok(Fenced { control, data: first })
}

/// The connector's transactional id that never carries events; those that do begin with it.
pub fn control_id(prefix: &str, connector: &str) -> String {
    format!("{prefix}.{connector}")
}

/// The transactional id of the connector's producer with this number.
pub(super) fn data_id(control_id: &str, number: usize) -> String {
    format!("{control_id}.{number}")
}

/// A producer with this transactional id, whoever had it, that knows who leads the partitions of `topics`, which exist.
/// Errors: as `fence`.
pub(super) fn take_over(
    client: &KafkaClient,
    id: &str,
    topics: &[String],
    transaction_timeout_ms: u32,
    until: Instant,
) -> Result<Producer> {
    let mut producer = Producer::transactional(client, id, transaction_timeout_ms)?;
    // Before, since librdkafka puts off its search for the coordinator by 500 ms while it is connected to no broker.
    // What fails here fails below, where the cause is known.
    drop(producer.look_up(topics, until));
    match producer.init(until)? {
        Progress::Done => Ok(producer),
        Progress::Pending => Err(producer.pending_error(&format!("take over transactional id {id}"))),
    }
}
