//! What an operator did to a connector's state: written in the transaction that does it, never read back to decide.

use serde::{Deserialize, Serialize};

use super::record::{Checkpoint, to_json};
use crate::error::Result;

/// What keys of these records begin with. They stay when all else of a connector is removed.
pub const AUDIT: &str = "audit/";

const VERSION: u32 = 1;

/// Who acts, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `user@host`
    pub by: String,
    /// RFC 3339, UTC.
    pub at: String,
    /// What the operator gave as reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was done.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    AcceptGap,
    Resync,
    Remove,
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The format's version.
    pub version: u32,
    /// What was done.
    pub act: Act,
    /// By whom.
    pub signed: Signature,
    /// The halt that led to it, in words; none for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<String>,
    /// The checkpoint that was replaced or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Checkpoint>,
    /// The checkpoint that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Checkpoint>,
}

impl Audit {
    /// A gap was accepted, also by `act` `Resync`.
    pub fn accept_gap(signed: Signature, act: Act, halt: String, before: Checkpoint, after: Checkpoint) -> Audit {
        let (before, after) = (Some(before), Some(after));
        Audit { version: VERSION, act, signed, halt: Some(halt), before, after }
    }

    /// The connector's state was removed.
    pub fn remove(signed: Signature, before: Option<Checkpoint>) -> Audit {
        Audit { version: VERSION, act: Act::Remove, signed, halt: None, before, after: None }
    }

    /// `audit/accept-gap/<new epoch>` and `audit/resync/<new epoch>`, so that each stays; `audit/remove`.
    pub fn key(&self) -> String {
        let epoch = self.after.as_ref().map_or(0, |checkpoint| checkpoint.epoch);
        match self.act {
            Act::AcceptGap => format!("{AUDIT}accept-gap/{epoch}"),
            Act::Resync => format!("{AUDIT}resync/{epoch}"),
            Act::Remove => format!("{AUDIT}remove"),
        }
    }

    /// As written to the topic.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_written_like_this() {
        let signed = Signature {
            by: "ann@db1".to_owned(),
            at: "2026-01-02T03:04:05Z".to_owned(),
            reason: Some("why".to_owned()),
        };
        let audit = Audit::remove(signed, None);
        assert_eq!(audit.key(), "audit/remove");
        let text = String::from_utf8(audit.to_json().unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"act":"remove","signed":{"by":"ann@db1","at":"2026-01-02T03:04:05Z","reason":"why"}}"#
        );
        assert_eq!(serde_json::from_str::<Audit>(&text).unwrap(), audit);
    }
}
