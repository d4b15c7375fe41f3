//! Partitioned tables: the leaves are listed once, then each is read by itself.

use std::time::Duration;

use super::{Step, Worker, parsed};
use crate::error::Result;
use crate::model::TableName;
use crate::pipeline::snapshot::Ask;
use crate::snapshot::{Chunk, Offer, RangeId};
use crate::source::{ChunkReader, ChunkTable};

impl Worker {
    /// What of the table is to be read for a chunk, after it was divided where it can be; Err: nothing yet. Where it is a
    /// leaf, the transaction that holds its table is open from here on.
    pub(super) fn part(
        &mut self,
        reader: &ChunkReader,
        chunk: &Chunk,
        table: ChunkTable,
    ) -> Result<std::result::Result<ChunkTable, Step>> {
        let Some(leaf) = &chunk.leaf else {
            let is_one = self.shapes.get(&chunk.table).is_some_and(|shape| shape.is_one);
            if is_one || !chunk.is_undivided() || !table.is_partitioned() {
                return Ok(Ok(table));
            }
            return match self.divide(reader, &table, &chunk.table, chunk.range)? {
                Some(step) => Ok(Err(step)),
                None => Ok(Ok(table)),
            };
        };
        self.block_on(reader.hold(&table))?;
        let part = self.block_on(table.part(reader.sql(), leaf));
        if let Ok(Some(part)) = part {
            return Ok(Ok(part));
        }
        self.block_on(reader.end())?;
        part?;
        drop(self.settings.asks.send(Ask::Anew(chunk.range)));
        Ok(Err(Step::Later(Duration::ZERO)))
    }

    /// Lists the leaves of a table; None: it is to be read as one.
    fn divide(
        &mut self,
        reader: &ChunkReader,
        table: &ChunkTable,
        name: &TableName,
        range: RangeId,
    ) -> Result<Option<Step>> {
        let mut tries = 0;
        loop {
            let Some(taken) = self.block_on(reader.begin(table))? else { return Ok(None) };
            let (leaves, lsn) = self.block_on(async {
                let listed = (reader.leaves(table).await?, reader.insert_lsn().await?);
                reader.end().await?;
                Ok(listed)
            })?;
            let leaves = match leaves {
                Ok(leaves) => leaves,
                Err(why) => {
                    tracing::info!(table = %name, why, "a partitioned table is read as one, not each partition by itself");
                    self.shapes.get_mut(name).into_iter().for_each(|shape| shape.is_one = true);
                    return Ok(None);
                }
            };
            // What is listed counts for good, as do rows that are published.
            if !self.until_flushed(reader, lsn, |_| ())? {
                return Ok(Some(Step::Over));
            }
            let (count, snapshot) = (leaves.len(), parsed(&taken.snapshot)?);
            let offer = self.ask(|reply| Ask::Divide { range, snapshot, lsn, leaves, reply });
            if offer == Some(Offer::Accepted) {
                tracing::debug!(table = %name, leaves = count, "a partitioned table is read leaf by leaf");
            }
            if let Some(step) = self.refused(offer, &mut tries) {
                return Ok(Some(step));
            }
        }
    }
}
