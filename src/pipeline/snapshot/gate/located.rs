//! Where the keys of changes lie, as Postgres says, and what becomes of each change.

use std::collections::BTreeSet;

use super::{Gate, Halves};
use crate::decode::{Decoder, Message};
use crate::error::{Error, Kind, Result};
use crate::model::{Datum, Relation, Row, TableName};
use crate::snapshot::{Bounds, Part, Place, RangeId, Verdict};
use crate::source::{self, ChunkTable, KeyPart, Keys, Sql, catalog};

/// A table that is read, as the stream describes it.
pub(super) struct Gated {
    /// In the state machine.
    pub(super) number: usize,
    /// The key's columns in the stream's rows.
    key: Vec<usize>,
    identity: Vec<String>,
    table: ChunkTable,
}

/// A change whose keys are looked up: its old key where that differs, and its new one.
pub(super) struct Located {
    relation: usize,
    halves: [Option<Half>; 2],
}

/// One of a change's keys.
struct Half {
    key: Key,
    /// Of the table, when it was located.
    number: Option<usize>,
    /// None: nothing is read there.
    place: Option<Place>,
    /// Whether it is published; the first answer counts.
    published: Option<bool>,
}

impl Gate {
    /// The table with this index was described: whether it is read, and where its key stands.
    pub(in crate::pipeline) fn define(&mut self, index: usize, relation: &Relation) -> Result<()> {
        if self.gated.len() <= index {
            self.gated.resize_with(index + 1, || None);
        }
        self.gated[index] = None;
        let Some(number) = self.core.table(&relation.name).filter(|number| self.core.judges(*number)) else {
            return Ok(());
        };
        let table = self.table(&relation.name)?;
        let identity = table.identity();
        let number = self.identify(number, identity.clone())?;
        let key = table.key_names().filter_map(|name| relation.column(name)).collect();
        self.gated[index] = Some(Gated { number, key, identity, table });
        Ok(())
    }

    pub(super) fn table(&self, name: &TableName) -> Result<ChunkTable> {
        self.handle.block_on(async {
            let found = catalog::table_named(&self.sql, name).await?;
            ChunkTable::of(&self.sql, &found, None, None).await
        })
    }

    /// The table's number: another one from here on where its key is another than that by which it was read so far.
    pub(super) fn identify(&mut self, number: usize, identity: Vec<String>) -> Result<usize> {
        let mut number = number;
        match self.core.identity(number) {
            Some(known) if *known == *identity => return Ok(number),
            Some(known) => {
                let (before, now) = (known.join(", "), identity.join(", "));
                tracing::warn!(before, now, "a table's key has changed while its rows are read: it begins anew");
                number = self.begin_anew(number)?;
            }
            None => {}
        }
        self.progress.extend(self.core.set_identity(number, identity)?);
        Ok(number)
    }

    /// The table begins anew, under this number.
    pub(super) fn begin_anew(&mut self, number: usize) -> Result<usize> {
        self.begun_anew += 1;
        let (anew, entries) = self.core.restart_table(number)?;
        self.progress.extend(entries);
        let of_table = self.gated.iter_mut().flatten().filter(|gated| gated.number == number);
        of_table.for_each(|gated| gated.number = anew);
        if let Some((name, request)) = self.name(anew).zip(self.core.request(anew)) {
            self.report.note(&name, |table| table.variant = request.variant);
        }
        Ok(anew)
    }

    /// Nobody can say any more which keys some range of the table has. It may have begun anew already.
    pub(super) fn lose(&mut self, number: usize) -> Result<()> {
        if self.core.judges(number) {
            tracing::warn!("a table by which keys were hashed is gone while they are read: the snapshot begins anew");
            self.begin_anew(number)?;
        }
        Ok(())
    }

    // Where keys lie.

