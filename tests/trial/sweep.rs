//! `sweep`: kills a daemon at every failpoint, in both delivery modes, and judges what comes of the next start. Or stops
//! it there (SIGSTOP), lets a second daemon take over and work, and wakes the first one up again.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;
use walwright::faults::Failpoint;

use super::connector::{Ground, Left, Trial};
use super::judge::judge;
use super::lanes::in_lanes;
use super::script;
use crate::support::fault::{Deed, Fault};
use crate::support::hazard::Hazard;
use crate::support::oracle::Verdict;
use crate::support::process::is_stopped;
use crate::support::stack::Stack;
use crate::support::{Context, Result, kafka, postgres};
use crate::torture::{Delivery, faults_are_built_in, report_file};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// One delivery mode only.
    #[arg(long, value_enum)]
    delivery: Option<Delivery>,
    /// Stop the daemon instead of killing it.
    #[arg(long)]
    stall: bool,
    /// Failpoints whose name contains this only.
    #[arg(long)]
    only: Option<String>,
    /// Trials at a time.
    #[arg(long, default_value_t = 3)]
    lanes: usize,
}

/// How a failpoint is come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The very first start.
    FirstStart,
    /// A start behind a daemon that was killed with a transaction open.
    Again,
    /// The start behind one that was killed between slot and checkpoint.
    CutOff,
    /// A first start on a slot that someone else made.
    Adopt,
    /// At work on the script.
    Work,
    /// One small transaction after another, each with a commit of its own.
    Busy,
    /// The stop.
    Drain,
    /// A change that may not be, behind some pieces of a large transaction.
    Refusal,
    /// While rows are read that were there before: on a database of its own, and judged there.
    Reading,
    /// The same for rows that are read again.
    Backfill,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    course: Course,
    fault: Fault,
    delivery: Delivery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.fault, self.course, self.delivery.name())
    }
}

/// Where the point lies: each course on which it is to be hit, and at which passing.
fn courses(point: Failpoint) -> &'static [(Course, u32)] {
    use Course::{Adopt, Again, Backfill, Busy, CutOff, Drain, FirstStart, Reading, Refusal, Work};
    match point {
        Failpoint::StateRead
        | Failpoint::ServerIdentified
        | Failpoint::JudgedUnfenced
        | Failpoint::ControlFenced
        | Failpoint::FencedRead
        | Failpoint::TakeoverWritten
        | Failpoint::Judged
        | Failpoint::TopicsPrepared
        | Failpoint::StreamStarted
        | Failpoint::SlotRead
        | Failpoint::RepeatsRead => &[(FirstStart, 1), (Again, 1)],
        Failpoint::DataFenced => &[(FirstStart, 1), (Again, 4)],
        Failpoint::IntentWritten | Failpoint::SlotCreated => &[(FirstStart, 1)],
        Failpoint::CheckpointWritten => &[(FirstStart, 1), (CutOff, 1), (Adopt, 1)],
        Failpoint::BeginReceived | Failpoint::CommitReceived => &[(Work, 1), (Work, 7)],
        Failpoint::RelationReceived => &[(Work, 4)],
        Failpoint::OriginReceived => &[(Work, 1)],
        Failpoint::TypeReceived => &[(Work, 1), (Work, 3)],
        Failpoint::RowReceived => &[(Work, 1), (Work, 5_000)],
        Failpoint::TruncateReceived | Failpoint::MessageReceived => &[(Work, 1)],
        Failpoint::KeepaliveReceived => &[(Work, 3)],
        Failpoint::GroupBegun | Failpoint::RecordsSent | Failpoint::CheckpointSent => {
            &[(Work, 1), (Work, 3), (Busy, 60)]
        }
        Failpoint::PieceSent => &[(Work, 1), (Work, 3)],
        // Three control records come before the first group's, in at_least_once four.
        Failpoint::Delivered => &[(FirstStart, 1), (Work, 4), (Work, 6), (Busy, 60)],
        Failpoint::CommitSent => &[(FirstStart, 1), (FirstStart, 2), (FirstStart, 3), (Work, 4), (Work, 6), (Busy, 60)],
        Failpoint::CommitAcknowledged | Failpoint::Confirmed => &[(Work, 1), (Work, 3), (Busy, 60)],
        Failpoint::OtherTaken => &[(Busy, 1), (Busy, 2)],
        Failpoint::TurnsBegun => &[(Busy, 1)],
        Failpoint::GroupOverlaps => &[(Busy, 1)],
        Failpoint::StatusSent => &[(Work, 1)],
        Failpoint::DrainBegun | Failpoint::DrainCommitted | Failpoint::StreamLeft => &[(Drain, 1)],
        Failpoint::Aborted => &[(Refusal, 1)],
        Failpoint::X0Taken
        | Failpoint::ChunkSplit
        | Failpoint::ChunkOffered
        | Failpoint::ChunkRead
        | Failpoint::ChunkLeft => &[(Reading, 1), (Backfill, 1)],
        // A backfill's chunk waits until the stream has passed it.
        Failpoint::SnapshotForgotten => &[(Reading, 1)],
        // With a table's X0 first, then with its rows; a backfill's first with what was asked for.
        Failpoint::ProgressSent => &[(Reading, 1), (Reading, 2), (Backfill, 1), (Backfill, 2), (Backfill, 3)],
    }
}

