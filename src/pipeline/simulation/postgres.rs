//! A Postgres server as far as a slot goes: WAL, one slot, connections, a walsender for each stream.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::wire;

/// A connection whose client has been silent so long is closed (`wal_sender_timeout`).
pub(super) const SENDER_TIMEOUT: Duration = Duration::from_secs(6);
/// Rows that one buffer of a long transaction holds.
const PIECE_ROWS: usize = 2;

/// What the WAL holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A commit of so many inserted rows.
    Commit { rows: usize },
    /// A non-transactional message.
    Message,
    /// What no subscriber sees: an aborted transaction, another table.
    Noise,
}

/// A record of the WAL: a commit's LSN is `at`, its end `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wal {
    pub(super) item: Item,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) timeline: u32,
    /// The server that was promoted does not have it.
    pub(super) lost: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) confirmed: u64,
    /// What a crash leaves of it.
    persisted: u64,
    /// The connection that streams it.
    pub(super) holder: Option<usize>,
}

/// What a buffer from the server holds.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Data(Rc<[u8]>),
    Keepalive { wal_end: u64, reply_requested: bool },
}

/// A replication connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The server has not seen its end.
    pub(super) open: bool,
    /// The client has closed it, or is gone.
    pub(super) left: bool,
    sender: Option<Sender>,
    pub(super) inbox: VecDeque<Vec<Message>>,
    /// What the client has confirmed, and what of it has arrived.
    pub(super) confirmed: u64,
    reported: u64,
}

#[derive(Debug)]
struct Sender {
    from: u64,
    /// Index of the next record.
    next: usize,
    /// Rows of it that are sent.
    rows: usize,
    described: bool,
    /// The last position that a keepalive named.
    kept_alive: u64,
}

#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) up: bool,
    pub(super) wal: Vec<Wal>,
    pub(super) end: u64,
    pub(super) timeline: u32,
    /// Timelines that were left, and where.
    pub(super) history: Vec<(u32, u64)>,
    pub(super) slot: Option<Slot>,
    pub(super) connections: Vec<Connection>,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Gone,
    Held,
    Missing,
    Exists,
}

impl Postgres {
    pub(super) fn new() -> Postgres {
        let (wal, history, connections) = Default::default();
        Postgres { up: true, wal, end: 1000, timeline: 1, history, slot: None, connections }
    }

    /// Writes WAL; without a gap a commit starts where the last record ended.
    pub(super) fn write(&mut self, item: Item, gap: bool) {
        let at = self.end + if gap { 16 } else { 0 };
        self.end = at + 8;
        self.wal.push(Wal { item, at, end: self.end, timeline: self.timeline, lost: false });
    }

    pub(super) fn connect(&mut self) -> Result<usize, Refused> {
        if !self.up {
            return Err(Refused::Gone);
        }
        let inbox = VecDeque::new();
        let connection = Connection { open: true, left: false, sender: None, inbox, confirmed: 0, reported: 0 };
        self.connections.push(connection);
        Ok(self.connections.len() - 1)
    }

    fn command(&self, connection: usize) -> Result<(), Refused> {
        if self.up && self.connections[connection].open { Ok(()) } else { Err(Refused::Gone) }
    }

    pub(super) fn create_slot(&mut self, connection: usize) -> Result<u64, Refused> {
        self.command(connection)?;
        if self.slot.is_some() {
            return Err(Refused::Exists);
        }
        self.slot = Some(Slot { confirmed: self.end, persisted: self.end, holder: None });
        Ok(self.end)
    }

    pub(super) fn drop_slot(&mut self, connection: usize) -> Result<(), Refused> {
        self.command(connection)?;
        match self.slot {
            None => Err(Refused::Missing),
            Some(Slot { holder: Some(_), .. }) => Err(Refused::Held),
            Some(_) => {
                self.slot = None;
                Ok(())
            }
        }
    }

    /// START_REPLICATION: what lies before the slot's own position is skipped in silence.
    pub(super) fn start(&mut self, connection: usize, from: u64) -> Result<(), Refused> {
        self.command(connection)?;
        let slot = self.slot.as_mut().ok_or(Refused::Missing)?;
        if slot.holder.is_some() {
            return Err(Refused::Held);
        }
        slot.holder = Some(connection);
        let from = from.max(slot.confirmed);
        let kept_alive = from;
        self.connections[connection].sender = Some(Sender { from, next: 0, rows: 0, described: false, kept_alive });
        Ok(())
    }

