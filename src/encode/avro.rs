//! Avro's binary encoding (Avro 1.12 specification, "Binary Encoding") and Confluent's wire format around it.

/// The five bytes before every value: magic 0 and the schema's id (Confluent, "Wire format").
pub(super) fn wire_header(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

/// An int or a long: zigzag, then base 128 with the low groups first.
#[inline]
pub(super) fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A length or count, which Avro writes as a long.
#[inline]
pub(super) fn length(value: usize, out: &mut Vec<u8>) {
    // No buffer is longer than isize::MAX bytes, so the cast keeps the value.
    long(value as i64, out);
}

/// bytes or string.
#[inline]
pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    length(value.len(), out);
    out.extend_from_slice(value);
}

/// bytes or string whose length is known only once `write` has appended them: the length is put before them afterwards.
#[inline]
pub(super) fn prefixed<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    write(out)?;
    let end = out.len();
    length(end - start, out);
    let prefix = out.len() - end;
    if let Some(written) = out.get_mut(start..) {
        written.rotate_right(prefix);
    }
    Ok(())
}

/// `value` as a decimal's bytes: two's complement, big-endian, as few bytes as possible, with their length.
#[inline]
pub(super) fn decimal(value: i128, out: &mut Vec<u8>) {
    let all = value.to_be_bytes();
    // Bits that carry information, the sign included: all but the repetitions of the sign bit.
    let redundant = if value < 0 { value.leading_ones() } else { value.leading_zeros() } - 1;
    let skip = (redundant / 8) as usize;
    bytes(all.get(skip..).unwrap_or(&all), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![0xEE];
        write(&mut out);
        out.split_off(1)
    }

    #[test]
    fn longs_are_those_of_the_specification() {
        // The examples of the specification and the edges.
        for (value, expected) in [
            (0, vec![0x00]),
            (-1, vec![0x01]),
            (1, vec![0x02]),
            (-64, vec![0x7F]),
            (64, vec![0x80, 0x01]),
            (i64::MAX, vec![0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            (i64::MIN, vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ] {
            assert_eq!(written(|out| long(value, out)), expected, "{value}");
        }
    }

    #[test]
    fn decimals_are_minimal_twos_complement() {
        for (value, expected) in [
            (0, vec![2, 0]),
            (127, vec![2, 0x7F]),
            (128, vec![4, 0, 0x80]),
            (-1, vec![2, 0xFF]),
            (-128, vec![2, 0x80]),
            (-129, vec![4, 0xFF, 0x7F]),
        ] {
            assert_eq!(written(|out| decimal(value, out)), expected, "{value}");
        }
        assert_eq!(written(|out| decimal(i128::MIN, out)).len(), 17);
    }

    #[test]
    fn a_length_written_afterwards_is_the_same_as_one_written_before() {
        for n in [0, 1, 63, 64, 8191, 8192] {
            let text = vec![b'x'; n];
            let after = written(|out| {
                prefixed::<()>(out, |out| {
                    out.extend_from_slice(&text);
                    Ok(())
                })
                .unwrap()
            });
            assert_eq!(after, written(|out| bytes(&text, out)), "{n}");
        }
    }
}
