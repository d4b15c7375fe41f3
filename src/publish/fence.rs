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

/// Takes over the control id, then all ids that carry events, and keeps the first.
///
/// Errors: `KafkaUnreachable` where a coordinator does not answer until then, `KafkaTransaction` where another instance
/// fences at the same time, `KafkaAuthorization` and `KafkaSetting` (transaction.timeout.ms over the broker's limit).
pub fn fence(
    client: &KafkaClient,
    prefix: &str,
    connector: &str,
    transaction_timeout_ms: u32,
    until: Instant,
) -> Result<Fenced> {
    let control_id = format!("{prefix}.{connector}");
    let take = |id: String| take_over(client, &id, transaction_timeout_ms, until);
    let control = take(control_id.clone())?;
    faults::pass(Failpoint::ControlFenced);
    // One coordinator round trip and, after a crash, one abort each: in parallel they cost what one costs.
    let mut producers = scope(|threads| {
        let started: Vec<_> = (0..DATA_IDS)
            .map(|n| {
                let id = format!("{control_id}.{n}");
                let work = move || {
                    let producer = take(id)?;
                    faults::pass(Failpoint::DataFenced);
                    Ok((n == 0).then_some(producer))
                };
                Builder::new().name(format!("fence.{n}")).spawn_scoped(threads, work)
            })
            .collect();
        let joined = started.into_iter().map(|thread| {
            let thread = thread.map_err(|error| Error::new(Kind::Bug, "cannot start a thread").because(error))?;
            thread.join().map_err(|_| Error::new(Kind::Bug, "a thread panicked while fencing"))?
        });
        joined.collect::<Result<Vec<Option<Producer>>>>()
    })?;
    let data = producers.iter_mut().find_map(Option::take);
    let data = data.ok_or_else(|| Error::new(Kind::Bug, "fencing kept no producer"))?;
    Ok(Fenced { control, data })
}

fn take_over(client: &KafkaClient, id: &str, transaction_timeout_ms: u32, until: Instant) -> Result<Producer> {
    let mut producer = Producer::transactional(client, id, transaction_timeout_ms)?;
    match producer.init(until)? {
        Progress::Done => Ok(producer),
        Progress::Pending => Err(producer.pending_error(&format!("take over transactional id {id}"))),
    }
}