/// Whether the commits of the course are of groups.
fn is_at_work(course: Course) -> bool {
    matches!(course, Course::Work | Course::Busy)
}

/// Whether rows are read in it, on a database of its own.
fn is_reading(course: Course) -> bool {
    matches!(course, Course::Reading | Course::Backfill)
}

/// What a commit's outcome may depend on: how long after its start the process dies. A control record's takes longer.
fn commit_delays(course: Course) -> Vec<Deed> {
    let micros: &[u64] = if is_at_work(course) { &[100, 700, 2_000, 5_000] } else { &[300, 3_000] };
    micros.iter().map(|micros| Deed::KillAfter(Duration::from_micros(*micros))).collect()
}

/// Whether a point exists in this mode. With transactions nothing is left behind a checkpoint that would be read. Without
/// them there is no group to begin, commit or abort; the control records have theirs in both modes.
fn exists(point: Failpoint, course: Course, delivery: Delivery) -> bool {
    let transactional = match point {
        Failpoint::GroupBegun | Failpoint::GroupOverlaps | Failpoint::Aborted => true,
        Failpoint::OtherTaken | Failpoint::TurnsBegun => true,
        Failpoint::CommitSent => is_at_work(course),
        // What is judged here is that nothing comes twice.
        _ => is_reading(course),
    };
    let plain = point == Failpoint::RepeatsRead;
    if delivery == Delivery::ExactlyOnce { !plain } else { !transactional }
}

/// Where a second daemon could not take over, there is nothing to stall for: it would halt for the same reason.
fn can_stall(course: Course) -> bool {
    course != Course::Refusal && !is_reading(course)
}

fn cases(arguments: &Arguments) -> Vec<Case> {
    let mut cases = Vec::new();
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        if arguments.delivery.is_some_and(|only| only != delivery) {
            continue;
        }
        for &point in Failpoint::ALL {
            if arguments.only.as_ref().is_some_and(|only| !point.name().contains(only.as_str())) {
                continue;
            }
            let courses = courses(point).iter().filter(|(course, _)| exists(point, *course, delivery));
            for &(course, count) in courses.filter(|(course, _)| !arguments.stall || can_stall(*course)) {
                let deeds = match point {
                    _ if arguments.stall => vec![Deed::Stop],
                    Failpoint::CommitSent => commit_delays(course),
                    _ => vec![Deed::Kill],
                };
                cases.extend(deeds.into_iter().map(|deed| Case {
                    course,
                    fault: Fault { point, count, deed },
                    delivery,
                }));
            }
        }
    }
    cases
}

/// One line of `target/torture/sweep.json` (`stalls.json`).
#[derive(Debug, Serialize)]
struct Line {
    failpoint: String,
    course: String,
    delivery: &'static str,
    /// It was killed there, or stood still.
    reached: bool,
    seconds: f64,
    slot_ahead: u64,
    /// What did not come back, catch up or end in time.
    trouble: Option<String>,
    verdict: Option<Verdict>,
    /// Two daemons publish, and nothing fences them.
    #[serde(skip)]
    has_rivals: bool,
    /// It was judged where it was played.
    #[serde(skip)]
    is_reading: bool,
}

