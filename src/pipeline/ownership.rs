//! Who runs a connector, by the takeover records on its checkpoint topic. Pure.

use crate::checkpoint::record::Takeover;
use crate::error::{Error, Kind, Result};
use crate::faults::{Mutation, mutated};

/// One instance's claim to a connector.
#[derive(Debug)]
pub(super) struct Owner {
    /// Drawn when the connector starts: the name that its takeover records carry.
    instance: String,
    claim: Claim,
}

/// Which takeover record this instance may find without giving way.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It has not looked yet: whoever ran before, this instance takes over.
    Starting,
    /// It has seen this record (None: there was none) and set out to write its own.
    Claiming(Option<Takeover>),
}

impl Owner {
    pub(super) fn new(instance: String) -> Owner {
        Owner { instance, claim: Claim::Starting }
    }

    /// The record by which it takes over.
    pub(super) fn takeover(&self) -> Takeover {
        Takeover::new(&self.instance)
    }

    /// Behind the first fence, whatever takeover record there is belongs to an instance that can commit no more: it is
    /// remembered. In recovery it is judged.
    pub(super) fn claim(&mut self, newest: Option<&Takeover>) -> Result<()> {
        if self.claim == Claim::Starting {
            self.claim = Claim::Claiming(newest.cloned().filter(|_| !mutated(Mutation::BothGiveWay)));
        }
        self.refuse_if_taken_over(newest)
    }

    /// Another instance has taken over if the newest takeover record is neither ours nor the one that was there when we
    /// set out. (One that was there before is no news: two starters that fence each other would otherwise both halt.)
    pub(super) fn refuse_if_taken_over(&self, newest: Option<&Takeover>) -> Result<()> {
        let Claim::Claiming(seen) = &self.claim else { return Ok(()) };
        match newest {
            None => Ok(()),
            Some(_) if mutated(Mutation::FencingInTurns) => Ok(()),
            Some(newest) if newest.instance == self.instance || seen.as_ref() == Some(newest) => Ok(()),
            Some(newest) => {
                let detail =
                    format!("instance {} runs this connector now, this one is {}", newest.instance, self.instance);
                Err(Error::new(Kind::TakenOver, detail))
            }
        }
    }
}
