//! Frames of the streaming replication protocol (Postgres docs, "Streaming Replication Protocol" and "Message Formats").
//! Pure: bytes in, borrowed views out. Every length is the peer's claim and is checked before it is believed.
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic)]

use crate::error::{Error, Kind, Result};
use crate::model::Lsn;

/// The largest message that a server can form (`MaxAllocSize`, 1 GiB) and a little for its envelope.
pub(super) const MESSAGE_BYTES_MAX: usize = (1 << 30) + 1024;

/// A message's tag and its length in bytes, tag and length field included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    pub(super) total: usize,
}

/// The length of tag and length field.
pub(super) const HEADER_BYTES: usize = 5;

/// The header at the start of `bytes`; None: more bytes are needed.
#[inline]
pub(super) fn header(bytes: &[u8], limit: usize) -> Result<Option<Header>> {
    let Some(([tag, length @ ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length >= 4 && length < limit => Ok(Some(Header { tag: *tag, total: length + 1 })),
        _ => Err(impossible(*tag, length)),
    }
}

/// The error of a message whose length is none.
#[cold]
pub(super) fn impossible(tag: u8, length: i32) -> Error {
    let tag = char::from(tag);
    Error::new(Kind::Protocol, format!("the server sent a message of type {tag:?} with the impossible length {length}"))
}

/// The first whole message of `bytes`: tag, body and length in all; None: more bytes are needed.
#[inline]
pub(super) fn message(bytes: &[u8], limit: usize) -> Result<Option<(u8, &[u8], usize)>> {
    let Some(Header { tag, total }) = header(bytes, limit)? else { return Ok(None) };
    Ok(bytes.get(HEADER_BYTES..total).map(|body| (tag, body, total)))
}

/// One message of the stream, as a view over the received bytes.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// XLogData: one message of the output plugin. Times are microseconds since 2000-01-01 on the server's clock.
    Data { wal_start: Lsn, wal_end: Lsn, server_time_us: i64, body: &'a [u8] },
    /// Primary keepalive: the server has sent all that it has up to `wal_end`.
    Keepalive { wal_end: Lsn, server_time_us: i64, reply_requested: bool },
}

/// The frame in the body of a CopyData message.
#[inline]
pub(super) fn copy_data(body: &[u8]) -> Option<Frame<'_>> {
    match body.split_first()? {
        (b'w', rest) => {
            let (wal_start, rest) = rest.split_first_chunk()?;
            let (wal_end, rest) = rest.split_first_chunk()?;
            let (time, body) = rest.split_first_chunk()?;
            let (wal_start, wal_end) = (Lsn(u64::from_be_bytes(*wal_start)), Lsn(u64::from_be_bytes(*wal_end)));
            Some(Frame::Data { wal_start, wal_end, server_time_us: i64::from_be_bytes(*time), body })
        }
        (b'k', rest) => {
            let (wal_end, rest) = rest.split_first_chunk()?;
            let (time, rest) = rest.split_first_chunk()?;
            Some(Frame::Keepalive {
                wal_end: Lsn(u64::from_be_bytes(*wal_end)),
                server_time_us: i64::from_be_bytes(*time),
                reply_requested: *rest.first()? != 0,
            })
        }
        _ => None,
    }
}

/// The frames of a run of whole messages, in stream order. Notices and parameter changes are passed over.
#[derive(Clone, Debug)]
pub struct FrameIter<'a> {
    rest: &'a [u8],
}

impl<'a> FrameIter<'a> {
    /// `bytes` is a run of whole messages that the reader has checked; what is not, ends the run.
    pub(super) fn new(bytes: &'a [u8]) -> FrameIter<'a> {
        FrameIter { rest: bytes }
    }
}

impl<'a> Iterator for FrameIter<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        loop {
            let (tag, body, total) = message(self.rest, MESSAGE_BYTES_MAX).ok().flatten()?;
            self.rest = self.rest.get(total..)?;
            if tag == b'd' {
                return copy_data(body);
            }
        }
    }
}

/// Appends a frontend message: tag, length, body.
pub(super) fn put_message(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    out.push(tag);
    put_length_and(out, parts);
}

