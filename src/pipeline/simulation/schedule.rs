//! The scheduler: who runs next, on one thread. Each actor that can do something stands in a fixed order; the first one
//! runs, unless a choice says otherwise: it is held back for a while, or something breaks.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use super::actor::{ACTORS, Actor, Deviation, MOMENT};
use super::check::Oracle;
use super::choice::{Choices, List, Named};
use super::cluster::{Cluster, On, Scope};
use super::instance;
use super::node::{Node, told};

/// A schedule that takes more steps than this makes no progress.
const STEPS_MAX: usize = 20_000;
/// The virtual time after which the same is said.
const TIME_MAX: Duration = Duration::from_secs(3600);
const STACK_BYTES: usize = 256 << 10;

type Life = Coroutine<(), (), (), DefaultStack>;

/// One schedule being run.
struct Run {
    cluster: Rc<RefCell<Cluster>>,
    lives: [Option<Life>; 2],
    stalls: [Duration; ACTORS.len()],
    /// When the server gives a silent client up.
    evictions: Vec<(Duration, usize)>,
    /// What of the workload is written; the last item waits until all before it is through.
    written: usize,
    steps: usize,
}

/// What a schedule came to.
pub(super) struct Outcome {
    pub(super) taken: Vec<(u8, u8)>,
    pub(super) list: List,
    pub(super) violation: Option<String>,
    pub(super) trace: Vec<String>,
    /// The answers that are not 0; empty where the schedule was not told.
    pub(super) named: Vec<Named>,
    pub(super) steps: usize,
}