    /// Looks up where the keys of these changes lie, up to the next description of a table; how many bodies that are.
    pub(in crate::pipeline) fn locate<'b>(
        &mut self,
        decoder: &mut Decoder,
        bodies: impl Iterator<Item = &'b [u8]>,
    ) -> Result<usize> {
        let known = self.located.len();
        let mut count = 0;
        for body in bodies {
            match body.first() {
                Some(b'R') if count > 0 => break,
                Some(b'R') => return Ok(1),
                Some(b'I' | b'U' | b'D') => self.want(decoder, body)?,
                _ => {}
            }
            count += 1;
        }
        self.look_up(known)?;
        Ok(count)
    }

    fn want(&mut self, decoder: &mut Decoder, body: &[u8]) -> Result<()> {
        let Message::Row { relation, change } = decoder.decode(body)? else { return Ok(()) };
        let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { return Ok(()) };
        let old = change.old.map(|row| key_of(row, &gated.key, None));
        let new = change.new.map(|row| key_of(row, &gated.key, change.old));
        // An old row that is there under FULL says nothing of the key.
        let old = old.filter(|old| new.as_ref().is_none_or(|new| new != old));
        let half = |key| Half { key, number: None, place: None, published: None };
        self.located.push_back(Located { relation, halves: [old.map(half), new.map(half)] });
        Ok(())
    }

    /// Asks where the keys lie of the changes from this one on, as far as they are not judged.
    fn look_up(&mut self, from: usize) -> Result<()> {
        let relations: BTreeSet<usize> = self.located.iter().skip(from).map(|located| located.relation).collect();
        for relation in relations {
            let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { continue };
            let Bounds { version, parts } = self.core.bounds(gated.number);
            // Changes by another key than that by which the table is read now are from before it was changed, behind a
            // lock: every snapshot by the new one sees them, so any range will do.
            let is_same = self.core.identity(gated.number).is_none_or(|identity| *identity == *gated.identity);
            let mut keys = Keys::new(gated.key.len());
            let of_relation = self.located.iter_mut().skip(from).filter(|located| located.relation == relation);
            let mut halves: Vec<&mut Half> = of_relation
                .flat_map(|located| located.halves.iter_mut().flatten())
                .filter(|half| half.published.is_none())
                .collect();
            halves.iter().for_each(|half| keys.push(half.key.iter().map(Vec::as_slice)));
            // Without a key all rows lie in one range.
            let first = parts.first().and_then(|part| part.ranges.first()).map(|(range, _)| *range);
            let found = match is_same && !keys.is_empty() {
                true => match self.handle.block_on(gated.ranges_of(&self.sql, &keys, &parts))? {
                    Some(found) => found,
                    None => {
                        let number = gated.number;
                        self.lose(number)?;
                        return self.look_up(from);
                    }
                },
                false => vec![first; halves.len()],
            };
            for (half, range) in halves.iter_mut().zip(found) {
                half.number = Some(gated.number);
                half.place = range.map(|range| Place { range, version });
            }
        }
        Ok(())
    }

    /// The verdict on the next change of a table that is read; Err: this range is to be published first.
    pub(in crate::pipeline) fn judge(
        &mut self,
        decoder: &mut Decoder,
        body: &[u8],
    ) -> Result<std::result::Result<Halves, RangeId>> {
        let Message::Row { relation, .. } = decoder.decode(body)? else { return Ok(Ok(Halves::PUBLISHED)) };
        if self.gated.get(relation).and_then(Option::as_ref).is_none() {
            return Ok(Ok(Halves::PUBLISHED));
        }
        loop {
            let Some(Located { halves, .. }) = self.located.front_mut() else {
                return Err(Error::new(Kind::Bug, "a change whose key was not looked up"));
            };
            let number = self.gated.get(relation).and_then(Option::as_ref).map(|gated| gated.number);
            // No row that exists can be one that is inserted, where they have no key.
            let is_new = body.first() == Some(&b'I');
            let mut moved = false;
            for half in halves.iter_mut().flatten().filter(|half| half.published.is_none()) {
                spell(&half.key, &mut self.spelling);
                let key = Some(self.spelling.as_slice()).filter(|key| !(is_new && key.is_empty()));
                let judged = match half.place {
                    _ if number != half.number => Verdict::Locate,
                    None => Verdict::Publish,
                    Some(place) => self.core.judge(place, key),
                };
                match judged {
                    Verdict::Covered => half.published = Some(false),
                    Verdict::Publish => half.published = Some(true),
                    Verdict::Hold(range) => return Ok(Err(range)),
                    Verdict::Locate => moved = true,
                }
            }
            if moved {
                // The ranges have been split since; so they have for the changes behind.
                self.look_up(0)?;
                continue;
            }
            let [old, new] = [&halves[0], &halves[1]].map(|half| half.as_ref().and_then(|half| half.published));
            self.located.pop_front();
            return Ok(Ok(Halves { old, new }));
        }
    }

    /// The next change was published before, or is of a transaction that was.
    pub(in crate::pipeline) fn skip(&mut self, decoder: &mut Decoder, body: &[u8]) -> Result<()> {
        if let Message::Row { relation, .. } = decoder.decode(body)?
            && self.gated.get(relation).and_then(Option::as_ref).is_some()
        {
            self.located.pop_front();
        }
        Ok(())
    }

    /// The verdict on a truncate of a table: whether it is published; Err: this range is to be published first.
    pub(in crate::pipeline) fn truncate(&mut self, relation: usize) -> std::result::Result<bool, RangeId> {
        let Some(gated) = self.gated.get(relation).and_then(Option::as_ref) else { return Ok(true) };
        match self.core.truncate(gated.number) {
            Verdict::Hold(range) => Err(range),
            verdict => Ok(verdict == Verdict::Publish),
        }
    }
}

