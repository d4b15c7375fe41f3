//! Eight hexadecimal digits at once: each event has some sixty of them.

/// The digits of `number`, with letters in upper case.
#[inline]
pub fn hex_upper(number: u32) -> [u8; 8] {
    digits(number, b'A')
}

/// The digits of `number`, with letters in lower case.
#[inline]
pub fn hex_lower(number: u32) -> [u8; 8] {
    digits(number, b'a')
}

/// Each half byte in a byte of its own, and then to all of them what makes a digit or a letter of it.
#[inline]
fn digits(number: u32, a: u8) -> [u8; 8] {
    let number = u64::from(number);
    let pairs = (number | (number << 16)) & 0x0000_FFFF_0000_FFFF;
    let bytes = (pairs | (pairs << 8)) & 0x00FF_00FF_00FF_00FF;
    let halves = (bytes | (bytes << 4)) & 0x0F0F_0F0F_0F0F_0F0F;
    let is_letter = ((halves + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (halves + 0x3030_3030_3030_3030 + is_letter * u64::from(a - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_those_of_the_standard_library() {
        let by_bits = (0..32).flat_map(|bit| [1u32 << bit, u32::MAX >> bit, 0x89AB_CDEF_u32.rotate_left(bit)]);
        for number in by_bits.chain([0, 0x0123_4567]) {
            assert_eq!(hex_upper(number).as_slice(), format!("{number:08X}").as_bytes());
            assert_eq!(hex_lower(number).as_slice(), format!("{number:08x}").as_bytes());
        }
    }
}
