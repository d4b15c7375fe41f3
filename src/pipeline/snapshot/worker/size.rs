//! How many rows of a table make a chunk: by the time that reading takes, and by the bytes that rows have.

use std::time::Duration;

/// What reading the rows of a chunk is to take: some longer may a change wait for one.
pub(super) const CHUNK_TIME: Duration = Duration::from_millis(50);
/// Rows of the first chunk of a table; how few and how many there are ever by the time that they take. What comes with
/// each chunk, however large, does not count: on a busy server chunks would get smaller and smaller, and more of them.
pub(super) const ROWS_FIRST: u64 = 4_000;
const ROWS_MIN: u64 = 1_000;
const ROWS_MAX: u64 = 1_000_000;

/// What is known of one table.
pub(super) struct ChunkSize {
    rows_by_time: u64,
    /// Of COPY's output, for each row of a range, whether a filter leaves it out or not.
    row_bytes: f64,
}

impl ChunkSize {
    /// Of a table whose rows take so many bytes on disk, and of which so many at most are to be read at first.
    pub(super) fn first(rows: u64, bytes: u64, of_rows: u64) -> ChunkSize {
        ChunkSize { rows_by_time: rows, row_bytes: bytes as f64 / of_rows.max(1) as f64 }
    }

    /// Rows of the next chunk, in at most so many bytes and, where it is limited, at some ten chunks a second.
    pub(super) fn rows(&self, bytes_max: u64, rows_per_second: Option<u64>) -> u64 {
        let by_bytes = (bytes_max as f64 / self.row_bytes.max(1.0)) as u64;
        let limit = rows_per_second.map_or(ROWS_MAX, |limit| (limit / 10).clamp(100, ROWS_MAX));
        by_bytes.min(self.rows_by_time).min(limit).max(1)
    }

    /// A chunk of so many rows had so many bytes, and took so long to read.
    pub(super) fn learn(&mut self, rows: u64, bytes: usize, took: Duration) {
        let by = CHUNK_TIME.as_secs_f64() / took.as_secs_f64().max(0.001);
        self.rows_by_time = ((rows as f64 * by.clamp(0.25, 2.0)) as u64).clamp(ROWS_MIN, ROWS_MAX);
        // Rows that follow may be wider again.
        self.row_bytes = (bytes as f64 / rows.max(1) as f64).max(self.row_bytes / 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_first_chunk_of_wide_rows_has_few() {
        assert_eq!(ChunkSize::first(ROWS_FIRST, 10 * MIB, 1_000_000).rows(2 * MIB, None), 4_000);
        assert_eq!(ChunkSize::first(ROWS_FIRST, 1_000 * MIB, 10_000).rows(2 * MIB, None), 20);
        assert_eq!(ChunkSize::first(ROWS_FIRST, 1_000 * MIB, 0).rows(2 * MIB, None), 1);
        assert_eq!(ChunkSize::first(ROWS_FIRST, 0, 0).rows(2 * MIB, Some(5_000)), 500);
    }

    #[test]
    fn sizes_follow_the_time_and_the_bytes() {
        let mut size = ChunkSize::first(ROWS_FIRST, 0, 0);
        size.learn(4_000, 400_000, Duration::from_millis(10));
        assert_eq!(size.rows(2 * MIB, None), 8_000);
        size.learn(8_000, 8 << 20, Duration::from_millis(20));
        assert_eq!(size.rows(2 * MIB, None), 2_000);
        assert_eq!(size.rows(MIB / 2, None), 500);
        // As narrow as before: as many as before within two chunks.
        size.learn(2_000, 200_000, Duration::from_millis(5));
        size.learn(4_000, 400_000, Duration::from_millis(10));
        assert_eq!(size.rows(2 * MIB, None), 8_000);
    }

    #[test]
    fn a_slow_server_is_asked_for_less_and_never_for_hardly_any() {
        let mut size = ChunkSize::first(ROWS_FIRST, 0, 0);
        for _ in 0..10 {
            let rows = size.rows(2 * MIB, None);
            size.learn(rows, 100_000, Duration::from_secs(2));
        }
        assert_eq!(size.rows(2 * MIB, None), 1_000);
    }
}
