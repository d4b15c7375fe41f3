//! Where keys lie, as the server says.

use postgres_protocol::escape::escape_identifier;
use postgres_protocol::types::{ArrayDimension, array_to_sql};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{ChunkTable, KeyColumn, KeyText, at};
use crate::error::Result;
use crate::model::SlotKind;
use crate::source::sql::{Sql, column};

/// Keys as the stream has sent them, column by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    columns: Vec<Vec<Vec<u8>>>,
}

impl Keys {
    /// No key yet, of so many columns.
    pub fn new(columns: usize) -> Keys {
        Keys { columns: vec![Vec::new(); columns] }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that stand at these places.
    fn at(&self, places: &[usize]) -> Keys {
        let chosen = |column: &Vec<Vec<u8>>| places.iter().filter_map(|place| column.get(*place).cloned()).collect();
        Keys { columns: self.columns.iter().map(chosen).collect() }
    }

    /// Adds a key: the bytes of each of its columns, as the stream writes them.
    pub fn push<'a>(&mut self, key: impl Iterator<Item = &'a [u8]>) {
        for (column, value) in self.columns.iter_mut().zip(key) {
            column.push(value.to_vec());
        }
    }
}

/// Where keys may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart<'a> {
    /// SQL that says which keys.
    pub condition: Option<&'a str>,
    /// Ascending.
    pub bounds: Vec<&'a KeyText>,
}

impl ChunkTable {
    /// For each key the first of these conditions that holds; None: none does. Each is one over the key's columns.
    async fn first_that_holds(&self, sql: &Sql, keys: &Keys, conditions: &[&str]) -> Result<Vec<Option<usize>>> {
        let each = |of: &dyn Fn((usize, &KeyColumn)) -> String| {
            self.key.iter().enumerate().map(of).collect::<Vec<_>>().join(", ")
        };
        let arms = conditions.iter().enumerate().map(|(nth, condition)| format!("WHEN {condition} THEN {nth} "));
        // The columns' own names, that the conditions have, stand apart from those of the query.
        let query = format!(
            "SELECT CASE {arms}END FROM (SELECT {key} FROM unnest({keys}) WITH ORDINALITY AS k ({ks}, place) ORDER BY place) AS k",
            arms = arms.collect::<String>(),
            key = each(&|(index, column)| format!("{} AS {}", key((index, column)), escape_identifier(&column.name))),
            keys = each(&key_array),
            ks = each(&|(index, _)| format!("k{index}")),
        );
        let arrays = self.arrays(keys);
        let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        let rows = sql.prepared(&query, &parameters).await.map_err(|error| at(error, self))?;
        let nth = |row| column::<Option<i32>>(row, 0).map(|nth| nth.and_then(|nth| usize::try_from(nth).ok()));
        rows.iter().map(nth).collect()
    }

    /// One statement for any number of keys and bounds, so that the server prepares it once.
    fn locating(&self) -> String {
        let columns = self.key.len();
        let all = |of: &dyn Fn((usize, &KeyColumn)) -> String| {
            self.key.iter().enumerate().map(of).collect::<Vec<_>>().join(", ")
        };
        let row = |values: String| if columns == 1 { values } else { format!("ROW({values})") };
        let bound_array = |(index, _): (usize, &KeyColumn)| format!("${}::text[]", columns + index + 1);
        let bound = |(index, column): (usize, &KeyColumn)| format!("b{index}::{}{}", column.kind, column.collate);
        format!(
            "SELECT width_bucket({key}, ARRAY(SELECT {bound} FROM unnest({bounds}) WITH ORDINALITY AS b ({bs}, place) ORDER BY place)) \
               FROM unnest({keys}) WITH ORDINALITY AS k ({ks}, place) ORDER BY place",
            key = row(all(&key)),
            bound = row(all(&bound)),
            bounds = all(&bound_array),
            bs = all(&|(index, _)| format!("b{index}")),
            keys = all(&key_array),
            ks = all(&|(index, _)| format!("k{index}")),
        )
    }

