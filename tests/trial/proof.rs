//! `proof`: makes the daemon commit each known mistake once, in the shortest course of events that shows it, and asks the
//! judges. Each course without a mistake, the control, must be clean: else its judges would say so of anything.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use walwright::faults::Mutation;

use super::connector::{Ground, Left, Trial};
use super::judge::judge;
use super::lanes::in_lanes;
use super::scenario::{self, Found, Scenario};
use crate::support::oracle::Verdict;
use crate::support::stack::Stack;
use crate::support::{Context, Result, kafka, postgres};
use crate::torture::{Delivery, faults_are_built_in, report_file};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Mutations whose name contains this only, with their controls.
    #[arg(long)]
    only: Option<String>,
    /// Trials at a time.
    #[arg(long, default_value_t = 3)]
    lanes: usize,
}

/// A mutation, or a control without one.
#[derive(Clone, Copy, Debug)]
struct Case {
    mutation: Option<Mutation>,
    scenario: Scenario,
    delivery: Delivery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?} {}", self.name(), self.scenario, self.delivery.name())
    }
}

impl Case {
    fn name(&self) -> &'static str {
        self.mutation.map_or("control", Mutation::name)
    }

    /// Where the mistake's whole harm is that a connector stands still which need not: there is nothing else to see.
    fn harms_liveness(&self) -> bool {
        matches!(self.mutation, Some(Mutation::BothGiveWay | Mutation::NoPush))
    }
}

/// Every mutation, and a control for each of their scenarios.
fn cases(arguments: &Arguments) -> Vec<Case> {
    let wanted =
        |mutation: &&Mutation| arguments.only.as_ref().is_none_or(|only| mutation.name().contains(only.as_str()));
    let mut cases: Vec<Case> = Vec::new();
    for &mutation in Mutation::ALL.iter().filter(wanted) {
        let (scenario, delivery) = scenario::of(mutation);
        if !cases.iter().any(|case| (case.scenario, case.delivery) == (scenario, delivery)) {
            cases.push(Case { mutation: None, scenario, delivery });
        }
        cases.push(Case { mutation: Some(mutation), scenario, delivery });
    }
    cases
}

/// Kinds of halts by which a connector says that its position is not to be trusted: what a mistake that moved it must
/// lead to. Any other halt is only a connector that stands still.
const POSITION_HALTS: &[&str] = &["slot-ahead", "slot-missing", "server-behind"];

/// One line of `target/torture/proof.json`.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    scenario: String,
    delivery: &'static str,
    caught: bool,
    /// The judges that said so, with what they counted.
    by: Vec<String>,
    seconds: f64,
    /// What did not come to pass.
    trouble: Option<String>,
    #[serde(skip)]
    found: Found,
    #[serde(skip)]
    slot_ahead: u64,
}

impl Line {
    fn new(case: &Case) -> Self {
        Self {
            name: case.name(),
            scenario: format!("{:?}", case.scenario),
            delivery: case.delivery.name(),
            caught: false,
            by: Vec::new(),
            seconds: 0.0,
            trouble: None,
            found: Found::default(),
            slot_ahead: 0,
        }
    }