/// Appends a length field that counts itself, and the parts (the startup messages have no tag).
pub(super) fn put_length_and(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().saturating_add(4);
    // What this program sends is short; a length past 4 GiB cannot arise, and the server would refuse it.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// A standby status update: `confirmed` is what Kafka has committed, and nothing else is ever reported as written,
/// flushed or applied. `time_us` is in the server's own clock.
pub(super) fn status_update(confirmed: Lsn, time_us: i64, reply_requested: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(39);
    let lsn = confirmed.0.to_be_bytes();
    put_message(&mut out, b'd', &[b"r", &lsn, &lsn, &lsn, &time_us.to_be_bytes(), &[u8::from(reply_requested)]]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(lsn: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, b'd', &[b"w", &lsn.to_be_bytes(), &lsn.to_be_bytes(), &7i64.to_be_bytes(), body]);
        out
    }

    #[test]
    fn a_status_update_is_the_documented_bytes() {
        let bytes = status_update(Lsn(0x16_B374_D848), 0x0102_0304_0506_0708, true);
        let mut golden = vec![b'd', 0, 0, 0, 38, b'r'];
        for _ in 0..3 {
            golden.extend([0, 0, 0, 0x16, 0xB3, 0x74, 0xD8, 0x48]);
        }
        golden.extend([1, 2, 3, 4, 5, 6, 7, 8, 1]);
        assert_eq!(bytes, golden);
    }

    /// Faults: PG-27.
    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        for length in [i32::MIN, -1, 0, 3, i32::MAX] {
            let mut bytes = vec![b'd'];
            bytes.extend(length.to_be_bytes());
            let error = header(&bytes, MESSAGE_BYTES_MAX).unwrap_err();
            assert_eq!(error.kind(), Kind::Protocol, "{length}");
            assert!(error.detail().ends_with(&format!("impossible length {length}")), "{error}");
        }
        let largest = [b'd', 0x40, 0, 0, 0];
        assert_eq!(header(&largest, MESSAGE_BYTES_MAX).unwrap(), Some(Header { tag: b'd', total: (1 << 30) + 1 }));
        assert_eq!(header(&[b'Z', 0, 0, 0, 4], 16).unwrap(), Some(Header { tag: b'Z', total: 5 }));
    }

    #[test]
    fn a_message_is_whole_only_at_its_last_byte() {
        let bytes = data(5, b"Bxyz");
        for cut in 0..bytes.len() {
            assert_eq!(message(bytes.get(..cut).unwrap(), MESSAGE_BYTES_MAX).unwrap(), None, "{cut}");
        }
        let (tag, body, total) = message(&bytes, MESSAGE_BYTES_MAX).unwrap().unwrap();
        assert_eq!((tag, total), (b'd', bytes.len()));
        let expected = Frame::Data { wal_start: Lsn(5), wal_end: Lsn(5), server_time_us: 7, body: b"Bxyz" };
        assert_eq!(copy_data(body), Some(expected));
    }

    #[test]
    fn the_iterator_passes_over_notices_and_keeps_the_order() {
        let mut bytes = data(1, b"B");
        put_message(&mut bytes, b'N', &[b"SNOTICE\0\0"]);
        put_message(&mut bytes, b'd', &[b"k", &9u64.to_be_bytes(), &8i64.to_be_bytes(), &[1]]);
        bytes.extend(data(2, b""));
        let seen: Vec<_> = FrameIter::new(&bytes).collect();
        assert_eq!(
            seen,
            [
                Frame::Data { wal_start: Lsn(1), wal_end: Lsn(1), server_time_us: 7, body: b"B" },
                Frame::Keepalive { wal_end: Lsn(9), server_time_us: 8, reply_requested: true },
                Frame::Data { wal_start: Lsn(2), wal_end: Lsn(2), server_time_us: 7, body: b"" },
            ]
        );
    }

    #[test]
    fn short_copy_data_is_not_a_frame() {
        for body in [&b""[..], b"w", &[b'w'; 24], b"k", &[b'k'; 17], b"x12345678901234567890123456"] {
            assert_eq!(copy_data(body), None, "{body:?}");
        }
    }
}
