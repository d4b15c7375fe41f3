//! One session: from START_REPLICATION to its end. Wires reader, assembler and committer, and watches them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::assembler::Assembler;
use super::committer::{Committer, CommitterSettings};
use super::connector::End;
use super::inflight::Inflight;
use super::lane::KafkaLane;
use super::monitor::Monitor;
use super::snapshot::{Commands, Worker, WorkerSettings};
use super::task::{Stop, Stopper, Task, stop_signal};
use super::unit::Unit;
use crate::error::{Error, Kind, Result};
use crate::faults::{self, Failpoint, Mutation, mutated};
use crate::model::Lsn;
use crate::source::{Frame, Frames, Stream};

/// Units that may wait for the committer.
pub(super) const UNITS: usize = 16;
/// A unit that gathers while the committer is behind leaves at this size.
const UNIT_BYTES: usize = 1 << 20;
/// Of a backlog, units of this size are worth waiting so long for: each costs Kafka requests of its own.
const HELD_BYTES: usize = 256 << 10;
const HELD: Duration = Duration::from_millis(20);
/// A source that is silent so long inside a large transaction has its Kafka transaction aborted, once.
const LARGE_SILENCE: Duration = Duration::from_secs(10);
/// How often the monitor looks at slot and publication.
const MONITOR_INTERVAL: Duration = Duration::from_secs(5);

/// All that a session needs, ready to run.
pub(super) struct Session {
    pub(super) stream: Arc<Stream>,
    pub(super) assembler: Assembler,
    pub(super) units: Sender<Unit>,
    /// Says that the committer has taken all of them.
    pub(super) room: Receiver<()>,
    pub(super) committer: CommitterSettings,
    pub(super) lane: KafkaLane,
    pub(super) inflight: Inflight,
    pub(super) monitor: Monitor,
    pub(super) silenced: Silenced,
    /// Those who read rows that exist already.
    pub(super) workers: Vec<WorkerSettings>,
    /// What the next session is to begin with.
    pub(super) commands: Commands,
}

/// The large transaction inside which the source fell silent last, by its commit LSN. Where it does so again, the server
/// is busy there, with changes that are not published for one, and would be each time: the limit of the Kafka transaction
/// alone decides then.
#[derive(Clone, Debug, Default)]
pub(super) struct Silenced(Arc<AtomicU64>);

impl Silenced {
    /// Notes a silence; whether it is the first one inside this transaction.
    pub(super) fn is_first(&self, commit_lsn: Lsn) -> bool {
        self.0.swap(commit_lsn.0, Ordering::Relaxed) != commit_lsn.0
    }
}

/// Runs until the stop, or until one of its parts fails.
pub(super) fn run(session: Session, stop: &Stop) -> Result<End> {
    let Session { stream, assembler, units, room, committer, lane, inflight, mut monitor, silenced, workers, commands } =
        session;
    let (ended, any_ended) = bounded(2);
    let (intake_stopper, intake) = stop_signal();
    let (reading_stopper, reading_stop) = stop_signal();
    let told = ended.clone();
    let committing = {
        let ended = ended.clone();
        Task::spawn("commit", move || {
            let _ended = EndSignal(Some(ended));
            Committer::new(committer, lane).run()
        })?
    };
    let assembling = {
        let stream = stream.clone();
        Task::spawn("assemble", move || {
            let _ended = EndSignal(Some(ended));
            assemble(assembler, &stream, (&units, &room), &inflight, &silenced, &intake)
        })?
    };
    let read = |(number, worker)| read(number, worker, reading_stop.clone(), told.clone());
    let reading = workers.into_iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
    let watched = watch(&mut monitor, &stream, &any_ended, &commands, stop);
    let (watched, ended_by) = match watched {
        Ok(ended_by) => (Ok(()), ended_by),
        Err(error) => (Err(error), None),
    };
    let ended_by = if stop.is_set() { Some(End::Stopped) } else { ended_by };
    // First of all: nobody may wait for a thread that waits for an answer.
    drop(reading_stopper);
    let ended = end(stream, intake_stopper, assembling, committing, watched, ended_by);
    let read: Result<()> = reading.into_iter().map(Task::join).fold(Ok(()), Result::and);
    if ended_by.is_some() { ended } else { read.and(ended) }
}

