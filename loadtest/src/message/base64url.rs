//! Base64url (RFC 4648 section 5) in units of 48 bits, which are eight characters. The characters
//! are valid in text, and need no escape in JSON.

/// The number of characters of a unit.
pub(crate) const LEN: usize = 8;

/// The alphabet of base64url.
pub(crate) const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// For each place in a group of four characters, the bits of each character in the 24 bits of the
/// group; [`INVALID`] for other bytes. A table for each place is twice as fast as one for all.
static BITS: [[u32; 256]; 4] = {
    let mut tables = [[INVALID; 256]; 4];
    let mut place = 0;
    while place < 4 {
        let mut value = 0;
        while value < 64 {
            tables[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
            value += 1;
        }
        place += 1;
    }
    tables
};

const INVALID: u32 = 1 << 31;

/// A word of eight bytes with this value each.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; LEN])
}

/// The eight characters of the lowest 48 bits, all at once: a message is copied right after its
/// mark was written, and eight stores of a byte would delay the load of them as a word.
#[inline]
pub(crate) fn encode(bits: u64) -> [u8; LEN] {
    // Six bits in each byte, the first ones in the highest byte.
    let bits = (bits & 0xffff_ff00_0000) << 8 | bits & 0x00ff_ffff;
    let bits = (bits & 0x00ff_f000_00ff_f000) << 4 | bits & 0x0000_0fff_0000_0fff;
    let values = (bits & 0x0fc0_0fc0_0fc0_0fc0) << 2 | bits & 0x003f_003f_003f_003f;
    // One in each byte whose value is at least this.
    let from = |value: u8| ((values + each(0x80 - value)) & each(0x80)) >> 7;
    // The distances between the ranges of the alphabet. No byte leaves 0 to 255.
    let characters = values + each(b'A') + from(26) * u64::from(b'a' - b'A' - 26)
        - from(52) * u64::from(b'a' + 26 - b'0')
        - from(62) * u64::from(b'0' + 10 - b'-')
        + from(63) * u64::from(b'_' - b'-' - 1);
    characters.to_be_bytes()
}

/// The 48 bits of eight characters. `None` if one of them is not in the alphabet.
#[inline]
pub(crate) fn decode(characters: &[u8; LEN]) -> Option<u64> {
    let [a, b, c, d, e, f, g, h] = characters.map(usize::from);
    let high = BITS[0][a] | BITS[1][b] | BITS[2][c] | BITS[3][d];
    let low = BITS[0][e] | BITS[1][f] | BITS[2][g] | BITS[3][h];
    ((high | low) & INVALID == 0).then_some(u64::from(high) << 24 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_character_at_each_place() {
        for (value, character) in ALPHABET.iter().enumerate() {
            for other in [0, 25, 26, 51, 52, 61, 62, 63] {
                for place in 0..LEN {
                    let values: [usize; LEN] = std::array::from_fn(|at| if at == place { value } else { other });
                    let bits = values.iter().fold(0, |bits, value| bits << 6 | *value as u64);
                    let expected = values.map(|value| ALPHABET[value]);
                    assert_eq!(expected[place], *character);
                    assert_eq!((encode(bits), decode(&expected)), (expected, Some(bits)));
                }
            }
        }
    }

    #[test]
    fn other_characters_are_refused_at_each_place() {
        for other in (0..=255).filter(|byte| !ALPHABET.contains(byte)) {
            for place in 0..LEN {
                let mut characters = *b"AQIDBP7_";
                characters[place] = other;
                assert_eq!(decode(&characters), None, "{other} at {place}");
            }
        }
    }
}
