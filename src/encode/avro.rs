//! Avro's binary encoding (Avro 1.12 specification, "Binary Encoding") and Confluent's wire format around it.

/// The five bytes before every value: magic 0 and the schema's id (Confluent, "Wire format").
pub(super) fn wire_header(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

/// An int or a long: zigzag, then base 128 with the low groups first.
#[inline]
pub(super) fn long(value: i64, out: &mut Vec<u8>) {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if zigzag < 0x80 {
        out.push(zigzag as u8);
    } else if zigzag < 1 << 56 {
        let length = (70 - zigzag.leading_zeros()) / 7;
        let more = 0x0080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
        // All eight, since a copy of a known length costs less than one of the length that is needed.
        out.extend_from_slice(&(groups(zigzag) | more).to_le_bytes());
        out.truncate(out.len() - 8 + length as usize);
    } else {
        let mut rest = zigzag;
        while rest >= 0x80 {
            out.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

/// The groups of seven bits of a number below 2^56, each in a byte of its own.
#[inline]
fn groups(number: u64) -> u64 {
    let halves = (number & 0x0FFF_FFFF) | ((number & 0x00FF_FFFF_F000_0000) << 4);
    let quarters = (halves & 0x0000_3FFF_0000_3FFF) | ((halves & 0x0FFF_C000_0FFF_C000) << 2);
    (quarters & 0x007F_007F_007F_007F) | ((quarters & 0x3F80_3F80_3F80_3F80) << 1)
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
    fn longs_of_every_length_are_groups_of_seven_bits() {
        let by_the_book = |value: i64| {
            let (mut rest, mut out) = (((value << 1) ^ (value >> 63)).cast_unsigned(), Vec::new());
            while rest >= 0x80 {
                out.push((rest & 0x7F) as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
            out
        };
        for bits in 0..64 {
            for value in
                [1_i64 << bits, (1_i64 << bits).wrapping_sub(1), (1 << bits) | (0x5A5A_A5A5_3C3C_C3C3 >> (63 - bits))]
            {
                assert_eq!(written(|out| long(value, out)), by_the_book(value), "{value}");
                assert_eq!(written(|out| long(!value, out)), by_the_book(!value), "{}", !value);
            }
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