impl Line {
    fn new(case: &Case) -> Self {
        Self {
            failpoint: case.fault.to_string(),
            course: format!("{:?}", case.course),
            delivery: case.delivery.name(),
            reached: false,
            seconds: 0.0,
            slot_ahead: 0,
            trouble: None,
            verdict: None,
            has_rivals: case.fault.deed == Deed::Stop && case.delivery == Delivery::AtLeastOnce,
            is_reading: is_reading(case.course),
        }
    }

    fn is_clean(&self) -> bool {
        let granted = |verdict: &Verdict| if self.has_rivals { verdict.duplicates } else { 0 };
        let clean = |v: &Verdict| v.events > 0 && v.mistakes() == granted(v);
        let verdict = self.verdict.as_ref().map_or(self.is_reading, clean);
        self.reached && self.trouble.is_none() && self.slot_ahead == 0 && verdict
    }
}

/// Faults: ACK-01, ACK-02, ACK-03, TXN-13.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    faults_are_built_in()?;
    let begun = Instant::now();
    let postgres = postgres::Options::default();
    let stack = Stack::own(postgres, &kafka::Options::default())?;
    let ground = Ground::new(&stack)?;
    let cases = cases(arguments);
    println!("sweep: {} trials, logs in {}", cases.len(), crate::support::sandbox::logs()?.display());
    let (readings, cases): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| is_reading(case.course));
    let read = in_lanes(&readings, arguments.lanes, |case| read(&stack, case));
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    let tried = in_lanes(&numbered, arguments.lanes, |(number, case)| {
        let tried = try_out(&ground, *number, case);
        if let Ok((line, _)) = &tried
            && (line.trouble.is_some() || !line.reached)
        {
            println!("{case}: reached {}, {:?}", line.reached, line.trouble);
        }
        tried
    });
    let tried: Vec<(Line, Left)> = tried.into_iter().collect::<Result<_>>()?;
    let (mut lines, left): (Vec<Line>, Vec<Left>) = tried.into_iter().unzip();
    let worked = begun.elapsed();
    for (line, verdict) in lines.iter_mut().zip(judge(&stack, &left, arguments.lanes)?) {
        match verdict {
            Ok(verdict) => line.verdict = Some(verdict),
            Err(fault) => drop(line.trouble.get_or_insert(fault.to_string())),
        }
    }
    lines.extend(read);
    println!("trials {:.0} s, judgement {:.0} s", worked.as_secs_f64(), (begun.elapsed() - worked).as_secs_f64());
    report(&lines, arguments.stall, begun)
}

fn try_out(ground: &Ground<'_>, number: usize, case: &Case) -> Result<(Line, Left)> {
    let begun = Instant::now();
    let mut trial = Trial::new(ground, &format!("sweep{number}"), case.delivery).context(case)?;
    let mut reached = false;
    let ended = take_course(&mut trial, case, &mut reached);
    let left = trial.close().context(case)?;
    let line = Line {
        reached,
        seconds: begun.elapsed().as_secs_f64(),
        slot_ahead: left.slot.slot_ahead,
        trouble: ended.err().map(|fault| fault.to_string()),
        ..Line::new(case)
    };
    Ok((line, left))
}

/// A point that is passed while rows are read.
fn read(stack: &Stack, case: &Case) -> Line {
    let begun = Instant::now();
    let hazard =
        if case.course == Course::Backfill { Hazard::BackfillKilled(case.fault) } else { Hazard::Killed(case.fault) };
    let played = hazard.play(stack, None);
    let trouble = match &played {
        Ok(wrong) if wrong.is_empty() => None,
        Ok(wrong) => Some(wrong.join(", ")),
        Err(fault) => Some(fault.to_string()),
    };
    Line { reached: played.is_ok(), seconds: begun.elapsed().as_secs_f64(), trouble, ..Line::new(case) }
}