    /// A stream that has something to send.
    pub(super) fn sending(&self) -> Option<usize> {
        self.connections.iter().position(|connection| {
            let more = |sender: &Sender| sender.next < self.wal.len() || sender.kept_alive < self.end;
            connection.open && self.up && connection.sender.as_ref().is_some_and(more)
        })
    }

    /// The walsender's next buffer. `cut`: only the beginning of a transaction; `ask`: a keepalive asks for a reply.
    pub(super) fn send(&mut self, connection: usize, cut: bool, ask: bool) {
        let end = self.end;
        let Some(sender) = self.connections[connection].sender.as_mut() else { return };
        let mut buffer = Vec::new();
        match self.wal.get(sender.next) {
            Some(record) if record.at < sender.from || record.lost => sender.next += 1,
            Some(record) => sender.record(record, sender.next, cut, end, &mut buffer),
            None => {
                sender.kept_alive = end;
                buffer.push(Message::Keepalive { wal_end: end, reply_requested: ask });
            }
        }
        if !buffer.is_empty() {
            self.connections[connection].inbox.push_back(buffer);
        }
    }

    /// A stream whose client has confirmed more than has arrived. The server takes it in order, and only forwards.
    pub(super) fn unreported(&self) -> Option<usize> {
        self.connections.iter().position(|connection| connection.open && connection.confirmed > connection.reported)
    }

    pub(super) fn report(&mut self, connection: usize) {
        let reporting = &mut self.connections[connection];
        reporting.reported = reporting.confirmed;
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(connection)) {
            slot.confirmed = slot.confirmed.max(reporting.reported);
        }
    }

    /// A connection of which the server has not seen the end.
    pub(super) fn hanging(&self) -> Option<usize> {
        self.connections.iter().position(|connection| connection.open && connection.left)
    }

    /// The server ends a connection, or sees its end.
    pub(super) fn close(&mut self, connection: usize) {
        self.connections[connection].open = false;
        self.connections[connection].sender = None;
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(connection)) {
            slot.holder = None;
        }
    }

    /// All connections break, and the slot is where it was persisted last, or not so far back.
    pub(super) fn crash(&mut self, far_back: bool) {
        self.up = false;
        (0..self.connections.len()).for_each(|connection| self.close(connection));
        if let Some(slot) = self.slot.as_mut().filter(|_| far_back) {
            slot.confirmed = slot.persisted;
        }
    }
}

impl Postgres {
    /// A standby takes over, with the slot as it was synchronized; `behind`: the last record had not reached it.
    pub(super) fn promote(&mut self, behind: bool) {
        self.crash(false);
        if let Some(last) = self.wal.iter_mut().rev().find(|record| !record.lost).filter(|_| behind) {
            last.lost = true;
            self.end = last.at;
        }
        // One that lacks what led to an earlier switch never followed it.
        let followed = self.history.iter().position(|(_, at)| *at > self.end);
        let left = followed.map_or(self.timeline, |first| self.history[first].0);
        self.history.truncate(followed.unwrap_or(self.history.len()));
        self.history.push((left, self.end));
        self.timeline += 1;
        if let Some(slot) = &mut self.slot {
            slot.confirmed = slot.confirmed.min(self.end);
            slot.persisted = slot.persisted.min(self.end);
        }
    }
}

impl Sender {
    fn record(&mut self, record: &Wal, number: usize, cut: bool, end: u64, buffer: &mut Vec<Message>) {
        let mut data = |bytes: Vec<u8>| buffer.push(Message::Data(bytes.into()));
        match record.item {
            Item::Noise => {}
            Item::Message => data(wire::message(record.at)),
            Item::Commit { rows } => {
                if self.rows == 0 {
                    data(wire::begin(number, record.at));
                    if !std::mem::replace(&mut self.described, true) {
                        data(wire::relation());
                    }
                }
                let until = rows.min(self.rows + if cut { 1 } else { PIECE_ROWS });
                (self.rows..until).for_each(|row| data(wire::insert(number, row)));
                self.rows = until;
                if until < rows || cut {
                    // A server may say anything inside of a transaction: not all before this has been sent.
                    buffer.push(Message::Keepalive { wal_end: end, reply_requested: false });
                }
                if until < rows {
                    return;
                }
                buffer.push(Message::Data(wire::commit(record.at, record.end).into()));
            }
        }
        (self.next, self.rows) = (number + 1, 0);
    }
}
