//! What a schedule is: the answers to all questions of a run. 0 is what happens where nothing goes wrong.

use std::collections::BTreeMap;
use std::fmt;

/// What a question is about: who is to do what.
pub(super) type Subject = (usize, &'static str);

/// An answer that differs from 0, by name: the how-manieth question about a subject, and the answer's name. Unlike its
/// number in a run, this stays what it is when the product takes more or fewer steps.
pub(super) type Named = (Subject, usize, &'static str);

/// Answers questions, and keeps what was asked and answered.
pub(super) struct Choices {
    source: Source,
    /// Answer and number of possible answers, in the order of the questions.
    pub(super) taken: Vec<(u8, u8)>,
    /// The answers that are not 0; filled while a schedule is told.
    pub(super) named: Option<Vec<Named>>,
    asked: BTreeMap<Subject, usize>,
}

enum Source {
    /// The first answers are given, all others are 0.
    List(Vec<u8>),
    Named(Vec<Named>),
    /// So many answers of a thousand are drawn, while so many may still differ from 0.
    Random {
        state: u64,
        per_mille: u64,
        left: u32,
    },
}

impl Choices {
    fn from(source: Source) -> Choices {
        Choices { source, taken: Vec::with_capacity(512), named: None, asked: BTreeMap::new() }
    }

    pub(super) fn listed(list: &[u8]) -> Choices {
        Choices::from(Source::List(list.to_vec()))
    }

    pub(super) fn named(answers: &[Named]) -> Choices {
        Choices::from(Source::Named(answers.to_vec()))
    }

    /// Each seed has its own rate: from a single fault in a run to one at every third question.
    pub(super) fn random(seed: u64) -> Choices {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
        let per_mille = [5, 15, 40, 100, 300][(next(&mut state) % 5) as usize];
        let left = [3, 8, 30][(next(&mut state) % 3) as usize];
        Choices::from(Source::Random { state, per_mille, left })
    }

    /// 0, or the number of one of the other answers, counted from 1.
    pub(super) fn choose<T>(&mut self, subject: Subject, others: &[(&'static str, T)]) -> usize {
        if others.is_empty() {
            return 0;
        }
        let nth = self.count(subject);
        let answer = match &mut self.source {
            Source::List(list) => list.get(self.taken.len()).map_or(0, |answer| usize::from(*answer)),
            Source::Named(named) => {
                let found = named.iter().find(|(about, at, _)| (*about, *at) == (subject, nth));
                let position = |name| others.iter().position(|other| other.0 == name);
                found.and_then(|(_, _, name)| position(*name)).map_or(0, |other| other + 1)
            }
            Source::Random { left: 0, .. } => 0,
            Source::Random { state, per_mille, left } => {
                if next(state) % 1000 < *per_mille {
                    *left -= 1;
                    1 + (next(state) % others.len() as u64) as usize
                } else {
                    0
                }
            }
        };
        self.taken.push((answer as u8, others.len() as u8 + 1));
        if let Some(named) = self.named.as_mut().filter(|_| answer > 0) {
            named.push((subject, nth, others[answer - 1].0));
        }
        answer
    }

    fn count(&mut self, subject: Subject) -> usize {
        if self.named.is_none() && !matches!(self.source, Source::Named(_)) {
            return 0;
        }
        let count = self.asked.entry(subject).or_default();
        *count += 1;
        *count
    }

    /// The answers, up to the last that is not 0.
    pub(super) fn list(&self) -> List {
        let answers: Vec<u8> = self.taken.iter().map(|(answer, _)| *answer).collect();
        let end = answers.iter().rposition(|answer| *answer != 0).map_or(0, |last| last + 1);
        List(answers[..end].to_vec())
    }
}

/// xorshift64*, enough to spread schedules.
pub(super) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

/// A schedule by its answers.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct List(pub(super) Vec<u8>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().enumerate().filter(|(_, answer)| **answer != 0);
        let named: Vec<String> = named.map(|(question, answer)| format!("{question}:{answer}")).collect();
        f.write_str(&named.join(" "))
    }
}

/// All schedules in which at most so many answers are not 0, depth first: the next after the one that `taken` shows.
pub(super) fn following(taken: &[(u8, u8)], deviations: usize) -> Option<Vec<u8>> {
    let mut before = taken.iter().filter(|(answer, _)| *answer != 0).count();
    for (question, &(answer, of)) in taken.iter().enumerate().rev() {
        before -= usize::from(answer != 0);
        if answer + 1 < of && before < deviations {
            let mut list: Vec<u8> = taken[..question].iter().map(|(answer, _)| *answer).collect();
            list.push(answer + 1);
            return Some(list);
        }
    }
    None
}
