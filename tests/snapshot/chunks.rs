//! Chunks of a table as the server reads them, for keys of any type and order.

use walwright::decode::CopyRows;
use walwright::encode::write_text;
use walwright::model::{ColumnType, Datum, Row, TableName};
use walwright::source::{ChunkReader, ChunkSnapshot, ChunkTable, KeyPart, KeyText, Keys, catalog};

use crate::login::settings;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Result, poll, runtime};

pub(super) struct Chunks {
    pub(super) reader: ChunkReader,
    pub(super) table: ChunkTable,
    pub(super) runtime: &'static tokio::runtime::Runtime,
}

impl Chunks {
    pub(super) fn of(scene: &Scene, table: &str) -> Result<Self> {
        let stack = Stack::shared()?;
        let settings = walwright::source::SourceSettings {
            database: scene.name.clone(),
            ..settings(&stack.postgres, walwright::model::TlsMode::Disable)
        };
        let runtime = runtime()?;
        let (reader, table) = runtime.block_on(async {
            let reader = ChunkReader::connect(&settings).await?;
            let found = catalog::table_named(reader.sql(), &TableName::new("public", table)).await?;
            let table = ChunkTable::of(reader.sql(), &found, None, None).await?;
            Ok::<_, walwright::error::Error>((reader, table))
        })?;
        Ok(Self { reader, table, runtime })
    }

    /// The bounds of chunks of so many rows.
    fn bounds(&self, rows: u64) -> Result<Vec<KeyText>> {
        let mut bounds = Vec::new();
        while let Some(bound) = self.runtime.block_on(self.reader.boundary(&self.table, bounds.last(), None, rows))? {
            bounds.push(bound);
        }
        Ok(bounds)
    }

    /// The keys of each chunk, as text.
    fn keys(&self, bounds: &[KeyText]) -> Result<Vec<Vec<KeyText>>> {
        let ends = bounds.iter().map(Some).chain([None]);
        let begins = [None].into_iter().chain(bounds.iter().map(Some));
        begins.zip(ends).map(|(lower, upper)| self.chunk(lower, upper)).collect()
    }

    fn chunk(&self, lower: Option<&KeyText>, upper: Option<&KeyText>) -> Result<Vec<KeyText>> {
        let bytes = self.runtime.block_on(async {
            let taken = self.reader.begin(&self.table).await?;
            let is_taken = |taken: &ChunkSnapshot| taken.filenode > 0 && taken.snapshot.split(':').count() == 3;
            assert!(taken.as_ref().is_some_and(is_taken), "{taken:?}");
            let bytes = self.reader.rows(&self.table, lower, upper, None, Vec::new()).await?;
            self.reader.end().await?;
            Ok::<_, walwright::error::Error>(bytes)
        })?;
        let slots = self.table.slots();
        let (mut rows, mut keys) = (CopyRows::new(&bytes, &slots)?, Vec::new());
        while let Some(row) = rows.next_row()? {
            keys.push(key_text(&self.table, row)?);
        }
        Ok(keys)
    }

    /// Where the server says that each row's key lies, as the stream would send it.
    fn located(&self, bounds: &[KeyText], columns: &[usize]) -> Result<Vec<(usize, KeyText)>> {
        let bytes = self.runtime.block_on(async {
            self.reader.begin(&self.table).await?;
            let bytes = self.reader.rows(&self.table, None, None, None, Vec::new()).await?;
            self.reader.end().await?;
            Ok::<_, walwright::error::Error>(bytes)
        })?;
        let slots = self.table.slots();
        let mut rows = CopyRows::new(&bytes, &slots)?;
        let (mut keys, mut texts) = (Keys::new(columns.len()), Vec::new());
        while let Some(row) = rows.next_row()? {
            let bytes = |index| match row.get(index) {
                Datum::Text(bytes) | Datum::Binary(bytes) => bytes,
                _ => &[],
            };
            keys.push(columns.iter().map(|column| bytes(*column)));
            texts.push(key_text(&self.table, row)?);
        }
        let all = KeyPart { condition: None, bounds: bounds.iter().collect() };
        let places = self.runtime.block_on(self.table.locate(self.reader.sql(), &keys, &[all]))?;
        let places: Option<Vec<usize>> = places.into_iter().map(|place| Some(place?.1)).collect();
        Ok(places.ok_or("a key lies nowhere")?.into_iter().zip(texts).collect())
    }
}