    fn arrays<'a>(&self, keys: &'a Keys) -> Vec<Array<'a>> {
        keys.columns.iter().zip(&self.key).map(Array::new).collect()
    }

    /// For each key the index of its part, and of its range there; None: it lies in none. A part is a condition over the
    /// key's columns, and the bounds between its ranges; one without a condition has all that no other has.
    pub async fn locate(&self, sql: &Sql, keys: &Keys, parts: &[KeyPart<'_>]) -> Result<Vec<Option<(usize, usize)>>> {
        if let [KeyPart { condition: None, bounds }] = parts {
            let places = self.buckets(sql, keys, bounds).await?;
            return Ok(places.into_iter().map(|place| Some((0, place))).collect());
        }
        if keys.is_empty() || parts.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let of_rest = parts.iter().position(|part| part.condition.is_none());
        let (numbers, conditions): (Vec<usize>, Vec<&str>) =
            parts.iter().enumerate().filter_map(|(number, part)| Some((number, part.condition?))).unzip();
        let mut members = vec![Vec::new(); parts.len()];
        for (key, nth) in self.first_that_holds(sql, keys, &conditions).await?.into_iter().enumerate() {
            let part = nth.and_then(|nth| numbers.get(nth).copied()).or(of_rest);
            part.and_then(|part| members.get_mut(part)).into_iter().for_each(|members| members.push(key));
        }
        let mut located = vec![None; keys.len()];
        for ((number, part), members) in parts.iter().enumerate().zip(members) {
            let places = self.buckets(sql, &keys.at(&members), &part.bounds).await?;
            for (key, place) in members.into_iter().zip(places) {
                located.get_mut(key).into_iter().for_each(|located| *located = Some((number, place)));
            }
        }
        Ok(located)
    }

    /// For each key the number of bounds that are not above it: the index of its range. The bounds ascend; the server
    /// finds the place by bisection (Postgres docs, `width_bucket`), in the order that its ORDER BY has.
    async fn buckets(&self, sql: &Sql, keys: &Keys, bounds: &[&KeyText]) -> Result<Vec<usize>> {
        if bounds.is_empty() || keys.is_empty() {
            return Ok(vec![0; keys.len()]);
        }
        let texts = |column: usize| bounds.iter().filter_map(|bound| bound.get(column)).collect::<Vec<_>>();
        let bound_columns: Vec<Vec<&String>> = (0..self.key.len()).map(texts).collect();
        let arrays = self.arrays(keys);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        parameters.extend(bound_columns.iter().map(|texts| texts as &(dyn ToSql + Sync)));
        let rows = sql.prepared(&self.locating(), &parameters).await.map_err(|error| at(error, self))?;
        let index = |row| column::<i32>(row, 0).map(|index| usize::try_from(index).unwrap_or_default());
        rows.iter().map(index).collect()
    }
}

fn key_array((index, column): (usize, &KeyColumn)) -> String {
    match column.slot {
        SlotKind::Binary => format!("${}::{}[]", index + 1, column.kind),
        _ => format!("${}::text[]", index + 1),
    }
}

fn key((index, column): (usize, &KeyColumn)) -> String {
    match column.slot {
        SlotKind::Binary => format!("k{index}{}", column.collate),
        _ => format!("k{index}::{}{}", column.kind, column.collate),
    }
}

/// A one-dimensional array of values that are written already (arrayfuncs.c, `array_recv`).
#[derive(Debug)]
struct Array<'a> {
    values: &'a [Vec<u8>],
    element_oid: u32,
}

impl<'a> Array<'a> {
    fn new((values, column): (&'a Vec<Vec<u8>>, &KeyColumn)) -> Array<'a> {
        const TEXT: u32 = 25;
        Array { values, element_oid: if column.slot == SlotKind::Binary { column.type_oid } else { TEXT } }
    }
}

impl ToSql for Array<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let elements = self.values.iter().map(Vec::as_slice);
        let dimension = ArrayDimension { len: i32::try_from(self.values.len())?, lower_bound: 1 };
        let write = |value: &[u8], out: &mut BytesMut| {
            out.extend_from_slice(value);
            Ok(postgres_protocol::IsNull::No)
        };
        array_to_sql([dimension], self.element_oid, elements, write, out)?;
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
