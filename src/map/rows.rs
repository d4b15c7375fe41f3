//! The rows of a change as rules see them: `old`, `new` and the bare name.

use crate::connector::Side;
use crate::model::{Change, Datum};

/// One change with what its table's replica identity says about values that were not sent.
#[derive(Clone, Copy)]
pub(super) struct Rows<'c, 'a> {
    change: &'c Change<'a>,
    in_identity: &'c [bool],
}

impl<'c, 'a> Rows<'c, 'a> {
    pub(super) fn new(change: &'c Change<'a>, in_identity: &'c [bool]) -> Rows<'c, 'a> {
        Rows { change, in_identity }
    }

    /// A column's datum; `Absent` where the stream does not say it, `Unchanged` where only an older change does.
    #[inline]
    pub(super) fn get(&self, side: Side, column: usize) -> Datum<'a> {
        match side {
            Side::Old => self.old(column),
            Side::New => self.new_value(column),
            Side::Row if self.change.new.is_none() => self.old(column),
            Side::Row => self.new_value(column),
        }
    }

    /// An update without its old row left the replica identity's columns as they were (Postgres docs, "Update"
    /// message), so the new row has their old values.
    #[inline]
    fn old(&self, column: usize) -> Datum<'a> {
        if let Some(old) = self.change.old {
            return old.get(column);
        }
        // What has no old row at all (insert, read) does not come here: binding refuses `old` there.
        let kept = self.in_identity.get(column) == Some(&true);
        match self.change.new {
            Some(new) if kept => new.get(column),
            _ => Datum::Absent,
        }
    }

    /// A value that was not sent again is the old row's, where that was sent.
    #[inline]
    fn new_value(&self, column: usize) -> Datum<'a> {
        let Some(new) = self.change.new else { return Datum::Absent };
        match (new.get(column), self.change.old) {
            (Datum::Unchanged, Some(old)) => match old.get(column) {
                Datum::Absent => Datum::Unchanged,
                datum => datum,
            },
            (datum, _) => datum,
        }
    }

    /// Whether the update left the column's out-of-line value as it was.
    #[inline]
    pub(super) fn is_unchanged(&self, column: usize) -> bool {
        self.change.new.is_some_and(|new| new.get(column) == Datum::Unchanged)
    }
}