impl Gated {
    /// The range of each key, if it lies in one of which a change need be asked for. None: nobody knows any more which keys
    /// such a range has.
    async fn ranges_of<'a>(&self, sql: &Sql, keys: &Keys, parts: &'a [Part]) -> Result<Option<Vec<Option<RangeId>>>> {
        let of_leaf = |part: &'a Part| part.leaf.as_ref().map(|leaf| leaf.condition.as_str());
        let mut conditions: Vec<Option<&str>> = parts.iter().map(of_leaf).collect();
        let places = match self.table.locate(sql, keys, &asked(parts, &conditions)).await {
            Ok(places) => places,
            Err(error) => {
                let texts: Vec<&str> = conditions.iter().map(|condition| condition.unwrap_or_default()).collect();
                let lost = source::lost(sql, &texts).await?;
                if lost.is_empty() {
                    return Err(error);
                }
                for index in lost {
                    if parts.get(index).is_some_and(|part| !part.ranges.is_empty()) {
                        return Ok(None);
                    }
                    conditions.get_mut(index).into_iter().for_each(|condition| *condition = Some("false"));
                }
                self.table.locate(sql, keys, &asked(parts, &conditions)).await?
            }
        };
        let range = |(part, place): (usize, usize)| parts.get(part)?.ranges.get(place).map(|(range, _)| *range);
        Ok(Some(places.into_iter().map(|place| place.and_then(range)).collect()))
    }
}

fn asked<'a>(parts: &'a [Part], conditions: &[Option<&'a str>]) -> Vec<KeyPart<'a>> {
    let bounds =
        |part: &'a Part| part.ranges.iter().skip(1).filter_map(|(_, lower)| Some(&lower.as_ref()?.0)).collect();
    let part =
        |(part, condition): (&'a Part, &Option<&'a str>)| KeyPart { condition: *condition, bounds: bounds(part) };
    parts.iter().zip(conditions).map(part).collect()
}

/// A key as the stream has sent it, column by column.
pub(super) type Key = Vec<Vec<u8>>;

/// The key of a row; a column that was not resent is the old row's.
pub(super) fn key_of(row: Row<'_>, columns: &[usize], old: Option<Row<'_>>) -> Key {
    let bytes = |column: &usize| match (row.get(*column), old.map(|old| old.get(*column))) {
        (Datum::Text(bytes) | Datum::Binary(bytes), _) => bytes.to_vec(),
        (Datum::Unchanged, Some(Datum::Text(bytes) | Datum::Binary(bytes))) => bytes.to_vec(),
        _ => Vec::new(),
    };
    columns.iter().map(bytes).collect()
}

/// One spelling of a key, the same for the stream and for a chunk.
pub(super) fn spell(key: &[Vec<u8>], into: &mut Vec<u8>) {
    into.clear();
    for column in key {
        into.extend_from_slice(&(column.len() as u32).to_be_bytes());
        into.extend_from_slice(column);
    }
}
