//! Why a value could not be written: small and without text, so that the way of a row carries none.

use crate::error::Kind;

/// What was wrong with the value of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// NULL where the contract has no null, or in a key.
    Null,
    /// A TOASTed value that the update did not resend.
    Unchanged,
    /// The column was not part of the tuple, or there was no such row at all.
    Absent,
    /// A code or label that the rule or the contract does not list.
    Unlisted,
    /// The value exists in Postgres but not in the field's type.
    OutOfRange(&'static str),
    /// The bytes are not what the type's send function writes.
    Malformed,
    /// The value came as text where its binary form is needed.
    NotBinary,
}

impl Reason {
    pub(super) fn kind(self) -> Kind {
        match self {
            Reason::Null => Kind::NullValue,
            Reason::Unchanged => Kind::UnchangedToast,
            Reason::Unlisted => Kind::UnlistedCode,
            Reason::OutOfRange(_) => Kind::ValueOutOfRange,
            Reason::Absent | Reason::Malformed | Reason::NotBinary => Kind::Protocol,
        }
    }

    /// The end of a sentence that starts with the column and what it was for.
    pub(super) fn text(self) -> &'static str {
        match self {
            Reason::Null => "is NULL, and it takes no null",
            Reason::Unchanged => "was left unchanged by the update and was not sent again",
            Reason::Absent => "was not sent with the change",
            Reason::Unlisted => "has a code that is not listed",
            Reason::OutOfRange(why) => why,
            Reason::Malformed => "is not in the binary form of its type",
            Reason::NotBinary => "came as text, its binary form is needed",
        }
    }
}
