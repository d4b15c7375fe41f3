//! The steps of a program: where a value comes from and how it is written.

use super::avro;
use super::codes::Codes;
use super::conversion::Conversion;
use super::meta::{Meta, MetaStep};
use super::reason::Reason;
use super::scalar::utf8;
use super::text::TextForm;
use crate::connector::{Place, Side};
use crate::contract::Nullability;
use crate::faults::{Mutation, mutated};
use crate::model::{Change, Datum, Row};

/// A column of one of a change's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnAt {
    pub(super) side: Side,
    pub(super) index: usize,
}

impl ColumnAt {
    /// The column's datum: null, text or binary.
    ///
    /// What an update did not resend is taken from the old row where that has it. An update without an old row has left
    /// the identity's columns as they are (others are refused by the binder), so the new row has their old values.
    #[inline]
    fn datum<'a>(self, change: &Change<'a>) -> Result<Datum<'a>, Reason> {
        let row = match self.side {
            Side::Old if mutated(Mutation::NewForOld) => change.new.or(change.old),
            Side::Old => change.old.or(change.new),
            Side::New => change.new,
            Side::Row if mutated(Mutation::OldForNew) => {
                let known = |old: &Row<'_>| !matches!(old.get(self.index), Datum::Null | Datum::Absent);
                change.old.filter(known).or(change.new).or(change.old)
            }
            Side::Row => change.new.or(change.old),
        };
        match row.ok_or(Reason::Absent)?.get(self.index) {
            Datum::Unchanged if mutated(Mutation::NullForToast) => Ok(Datum::Null),
            Datum::Unchanged => self.before(change),
            Datum::Absent => Err(Reason::Absent),
            known => Ok(known),
        }
    }

    #[cold]
    fn before<'a>(self, change: &Change<'a>) -> Result<Datum<'a>, Reason> {
        match change.old.map(|old| old.get(self.index)) {
            Some(known @ (Datum::Null | Datum::Text(_) | Datum::Binary(_))) => Ok(known),
            _ => Err(Reason::Unchanged),
        }
    }
}

/// The branches of a nullable field's union: the byte before null and the one before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch(Nullability);

impl Branch {
    pub(super) fn new(nullable: Nullability) -> Branch {
        Branch(nullable)
    }

    #[inline]
    pub(super) fn value(self, out: &mut Vec<u8>) {
        match self.0 {
            Nullability::Never => {}
            Nullability::NullFirst => out.push(2),
            Nullability::NullLast => out.push(0),
        }
    }

    #[inline]
    pub(super) fn null(self, out: &mut Vec<u8>) -> Result<(), Reason> {
        match self.0 {
            Nullability::Never => return Err(Reason::Null),
            Nullability::NullFirst => out.push(0),
            Nullability::NullLast => out.push(2),
        }
        Ok(())
    }
}

/// What a step is for, said only when it fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    /// The column, where there is one.
    pub(super) column: Option<String>,
    /// `field total`, `the key` or `header correlation_id`.
    pub(super) target: String,
    /// The rule's line.
    pub(super) place: Place,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    pub(super) label: Label,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum StepKind {
    /// A literal or a default, encoded with its branch.
    Constant(Vec<u8>),
    Column {
        at: ColumnAt,
        branch: Branch,
        conversion: Conversion,
    },
    Map {
        at: ColumnAt,
        branch: Branch,
        form: TextForm,
        codes: Codes,
    },
    Meta(Box<MetaStep>),
}

impl Step {
    #[inline]
    pub(super) fn write(&self, change: &Change<'_>, meta: Option<&Meta<'_>>, out: &mut Vec<u8>) -> Result<(), Reason> {
        match &self.kind {
            StepKind::Constant(bytes) => out.extend_from_slice(bytes),
            StepKind::Column { at, branch, conversion } => match at.datum(change)? {
                Datum::Binary(bytes) => {
                    branch.value(out);
                    conversion.write(bytes, out)?;
                }
                Datum::Null if mutated(Mutation::NullAsText) && *conversion == Conversion::Text => {
                    branch.value(out);
                    conversion.write_text(b"null", out)?;
                }
                Datum::Null => branch.null(out)?,
                Datum::Text(text) => {
                    branch.value(out);
                    conversion.write_text(text, out)?;
                }
                Datum::Unchanged | Datum::Absent => return Err(Reason::Absent),
            },
            StepKind::Map { at, branch, form, codes } => match at.datum(change)? {
                Datum::Null => branch.null(out)?,
                datum => {
                    branch.value(out);
                    mapped(datum, *form, codes, out)?;
                }
            },
            StepKind::Meta(step) => step.write(change, meta.ok_or(Reason::Absent)?, out)?,
        }
        Ok(())
    }
}

/// A value as text: a key, a header or the correlation id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TextStep {
    pub(super) kind: TextKind,
    pub(super) label: Label,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextKind {
    Constant(Vec<u8>),
    Column { at: ColumnAt, form: TextForm },
    Map { at: ColumnAt, form: TextForm, codes: Codes },
    Null,
}

impl TextStep {
    /// Appends the text; false: it is NULL and nothing was appended.
    #[inline]
    pub(super) fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) -> Result<bool, Reason> {
        match &self.kind {
            TextKind::Null => return Ok(false),
            TextKind::Constant(text) => out.extend_from_slice(text),
            TextKind::Column { at, form } => match at.datum(change)? {
                Datum::Null => return Ok(false),
                datum => text_of(datum, *form, out)?,
            },
            TextKind::Map { at, form, codes } => match at.datum(change)? {
                Datum::Null => return Ok(false),
                datum => mapped(datum, *form, codes, out)?,
            },
        }
        Ok(true)
    }

    /// Appends the text as an Avro string in `branch`, or null.
    pub(super) fn write_string(&self, change: &Change<'_>, branch: Branch, out: &mut Vec<u8>) -> Result<(), Reason> {
        let start = out.len();
        branch.value(out);
        let mut present = false;
        avro::prefixed(out, |out| {
            present = self.write(change, out)?;
            Ok(())
        })?;
        if !present {
            out.truncate(start);
            branch.null(out)?;
        }
        Ok(())
    }
}

fn text_of(datum: Datum<'_>, form: TextForm, out: &mut Vec<u8>) -> Result<(), Reason> {
    match datum {
        Datum::Binary(bytes) => form.write(bytes, out),
        Datum::Text(text) => {
            out.extend_from_slice(utf8(text)?);
            Ok(())
        }
        Datum::Null | Datum::Unchanged | Datum::Absent => Err(Reason::Absent),
    }
}

/// Looks the text up. It is written behind the buffer's end for that and taken off again, so that it costs no allocation.
fn mapped(datum: Datum<'_>, form: TextForm, codes: &Codes, out: &mut Vec<u8>) -> Result<(), Reason> {
    if let (Datum::Binary(text), TextForm::Text) | (Datum::Text(text), _) = (datum, form) {
        return codes.write(text, out);
    }
    let start = out.len();
    text_of(datum, form, out)?;
    let end = out.len();
    let found = codes.find(out.get(start..end).unwrap_or_default()).ok_or(Reason::Unlisted)?;
    out.truncate(start);
    out.extend_from_slice(found);
    Ok(())
}