thread_local! {
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Runs one schedule to its end.
pub(super) fn run(scope: Scope, choices: Choices, told: bool) -> Outcome {
    let cluster = Rc::new(RefCell::new(Cluster::new(scope, choices, told)));
    let (lives, stalls, evictions) = Default::default();
    let mut run = Run { cluster, lives, stalls, evictions, written: 0, steps: 0 };
    while run.step() {}
    run.bury(0);
    run.bury(1);
    let mut cluster = run.cluster.borrow_mut();
    let (violation, trace) = (cluster.violation.take(), cluster.trace.take().unwrap_or_default());
    let list = cluster.choices.list();
    let named = cluster.choices.named.take().unwrap_or_default();
    Outcome { taken: std::mem::take(&mut cluster.choices.taken), list, violation, trace, named, steps: run.steps }
}

impl Run {
    fn see(&self) -> Ref<'_, Cluster> {
        self.cluster.borrow()
    }

    fn change(&self) -> RefMut<'_, Cluster> {
        self.cluster.borrow_mut()
    }

    /// One step; false: the schedule is over.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.see().now > TIME_MAX {
            self.change().judge(Err("NO PROGRESS: the limit of steps is reached".to_owned()));
        }
        if self.see().violation.is_some() || self.see().over {
            return false;
        }
        let now = self.see().now;
        let first = (0..ACTORS.len()).find(|index| self.stalls[*index] <= now && self.can(ACTORS[*index]));
        let Some(index) = first else { return self.pass_time() };
        let (actor, menu) = (ACTORS[index], ACTORS[index].menu());
        let subject = actor.subject(&self.see());
        let choice = self.change().choices.choose(subject, menu);
        match choice.checked_sub(1).map(|deviation| menu[deviation]) {
            None => self.act(actor, false, false),
            Some((name, deviation)) => {
                self.change().say(|| format!("  * {subject:?} {name}"));
                self.deviate(index, actor, deviation);
            }
        }
        true
    }

    fn can(&self, actor: Actor) -> bool {
        let cluster = self.see();
        let reachable = cluster.away_until <= cluster.now;
        match actor {
            Actor::Mark(partition) => reachable && cluster.kafka.unmarked(partition).is_some(),
            Actor::Acknowledge => reachable && cluster.kafka.unacknowledged().is_some(),
            Actor::Append(partition) => reachable && cluster.kafka.sender(partition).is_some(),
            Actor::Report => cluster.postgres.up && cluster.postgres.unreported().is_some(),
            Actor::HangUp => cluster.postgres.hanging().is_some() || self.evicted(&cluster).is_some(),
            Actor::PostgresStart => !cluster.postgres.up,
            Actor::Send => cluster.postgres.sending().is_some(),
            Actor::Go(id) => {
                self.lives[id].is_some() && {
                    let (on, until) = cluster.nodes[id].wait;
                    let told = cluster.nodes[id].stopping && matches!(on, On::Inbox(_) | On::Sleep);
                    told || cluster.is_ready(on) || until.is_some_and(|until| until <= cluster.now)
                }
            }
            Actor::Write => cluster.postgres.up && self.may_write(&cluster),
            Actor::Start(id) => cluster.nodes.get(id).is_some_and(|node| {
                self.lives[id].is_none() && node.start_at.is_some_and(|start_at| start_at <= cluster.now)
            }),
            Actor::TimeOut => cluster.kafka.overdue(cluster.now).is_some(),
        }
    }

    fn evicted(&self, cluster: &Cluster) -> Option<usize> {
        let due = self.evictions.iter().find(|(at, connection)| {
            let is_held = cluster.postgres.slot.is_some_and(|slot| slot.holder == Some(*connection));
            *at <= cluster.now && is_held
        });
        due.map(|(_, connection)| *connection)
    }

    /// The last commit of the workload is made when all is quiet: whoever is left must publish it.
    fn may_write(&self, cluster: &Cluster) -> bool {
        let workload = cluster.scope.workload;
        self.written + 1 < workload.len()
            || self.written < workload.len() && cluster.oracle.is_complete(&cluster.postgres)
    }

    fn act(&mut self, actor: Actor, cut: bool, ask: bool) {
        match actor {
            Actor::Go(id) => return self.go(id),
            Actor::Start(id) => return self.start(id),
            _ => {}
        }
        let mut cluster = self.cluster.borrow_mut();
        let cluster = &mut *cluster;
        match actor {
            Actor::Mark(partition) => {
                let Some(transaction) = cluster.kafka.unmarked(partition) else { return };
                cluster.kafka.mark(transaction, partition);
                cluster.say(|| format!("kafka: marker of transaction {transaction} in partition {partition}"));
            }
            Actor::Acknowledge => {
                let Some(producer) = cluster.kafka.unacknowledged() else { return };
                cluster.kafka.acknowledge(producer);
            }
            Actor::Append(partition) => append(cluster, partition),
            Actor::Report => {
                let Some(connection) = cluster.postgres.unreported() else { return };
                cluster.postgres.report(connection);
                let judgement = cluster.oracle.confirmed(&cluster.postgres);
                let at = cluster.postgres.slot.map_or(0, |slot| slot.confirmed);
                cluster.say(|| format!("postgres: the slot is at {at}"));
                cluster.judge(judgement);
            }
            Actor::HangUp => {
                let connection = cluster.postgres.hanging().or_else(|| self.evicted(cluster));
                let Some(connection) = connection else { return };
                cluster.postgres.close(connection);
                cluster.say(|| format!("postgres: connection {connection} is closed"));
            }
            Actor::PostgresStart => {
                cluster.postgres.up = true;
                cluster.say(|| "postgres: is up".to_owned());
            }
            Actor::Send => {
                let Some(connection) = cluster.postgres.sending() else { return };
                cluster.postgres.send(connection, cut, ask);
            }
            Actor::Write => {
                // Behind the first one, with which the other producer proves itself, all but the last, which is made when all is
                // quiet.
                let rest = cluster.scope.workload.len() - 1 - self.written;
                for _ in 0..if cluster.scope.burst && self.written > 0 { rest.max(1) } else { 1 } {
                    let (item, gap) = cluster.scope.workload[self.written];
                    self.written += 1;
                    cluster.postgres.write(item, gap);
                    let record = cluster.postgres.wal.last().copied();
                    cluster.say(|| format!("postgres: {record:?}"));
                }
            }
            Actor::TimeOut => {
                let Some(transaction) = cluster.kafka.overdue(cluster.now) else { return };
                cluster.kafka.time_out(transaction);
                cluster.say(|| format!("kafka: transaction {transaction} has timed out"));
            }
            Actor::Go(_) | Actor::Start(_) => {}
        }
    }

    fn go(&mut self, id: usize) {
        let Some(life) = &mut self.lives[id] else { return };
        if let CoroutineResult::Return(()) = life.resume(()) {
            let stack = self.lives[id].take().map(Life::into_stack);
            STACKS.with_borrow_mut(|stacks| stacks.extend(stack));
        }
    }

    fn start(&mut self, id: usize) {
        let cell = self.cluster.clone();
        let life = {
            let mut cluster = self.change();
            let node = &mut cluster.nodes[id];
            (node.life, node.alive, node.stopping, node.start_at) = (node.life + 1, true, false, None);
            node.life
        };
        let stack = STACKS.with_borrow_mut(Vec::pop).unwrap_or_else(|| DefaultStack::new(STACK_BYTES).unwrap());
        let body = move |yielder: &corosensei::Yielder<(), ()>, ()| {
            instance::live(Node { cell: &cell, yielder, id, life });
        };
        self.lives[id] = Some(Coroutine::with_stack(stack, body));
        self.go(id);
    }

    /// Ends a life without a further effect: each of its calls fails from here on.
    fn bury(&mut self, id: usize) {
        if let Some(node) = self.change().nodes.get_mut(id) {
            node.alive = false;
        }
        self.go(id);
        assert!(self.lives[id].is_none(), "a life goes on after its end");
    }

    fn deviate(&mut self, index: usize, actor: Actor, deviation: Deviation) {
        let now = {
            let mut cluster = self.change();
            cluster.faults += 1;
            cluster.now
        };
        match (deviation, actor) {
            (Deviation::Stall(time), _) => {
                self.stalls[index] = now + time;
                self.evict(actor, time);
            }
            (Deviation::Crash(pause), Actor::Go(id)) => self.crash(id, pause),
            (Deviation::Stop, Actor::Go(id)) => self.change().nodes[id].stopping = true,
            (Deviation::Disconnect, Actor::Go(id)) => {
                let mut cluster = self.change();
                if let Some(connection) = cluster.nodes[id].connection {
                    cluster.postgres.connections[connection].left = true;
                }
            }
            (Deviation::StartOther, _) => {
                let mut cluster = self.change();
                if let Some(node) = cluster.nodes.get_mut(1).filter(|node| node.life == 0) {
                    node.start_at = Some(now);
                }
            }
            (Deviation::WriteFirst, _) => {
                if self.can(Actor::Write) {
                    self.act(Actor::Write, false, false);
                }
            }
            (Deviation::KafkaAway(time), _) => self.change().away_until = now + time,
            (Deviation::Refuse, Actor::Append(partition)) => {
                let mut cluster = self.change();
                let sender = cluster.kafka.sender(partition);
                sender.into_iter().for_each(|sender| cluster.kafka.refuse(sender));
            }
            (Deviation::Overtake, Actor::Append(partition)) => {
                self.stalls[index] = now + MOMENT;
                self.change().kafka.reversed[partition] = true;
            }
            (Deviation::Cut, _) => self.act(actor, true, false),
            (Deviation::Ask, _) => self.act(actor, false, true),
            (Deviation::Promote { behind }, _) => self.change().postgres.promote(behind),
            (Deviation::PostgresCrash { far_back }, _) => self.change().postgres.crash(far_back),
            (
                Deviation::Crash(_) | Deviation::Stop | Deviation::Disconnect | Deviation::Refuse | Deviation::Overtake,
                _,
            ) => {
                unreachable!()
            }
        }
    }

    /// A server gives a client up that is silent for too long.
    fn evict(&mut self, actor: Actor, time: Duration) {
        let Actor::Go(id) = actor else { return };
        let cluster = self.see();
        let connection = cluster.nodes[id].connection.filter(|_| time > super::postgres::SENDER_TIMEOUT);
        let at = cluster.now + super::postgres::SENDER_TIMEOUT;
        drop(cluster);
        self.evictions.extend(connection.map(|connection| (at, connection)));
    }

    fn crash(&mut self, id: usize, pause: Duration) {
        self.bury(id);
        let mut cluster = self.change();
        let producers: Vec<usize> = cluster.kafka.living(id).collect();
        let connection = cluster.nodes[id].connection;
        cluster.leave(connection, &producers);
        let start_at = cluster.now + pause;
        cluster.nodes[id].start_at = Some(start_at);
    }

    /// Nobody can do anything now: the clock moves on, or the schedule is over.
    fn pass_time(&mut self) -> bool {
        let mut cluster = self.change();
        let now = cluster.now;
        let held = self.stalls.iter().any(|until| *until > now) || cluster.away_until > now;
        let through = self.written == cluster.scope.workload.len() && cluster.oracle.is_complete(&cluster.postgres);
        if through && !held {
            let mut judgement = cluster.oracle.end(&cluster.kafka, &cluster.postgres);
            if !cluster.scope.transactional {
                judgement = judgement.and(Oracle::order_of_lives(&cluster.kafka));
            }
            cluster.judge(judgement);
            return false;
        }
        let waits = cluster.nodes.iter().filter(|node| node.alive).filter_map(|node| node.wait.1);
        let starts = cluster.nodes.iter().filter_map(|node| node.start_at);
        let evictions = self.evictions.iter().map(|(at, _)| *at);
        let others = [Some(cluster.away_until), cluster.kafka.next_timeout()].into_iter().flatten();
        let deadlines = self.stalls.iter().copied().chain(waits).chain(starts).chain(evictions).chain(others);
        match deadlines.filter(|deadline| *deadline > now).min() {
            Some(next) => cluster.now = next,
            None => cluster.judge(Err("STUCK: nobody can do anything, and not all is published".to_owned())),
        }
        true
    }
}

fn append(cluster: &mut Cluster, partition: usize) {
    let Some(sender) = cluster.kafka.sender(partition) else { return };
    let before = cluster.kafka.logs[partition].len();
    let taken = cluster.kafka.append(partition, sender, cluster.now);
    if cluster.trace.is_some() {
        let records: Vec<String> =
            cluster.kafka.logs[partition][before..].iter().map(|entry| told(&entry.record)).collect();
        let what = if taken { records.join(", ") } else { "refused, the producer is fenced".to_owned() };
        cluster.say(|| format!("kafka: producer {sender}, partition {partition}: {what}"));
    }
    if taken && cluster.kafka.producers[sender].is_late {
        cluster.oracle.late(cluster.kafka.logs[partition][before..].iter().map(|entry| &entry.record));
    }
    if taken && !cluster.scope.transactional {
        let appended = cluster.kafka.logs[partition][before..].iter().filter(|entry| entry.transaction.is_none());
        let judgement = cluster.oracle.published(appended.map(|entry| &entry.record), &cluster.postgres);
        cluster.judge(judgement);
    }
}
