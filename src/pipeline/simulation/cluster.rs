//! All that is outside of the instances, on one clock: Kafka, Postgres, who runs, and what was seen.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::check::{Doubles, Oracle};
use super::choice::Choices;
use super::flaw::Flaw;
use super::kafka::{Answer, Kafka, TRANSACTION_TIMEOUT};
use super::postgres::{Item, Postgres};
use crate::error::Kind;

/// What a run is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// WAL in the order of commit: what, and whether something lies between it and what was before.
    pub(super) workload: &'static [(Item, bool)],
    /// Instances.
    pub(super) instances: usize,
    /// Whether the second one starts with the first.
    pub(super) together: bool,
    pub(super) transactional: bool,
    /// All lives but the first one publish the other way.
    pub(super) switches: bool,
    pub(super) split: bool,
    /// The source commits all but the last at once.
    pub(super) burst: bool,
    /// It sends everything long after its commit.
    pub(super) behind: bool,
    /// A mistake in the protocol.
    pub(super) flaw: Option<Flaw>,
}

impl Scope {
    fn doubles(&self) -> Doubles {
        match (self.transactional, self.instances) {
            (true, _) => Doubles::None,
            (false, 1) => Doubles::Late,
            (false, _) => Doubles::Any,
        }
    }
}

/// What an instance waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum On {
    /// Nothing but to be run.
    Turn,
    /// Only time.
    Sleep,
    /// A buffer from the server, or the end of the connection.
    Inbox(usize),
    /// All records of the producer acknowledged, or one refused.
    Delivered(usize),
    /// The id's transaction marked everywhere.
    Marked(usize),
    /// The partition stable up to this offset.
    Stable(usize, usize),
    /// A broker answers.
    Broker,
}

/// An instance as its surroundings see it.
#[derive(Debug)]
pub(super) struct Node {
    /// Grows with each start; an old life does nothing any more.
    pub(super) life: u32,
    pub(super) alive: bool,
    pub(super) wait: (On, Option<Duration>),
    /// What it does next.
    pub(super) doing: &'static str,
    /// It was told to stop.
    pub(super) stopping: bool,
    /// When it is started; None: not by itself.
    pub(super) start_at: Option<Duration>,
    /// The connection it has.
    pub(super) connection: Option<usize>,
    pub(super) commits: u64,
    /// When its session committed last, or began.
    pub(super) committed_at: Duration,
}

pub(super) struct Cluster {
    pub(super) scope: Scope,
    pub(super) now: Duration,
    pub(super) choices: Choices,
    pub(super) kafka: Kafka,
    pub(super) postgres: Postgres,
    /// No broker answers before then.
    pub(super) away_until: Duration,
    pub(super) oracle: Oracle,
    pub(super) nodes: Vec<Node>,
    pub(super) violation: Option<String>,
    /// A person must decide how to go on.
    pub(super) over: bool,
    /// Filled where a schedule is told.
    pub(super) trace: Option<Vec<String>>,
    /// Faults that doubles may come of.
    pub(super) faults: u32,
}

/// Where the virtual clock begins.
pub(super) fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