/// Kills a daemon there, then lets the next one finish.
fn take_course(trial: &mut Trial<'_>, case: &Case, reached: &mut bool) -> Result<()> {
    let fault = Some(case.fault);
    match case.course {
        Course::FirstStart => trial.start(fault)?,
        Course::Again => {
            trial.start(Some(Fault::kill(Failpoint::CheckpointSent, 1)))?;
            trial.ready()?;
            script::everything(trial, 1)?;
            trial.killed(trial.patience)?;
            trial.start(fault)?;
        }
        Course::CutOff => {
            trial.start(Some(Fault::kill(Failpoint::SlotCreated, 1)))?;
            trial.killed(trial.patience)?;
            trial.start(fault)?;
        }
        Course::Adopt => {
            trial.sql().query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&trial.name])?;
            trial.connector("\npublication = ", "\nadopt_slot = true\npublication = ")?;
            trial.start(fault)?;
        }
        Course::Work => {
            trial.start(fault)?;
            // Nothing is written before the slot is there: what the witness alone has seen would be a loss.
            if trial.ready().is_ok() {
                script::run(trial, 1)?;
            }
        }
        Course::Busy => {
            trial.start(fault)?;
            trial.ready()?;
            busy(trial)?;
        }
        Course::Drain => {
            trial.start(fault)?;
            trial.ready()?;
            script::run(trial, 1)?;
            trial.daemon()?.signal(Signal::TERM)?;
        }
        Course::Reading | Course::Backfill => return Err("rows are read on another database".into()),
        Course::Refusal => {
            trial.start(fault)?;
            trial.ready()?;
            script::everything(trial, 1)?;
            trial.transact(&format!("{}; UPDATE shipments SET parcels = parcels + 1", script::large(1)))?;
        }
    }
    if case.fault.deed == Deed::Stop {
        return stall(trial, reached);
    }
    *reached = trial.killed(Duration::from_secs(20))?;
    if case.course == Course::Refusal {
        // The operator decides that the change may pass.
        trial.connector(
            "unmatched = \"halt\"                          # a shipment",
            "unmatched = \"filter\" # a shipment",
        )?;
    }
    trial.kill()?;
    trial.start(None)?;
    trial.ready()?;
    script::everything(trial, 2)?;
    trial.caught_up()?;
    trial.stop()
}

/// Until it is dead or stands still.
fn busy(trial: &mut Trial<'_>) -> Result<()> {
    for number in 0..6_000 {
        let daemon = trial.daemon()?;
        if daemon.ends_within(Duration::ZERO)? || is_stopped(daemon.id())? {
            break;
        }
        trial.transact(&script::small(1, number))?;
    }
    Ok(())
}

/// The daemon stands still at its failpoint; another takes over and works; then the first one wakes up. In the end one of
/// them works and the other has given way.
fn stall(trial: &mut Trial<'_>, reached: &mut bool) -> Result<()> {
    trial.stopped()?;
    *reached = true;
    trial.free_slot()?;
    let first = trial.start_rival(None)?;
    trial.ready()?;
    script::everything(trial, 2)?;
    trial.caught_up()?;
    first.signal(Signal::CONT)?;
    let mut other = trial.settle(first)?;
    script::everything(trial, 3)?;
    if trial.caught_up().is_err() {
        // One that had seen the slot free just before it stood still fences its successor, which gives way at its next group.
        other = trial.settle(other)?;
        trial.caught_up()?;
    }
    trial.stop()?;
    other.kill_hard()
}

#[derive(Serialize)]
struct Report<'a> {
    trials: usize,
    clean: usize,
    not_reached: usize,
    /// Of `at_least_once`.
    duplicates: u64,
    seconds: f64,
    lines: &'a [Line],
}

fn report(lines: &[Line], stall: bool, begun: Instant) -> Result<()> {
    let duplicates = lines.iter().filter_map(|line| line.verdict.as_ref()).map(|verdict| verdict.duplicates).sum();
    let report = Report {
        trials: lines.len(),
        clean: lines.iter().filter(|line| line.is_clean()).count(),
        not_reached: lines.iter().filter(|line| !line.reached).count(),
        duplicates,
        seconds: begun.elapsed().as_secs_f64(),
        lines,
    };
    let file = report_file(if stall { "stalls.json" } else { "sweep.json" })?;
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?).context(file.display())?;
    for line in lines.iter().filter(|line| !line.is_clean()) {
        println!("NOT CLEAN: {line:?}");
    }
    let Report { trials, clean, not_reached, seconds, .. } = report;
    println!(
        "sweep: {clean} of {trials} trials clean, {not_reached} failpoints not reached, {duplicates} duplicates in \
         at_least_once, {seconds:.0} s; {}",
        file.display()
    );
    if clean == trials && trials > 0 { Ok(()) } else { Err("the sweep is not clean".into()) }
}
