//! Any sequence of messages: each is two bytes of length and as many of body, all for one decoder, so that the fuzzer
//! can describe tables before it sends rows of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use walwright::decode::{Decoder, Message};
use walwright::model::Datum;

fuzz_target!(|input: &[u8]| {
    let mut decoder = Decoder::new();
    let mut rest = input;
    while let Some(([high, low], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (body, tail) = tail.split_at(length);
        rest = tail;
        let _changed = decoder.narrowed(body);
        let Ok(Message::Row { relation, change }) = decoder.decode(body) else { continue };
        let rows = change.old.into_iter().chain(change.new);
        let values = rows.flat_map(|row| (0..row.len()).map(move |column| row.get(column)));
        let bytes: usize = values.map(|datum| if let Datum::Text(v) | Datum::Binary(v) = datum { v.len() } else { 0 }).sum();
        assert!(bytes <= body.len(), "rows of relation {relation} have more bytes than their message");
    }
});