impl Cluster {
    pub(super) fn new(scope: Scope, mut choices: Choices, told: bool) -> Cluster {
        choices.named = told.then(Vec::new);
        let node = |index: usize| Node {
            life: 0,
            alive: false,
            wait: (On::Turn, None),
            doing: "",
            stopping: false,
            start_at: (index == 0 || scope.together).then_some(Duration::ZERO),
            connection: None,
            commits: 0,
            committed_at: Duration::ZERO,
        };
        Cluster {
            scope,
            now: Duration::ZERO,
            choices,
            kafka: Kafka::default(),
            postgres: Postgres::new(),
            away_until: Duration::ZERO,
            oracle: Oracle::new(scope.split, scope.doubles()),
            nodes: (0..scope.instances).map(node).collect(),
            violation: None,
            over: false,
            trace: told.then(Vec::new),
            faults: 0,
        }
    }

    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (now, question) = (self.now.as_millis(), self.choices.taken.len());
            trace.push(format!("{now:>7} ms  #{question:<4} {}", text()));
        }
    }

    pub(super) fn judge(&mut self, judgement: Result<(), String>) {
        if let Err(violation) = judgement {
            self.say(|| format!("!!! {violation}"));
            self.violation.get_or_insert(violation);
        }
    }

    /// The coordinator is asked to end a transaction; what it decides is judged.
    pub(super) fn end_transaction(&mut self, producer: usize, commit: bool) -> Answer {
        let current =
            self.kafka.current(producer).filter(|current| self.kafka.transactions[*current].outcome.is_none());
        let answer = self.kafka.end(producer, commit);
        if let (Answer::Done, true, Some(current)) = (answer, commit, current) {
            let judgement = self.oracle.decided(&self.kafka, &self.postgres, current);
            let next_lsn = self.oracle.next_lsn;
            self.say(|| format!("        transaction {current} is committed, the checkpoint is at {next_lsn}"));
            self.judge(judgement);
        }
        answer
    }

    pub(super) fn is_ready(&self, on: On) -> bool {
        match on {
            On::Turn => true,
            On::Sleep => false,
            On::Inbox(connection) => {
                let connection = &self.postgres.connections[connection];
                !connection.inbox.is_empty() || !connection.open || connection.left
            }
            On::Delivered(producer) => {
                let producer = &self.kafka.producers[producer];
                producer.failed || producer.done == producer.sent
            }
            On::Marked(id) => !self.kafka.marking(id),
            On::Stable(partition, offset) => self.kafka.stable(partition) >= offset,
            On::Broker => self.away_until <= self.now,
        }
    }

    /// A session or a process has ended: its connection, and its producers, of which something may still arrive.
    pub(super) fn leave(&mut self, connection: Option<usize>, producers: &[usize]) {
        if let Some(connection) = connection {
            self.postgres.connections[connection].left = true;
        }
        for producer in producers {
            let subject = (*producer, "what is on the network");
            let lose = self.kafka.is_sending(*producer) && self.choices.choose(subject, &[("arrives", ())]) == 0;
            self.kafka.abandon(*producer, lose);
        }
    }

    /// An instance halts: right only where another one has taken over, a failover lost what was published, or a transaction
    /// failed twice after its time was up. A person then starts it again.
    pub(super) fn halt(&mut self, id: usize, kind: Kind) {
        let others = self.nodes.iter().enumerate().any(|(other, node)| other != id && node.life > 0);
        self.nodes[id].alive = false;
        match kind {
            Kind::TakenOver if others => {}
            // Something was published that the promoted server does not have.
            Kind::TimelineMismatch if !self.oracle.lies_on(&self.postgres) => {
                self.over = true;
            }
            Kind::TransactionTooLong => {
                self.nodes[id].start_at = Some(self.now + Duration::from_secs(300));
            }
            _ => self.judge(Err(format!("HALT: an instance halts with {kind}"))),
        }
    }

    /// Whether an instance that was told to stop has done so; it is started again soon.
    pub(super) fn has_stopped(&mut self, id: usize) -> bool {
        let stopping = self.nodes[id].stopping;
        if stopping {
            let start_at = self.now + Duration::from_secs(1);
            (self.nodes[id].alive, self.nodes[id].start_at) = (false, Some(start_at));
            self.say(|| "an instance has stopped".to_owned());
        }
        stopping
    }

    /// A session has committed so often.
    pub(super) fn committed(&mut self, id: usize, commits: u64) {
        self.nodes[id].commits += commits;
        self.nodes[id].committed_at = self.now;
    }

    /// Only a Kafka transaction that has used up most of its time may be called too long.
    pub(super) fn judge_length(&mut self, id: usize, kind: Kind) {
        let lasted = self.now - self.nodes[id].committed_at;
        if kind == Kind::TransactionTooLong && lasted < TRANSACTION_TIMEOUT.mul_f64(0.9) {
            self.judge(Err(format!("TOO LONG: so a Kafka transaction is called that lasted {lasted:?}")));
        }
    }
}
