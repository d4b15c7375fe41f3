//! Codes and what each stands for, encoded: the symbols of an enum, or a rule's `map`.

use super::avro;
use super::reason::Reason;

/// Pairs in the order of the codes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codes(Vec<Pair>);

/// A code and what it stands for.
type Pair = (Box<[u8]>, Box<[u8]>);

impl Codes {
    pub(super) fn new(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Codes {
        let mut pairs: Vec<Pair> = pairs.into_iter().map(|(code, value)| (code.into(), value.into())).collect();
        pairs.sort_unstable();
        Codes(pairs)
    }

    /// Each symbol stands for its number.
    pub(super) fn symbols(symbols: &[String]) -> Codes {
        Codes::new(symbols.iter().enumerate().map(|(index, symbol)| (symbol.clone().into_bytes(), number(index))))
    }

    #[inline]
    pub(super) fn write(&self, code: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        out.extend_from_slice(self.find(code).ok_or(Reason::Unlisted)?);
        Ok(())
    }

    /// What the code stands for.
    #[inline]
    pub(super) fn find(&self, code: &[u8]) -> Option<&[u8]> {
        let found = self.0.binary_search_by(|(listed, _)| (**listed).cmp(code)).ok()?;
        self.0.get(found).map(|(_, value)| &**value)
    }
}

/// A symbol's number in Avro's encoding.
pub(super) fn number(index: usize) -> Vec<u8> {
    let mut out = Vec::new();
    avro::length(index, &mut out);
    out
}
