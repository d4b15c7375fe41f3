//! A cursor over one message that knows its place, for errors.

use crate::error::{Error, Kind, Result};
use crate::model::{Lsn, PG_EPOCH_UNIX_MICROS, Slot, SlotKind};

/// 4714-11-24 BC, in microseconds since 2000 (Postgres, `MIN_TIMESTAMP`).
const TIME_MIN: i64 = -211_813_488_000_000_000;

/// Reads one message from front to back.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    body: &'a [u8],
    rest: &'a [u8],
    /// The pgoutput message.
    name: Option<&'static str>,
}

impl<'a> Reader<'a> {
    /// At the first byte of `body`, the message's type.
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { body, rest: body, name: Some("unknown") }
    }

    /// At the first byte of a COPY's answer.
    pub(super) fn copy(body: &'a [u8]) -> Reader<'a> {
        Reader { body, rest: body, name: None }
    }

    /// Names the message in errors.
    pub(super) fn name(&mut self, name: &'static str) {
        self.name = Some(name);
    }

    /// The whole message, which slots point into.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> usize {
        self.body.len().saturating_sub(self.rest.len())
    }

    /// An error at the current offset.
    #[cold]
    pub(super) fn fault(&self, what: impl std::fmt::Display) -> Error {
        let place = format!("{what} at byte {} of {}", self.offset(), self.body.len());
        Error::new(
            Kind::Protocol,
            match self.name {
                Some(name) => format!("pgoutput {name} message: {place}"),
                None => format!("COPY (FORMAT binary): {place}"),
            },
        )
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.fault(format_args!("it ends where {N} more bytes belong")));
        };
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A timestamptz: what Postgres can hold, as far as it is an instant in Unix microseconds too.
    pub(super) fn time(&mut self) -> Result<i64> {
        let micros = self.i64()?;
        if (TIME_MIN..=i64::MAX.saturating_sub(PG_EPOCH_UNIX_MICROS)).contains(&micros) {
            return Ok(micros);
        }
        Err(self.fault("a commit time that is none"))
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn> {
        self.array().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    /// An Int32 length and as many bytes.
    #[inline]
    pub(super) fn counted(&mut self) -> Result<&'a [u8]> {
        let length = self.i32()?;
        self.take(length)
    }

    /// A value of this kind, with its length before it, passed over.
    #[inline]
    pub(super) fn slot(&mut self, kind: SlotKind) -> Result<Slot> {
        let length = self.i32()?;
        self.slot_of(kind, length)
    }

    /// The same, with the length -1 for a NULL.
    #[inline]
    pub(super) fn slot_or_null(&mut self, kind: SlotKind) -> Result<Slot> {
        match self.i32()? {
            -1 => Ok(Slot { kind: SlotKind::Null, start: 0, len: 0 }),
            length => self.slot_of(kind, length),
        }
    }

    #[inline]
    fn slot_of(&mut self, kind: SlotKind, length: i32) -> Result<Slot> {
        let Ok(start) = u32::try_from(self.offset()) else { return Err(self.fault("more than 4 GiB")) };
        self.take(length)?;
        Ok(Slot { kind, start, len: length.cast_unsigned() })
    }

    #[inline]
    fn take(&mut self, length: i32) -> Result<&'a [u8]> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((value, rest)) = taken else {
            return Err(self.fault(format_args!("{length} bytes are announced and {} follow", self.rest.len())));
        };
        self.rest = rest;
        Ok(value)
    }

    /// Bytes up to the next NUL, which is skipped.
    pub(super) fn terminated(&mut self) -> Result<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let taken = end.and_then(|end| Some((self.rest.get(..end)?, self.rest.get(end.checked_add(1)?..)?)));
        let Some((value, rest)) = taken else { return Err(self.fault("a string without its end")) };
        self.rest = rest;
        Ok(value)
    }

    /// A name: terminated and UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.terminated()?;
        std::str::from_utf8(bytes).map_err(|_| self.fault("a name that is not UTF-8"))
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.fault(format_args!("{} bytes too many", self.rest.len())))
    }
}