    fn judged(&mut self, case: &Case, verdict: Result<Verdict>) {
        // What a trial does itself is no mistake.
        let mut counters = vec![
            ("slot_ahead", if case.scenario.moves_slot() { 0 } else { self.slot_ahead }),
            ("missed_halt", self.found.missed_halt),
            ("turns", self.found.turns),
            ("miscounted", self.found.miscounted),
        ];
        match verdict {
            Ok(verdict) => {
                counters.extend([
                    ("loss", verdict.loss),
                    ("phantom", verdict.phantom),
                    ("duplicates", verdict.duplicates),
                    ("reordered", verdict.reordered),
                    ("torn", verdict.torn),
                    ("wrong_values", verdict.wrong_values),
                    ("schema", verdict.schema),
                ]);
                if verdict.events == 0 {
                    self.trouble.get_or_insert("nothing was published".to_owned());
                }
            }
            Err(fault) if case.scenario.publishes() => drop(self.trouble.get_or_insert(fault.to_string())),
            Err(_) => {}
        }
        let trouble = self.trouble.clone().unwrap_or_default();
        let halt = POSITION_HALTS.iter().find(|kind| trouble.contains(&format!("halted: {kind}")));
        self.by =
            counters.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
        self.by.extend(halt.map(|kind| format!("halt {kind}")));
        if self.trouble.is_some() && halt.is_none() {
            if self.by.is_empty() && case.harms_liveness() {
                self.caught = true;
            }
            self.by.push("liveness".to_owned());
        }
        self.caught |= self.by.iter().any(|by| by != "liveness");
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    faults_are_built_in()?;
    let begun = Instant::now();
    let stack = Stack::own(postgres::Options::default(), &kafka::Options::default())?;
    let ground = Ground::new(&stack)?;
    let all = cases(arguments);
    println!("proof: {} trials, logs in {}", all.len(), crate::support::sandbox::logs()?.display());
    let (readings, trials): (Vec<Case>, Vec<Case>) =
        all.into_iter().partition(|case| matches!(case.scenario, Scenario::Reading(_)));
    let read = in_lanes(&readings, arguments.lanes, |case| read(&stack, case));
    let (alone, together): (Vec<Case>, Vec<Case>) = trials.into_iter().partition(|case| case.scenario.is_alone());
    let cases: Vec<Case> = together.iter().chain(&alone).copied().collect();
    let numbered: Vec<(usize, Case)> = cases.iter().copied().enumerate().collect();
    let (together, alone) = numbered.split_at(together.len());
    let mut tried = in_lanes(together, arguments.lanes, |(number, case)| try_out(&ground, *number, case));
    tried.extend(in_lanes(alone, 1, |(number, case)| try_out(&ground, *number, case)));
    let tried: Vec<(Line, Left)> = tried.into_iter().collect::<Result<_>>()?;
    let (mut lines, left): (Vec<Line>, Vec<Left>) = tried.into_iter().unzip();
    for ((line, verdict), case) in lines.iter_mut().zip(judge(&stack, &left, arguments.lanes)?).zip(&cases) {
        line.judged(case, verdict);
    }
    lines.extend(read);
    report(lines, begun)
}

/// A course with a judgement of its own: what it says is the evidence.
fn read(stack: &Stack, case: &Case) -> Line {
    let begun = Instant::now();
    let mut line = Line::new(case);
    match case.scenario {
        Scenario::Reading(hazard) => match hazard.play(stack, case.mutation) {
            Ok(wrong) => line.by = wrong,
            Err(fault) => line.trouble = Some(fault.to_string()),
        },
        _ => line.trouble = Some("nothing is read here".to_owned()),
    }
    line.seconds = begun.elapsed().as_secs_f64();
    line.caught = !line.by.is_empty() || line.trouble.is_some() && case.harms_liveness();
    if line.trouble.is_some() {
        line.by.push("liveness".to_owned());
    }
    line
}

fn try_out(ground: &Ground<'_>, number: usize, case: &Case) -> Result<(Line, Left)> {
    let begun = Instant::now();
    let mut trial = Trial::new(ground, &format!("proof{number}"), case.delivery).context(case)?;
    if let Some(mutation) = case.mutation {
        trial.mutate(mutation);
    }
    let mut found = Found::default();
    let played = case.scenario.play(&mut trial, &mut found);
    let left = trial.close().context(case)?;
    let line = Line {
        seconds: begun.elapsed().as_secs_f64(),
        trouble: played.err().map(|fault| fault.to_string()),
        found,
        slot_ahead: left.slot.slot_ahead,
        ..Line::new(case)
    };
    Ok((line, left))
}

#[derive(Serialize)]
struct Report {
    caught: usize,
    total: usize,
    seconds: f64,
    mutations: Vec<Line>,
    /// The same courses without a mistake: `caught` is false for each of them, or the proof is none.
    controls: Vec<Line>,
}

fn report(lines: Vec<Line>, begun: Instant) -> Result<()> {
    let (controls, mutations): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| line.name == "control");
    let caught = mutations.iter().filter(|line| line.caught).count();
    let report = Report { caught, total: mutations.len(), seconds: begun.elapsed().as_secs_f64(), mutations, controls };
    let file = report_file("proof.json")?;
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?).context(file.display())?;
    for line in report.mutations.iter().chain(&report.controls) {
        let verdict = match (line.name, line.caught || !line.by.is_empty()) {
            ("control", false) => "clean",
            ("control", true) => "NOT CLEAN",
            _ if line.caught => "caught",
            _ => "MISSED",
        };
        println!(
            "{verdict:<9} {:<24} {:<28} {:>5.1} s  {}",
            line.name,
            line.scenario,
            line.seconds,
            line.by.join(", ")
        );
        if let Some(trouble) = line.trouble.as_ref().filter(|_| verdict == "NOT CLEAN" || verdict == "MISSED") {
            println!("          {trouble}");
        }
    }
    let clean = report.controls.iter().all(|line| line.by.is_empty());
    println!(
        "proof: {caught} of {} mutations caught, {} controls {}, {:.0} s; {}",
        report.total,
        report.controls.len(),
        if clean { "clean" } else { "NOT CLEAN" },
        report.seconds,
        file.display()
    );
    if clean && caught == report.total && caught > 0 { Ok(()) } else { Err("the proof failed".into()) }
}