/// The key of a row of a chunk.
pub(super) fn key_text(table: &ChunkTable, row: Row<'_>) -> Result<KeyText> {
    let part = |(number, kind): (usize, Option<ColumnType>)| {
        let mut text = Vec::new();
        match (row.get(table.key_places()[number]), kind) {
            (Datum::Text(bytes), None) => text.extend_from_slice(bytes),
            (Datum::Binary(bytes), Some(kind)) => write_text(&kind, bytes, &mut text)?,
            (other, kind) => return Err(format!("{other:?} of {kind:?}").into()),
        }
        Ok(String::from_utf8(text)?)
    };
    table.key_types().into_iter().enumerate().map(part).collect()
}

/// Chunks are disjoint and whole, and a key lies where its row was read, whatever the key is.
fn partition(table: &str, ddl: &str, key_columns: &[usize]) -> Result<()> {
    let scene = Scene::new("chunks")?;
    scene.sql()?.batch(ddl)?;
    let chunks = Chunks::of(&scene, table)?;
    let count: i64 = scene.sql()?.value(&format!("SELECT count(*) FROM {table}"))?;
    let bounds = chunks.bounds(7)?;
    assert!(bounds.len() >= 3, "{bounds:?}");
    let read = chunks.keys(&bounds)?;
    assert!(read.iter().rev().skip(1).all(|chunk| chunk.len() == 7), "{read:?}");
    let all: std::collections::BTreeSet<&KeyText> = read.iter().flatten().collect();
    assert_eq!((read.iter().flatten().count() as i64, all.len() as i64), (count, count));
    for (place, key) in chunks.located(&bounds, key_columns)? {
        assert!(read[place].contains(&key), "{key:?} lies in chunk {place}");
    }
    Ok(())
}

/// Faults: SNP-04.
#[test]
fn a_number() -> Result<()> {
    partition(
        "t",
        "CREATE TABLE t (v text, id bigint PRIMARY KEY); INSERT INTO t SELECT 'x', i * 3 - 40 FROM generate_series(1, 40) i",
        &[1],
    )
}

/// Order by a language and order by bytes differ in every second row here, and the key's order is its index's.
/// Faults: SNP-04.
#[test]
fn text_of_several_collations_and_a_key_of_three() -> Result<()> {
    let ddl = "CREATE COLLATION upper_first (provider = icu, locale = 'en-u-kf-upper');
        CREATE TABLE t (a text COLLATE \"C\", b varchar(9) COLLATE upper_first, \"c d\" date, PRIMARY KEY (b, a, \"c d\"));
        INSERT INTO t SELECT chr(65 + i % 5 + 32 * (i % 2)), chr(97 + i % 3 - 32 * (i % 2)) || '''\\', date '2026-01-01' + i
        FROM generate_series(1, 60) i";
    partition("t", ddl, &[1, 0, 2])
}

/// Faults: SNP-04.
#[test]
fn types_of_all_kinds() -> Result<()> {
    let ddl = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN code AS varchar(8);
        CREATE TABLE t (m mood, c code, n numeric(12,3), u uuid, i inet, b bytea, f float8, PRIMARY KEY (m, c, n, u, i, b, f));
        INSERT INTO t SELECT (enum_range(NULL::mood))[1 + i % 3], 'c' || i, i / 7.0, md5(i::text)::uuid,
               ('10.0.0.' || i)::inet, decode(lpad(to_hex(i), 4, '0'), 'hex'), sqrt(i) FROM generate_series(1, 50) i";
    partition("t", ddl, &[0, 1, 2, 3, 4, 5, 6])
}

#[test]
fn the_identity_is_another_index_than_the_primary_key() -> Result<()> {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE); ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key;
        INSERT INTO t SELECT i, 'k' || i FROM generate_series(1, 30) i";
    partition("t", ddl, &[1])
}

#[test]
fn what_has_no_send_function_comes_as_text_and_a_session_may_make_the_server_flush() -> Result<()> {
    let scene = Scene::new("aclitems")?;
    scene
        .sql()?
        .batch("CREATE TABLE t (id int PRIMARY KEY, a aclitem); INSERT INTO t VALUES (1, 'postgres=r/postgres')")?;
    let chunks = Chunks::of(&scene, "t")?;
    assert_eq!(chunks.keys(&[])?, [[["1"]]]);
    let before = chunks.runtime.block_on(async {
        let before = chunks.reader.insert_lsn().await?;
        chunks.reader.current_xid().await?;
        Ok::<_, walwright::error::Error>(before)
    })?;
    let flushed = poll(WITHIN, || {
        let flushed = chunks.runtime.block_on(chunks.reader.flush_lsn())?;
        Ok((flushed >= before).then_some(()))
    })?;
    flushed.ok_or_else(|| format!("nobody flushes up to {before}").into())
}