/// A worker's thread. Its end is the session's only if it is an error.
fn read(number: usize, settings: WorkerSettings, stop: Stop, ended: Sender<()>) -> Result<Task<()>> {
    Task::spawn(&format!("snapshot-{number}"), move || {
        // Also by a panic.
        let mut told = EndSignal(Some(ended));
        let read = Worker::new(settings, stop).and_then(Worker::run);
        if read.is_ok() {
            told.0 = None;
        }
        read
    })
}

/// Waits for what ends the session, and lets the monitor look at once and now and then. None: one of its threads has ended.
fn watch(
    monitor: &mut Monitor,
    stream: &Stream,
    any_ended: &Receiver<()>,
    commands: &Commands,
    stop: &Stop,
) -> Result<Option<End>> {
    monitor.look(stream)?;
    loop {
        select! {
            recv(any_ended) -> _ => return Ok(None),
            recv(stop.channel()) -> _ => return Ok(Some(End::Stopped)),
            recv(commands.woken()) -> _ => return Ok(Some(End::Again)),
            default(MONITOR_INTERVAL) => monitor.look(stream)?,
        }
    }
}

/// Stops the intake, lets the committer finish what it has, closes the replication connection; the cause comes first.
fn end(
    stream: Arc<Stream>,
    intake: Stopper,
    assembling: Task<()>,
    committing: Task<()>,
    watched: Result<()>,
    ended_by: Option<End>,
) -> Result<End> {
    drop(intake);
    faults::pass(Failpoint::DrainBegun);
    let assembled = assembling.join();
    let committed = committing.join();
    faults::pass(Failpoint::DrainCommitted);
    let closed = Arc::into_inner(stream).map_or(Ok(()), |stream| stream.stop(None));
    watched.and(committed)?;
    if let Some(end) = ended_by {
        return closed.map(|()| end);
    }
    assembled?;
    Err(stream_ended(closed))
}

fn stream_ended(closed: Result<()>) -> Error {
    closed.err().unwrap_or_else(|| Error::new(Kind::PostgresUnreachable, "the replication stream ended"))
}

/// The assembler's thread: frames in, units out.
fn assemble(
    mut assembler: Assembler,
    stream: &Stream,
    (units, room): (&Sender<Unit>, &Receiver<()>),
    inflight: &Inflight,
    silenced: &Silenced,
    intake: &Stop,
) -> Result<()> {
    let mut sink = |unit: Unit| {
        inflight.add(&unit);
        select! {
            send(units, unit) -> sent => sent.map_err(|_| Error::new(Kind::KafkaUnreachable, "the committer has ended")),
            recv(intake.channel()) -> _ => Err(Error::new(Kind::PostgresUnreachable, "stopped")),
        }
    };
    let waiting = || units.len();
    let mut held: Option<Instant> = None;
    loop {
        let mut patience = if assembler.large_open().is_some() { LARGE_SILENCE } else { Duration::from_secs(3600) };
        let asks = assembler.asks();
        let paused = assembler.paused_until();
        if let Some(until) = paused {
            patience = patience.min(until.saturating_duration_since(Instant::now()));
        }
        if let Some(since) = held {
            patience = patience.min(HELD.saturating_sub(since.elapsed()));
        }
        let frames = if paused.is_some() { &never() } else { &stream.frames };
        // Only chunks wait for room.
        let room = if assembler.is_gated() { room } else { &never() };
        select! {
            recv(asks) -> ask => {
                if let Ok(ask) = ask {
                    assembler.answer(ask)?;
                }
                assembler.answer_all()?;
                assembler.publish_ready(waiting, &mut sink)?;
            }
            recv(frames) -> frames => match frames {
                Ok(frames) => {
                    take(&mut assembler, stream, &frames, &mut sink)?;
                    stream.recycle(frames);
                    // While the committer is behind and more has arrived, one unit gathers on, so that groups grow with the lag.
                    let gathers = units.is_full() && !stream.frames.is_empty() && assembler.gathered_bytes() < UNIT_BYTES;
                    held = holds(&assembler, held);
                    if !gathers && held.is_none() {
                        assembler.flush(&mut sink)?;
                    }
                    assembler.publish_ready(waiting, &mut sink)?;
                }
                Err(_) => return Ok(()),
            },
            recv(room) -> _ => assembler.publish_ready(waiting, &mut sink)?,
            recv(intake.channel()) -> _ => return Ok(()),
            default(patience) => {
                if held.take().is_some() {
                    assembler.flush(&mut sink)?;
                }
            }
        }
        if let Some(commit_lsn) = assembler.large_open()
            && assembler.heard().elapsed() >= LARGE_SILENCE
            && silenced.is_first(commit_lsn)
        {
            let detail = format!("the source was silent for 10 s inside the transaction committed at {commit_lsn}");
            return Err(Error::new(Kind::PostgresUnreachable, detail));
        }
    }
}

/// Since when whole transactions of a backlog wait for others; None: they are to leave.
fn holds(assembler: &Assembler, held: Option<Instant>) -> Option<Instant> {
    if !assembler.is_behind() || assembler.gathered_bytes() >= HELD_BYTES {
        return None;
    }
    let since = held.unwrap_or_else(Instant::now);
    (since.elapsed() < HELD).then_some(since)
}

/// Hands one buffer's frames to the assembler.
fn take(
    assembler: &mut Assembler,
    stream: &Stream,
    frames: &Frames,
    sink: &mut impl FnMut(Unit) -> Result<()>,
) -> Result<()> {
    let (mut data, mut sent_us) = (false, None);
    // How many of the frames have had the keys of their changes looked up.
    let mut located = 0;
    for (number, frame) in frames.iter().enumerate() {
        match frame {
            Frame::Data { wal_start, server_time_us, body, .. } => {
                (data, sent_us) = (true, Some(server_time_us));
                if assembler.is_gated() {
                    assembler.answer_all()?;
                    if located <= number {
                        located = number.saturating_add(assembler.locate(bodies(frames, number))?);
                    }
                }
                let row = body.first().is_some_and(|tag| b"IUD".contains(tag));
                if mutated(Mutation::ResumeByRowLsn) && row && assembler.is_behind_us(wal_start) {
                    continue;
                }
                assembler.message(body, sink)?;
            }
            Frame::Keepalive { wal_end, reply_requested, .. } => {
                if mutated(Mutation::AckOnKeepalive) {
                    stream.confirm(wal_end);
                }
                assembler.keepalive(wal_end, reply_requested)?;
                sent_us = None;
            }
        }
    }
    assembler.sent(sent_us);
    if data {
        // Behind them: the time for which this thread or Kafka has held them is not the source's silence.
        assembler.hear(Instant::now());
    }
    Ok(())
}

/// The messages from this frame on; a keepalive has none.
fn bodies(frames: &Frames, from: usize) -> impl Iterator<Item = &[u8]> {
    frames.iter().skip(from).map(|frame| match frame {
        Frame::Data { body, .. } => body,
        Frame::Keepalive { .. } => &[],
    })
}

/// Says when dropped, also by a panic, that its thread has ended.
struct EndSignal(Option<Sender<()>>);

impl Drop for EndSignal {
    fn drop(&mut self) {
        // Full: the watcher has been told of the other thread's end.
        let _told = self.0.take().map(|told| told.try_send(()));
    }
}
