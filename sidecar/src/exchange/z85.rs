//! Z85, the form in which keys of ZeroMQ are written (RFC 32/Z85): four bytes as five characters.

const LETTERS: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The key that 40 characters stand for.
pub fn key(text: &str) -> Option<[u8; 32]> {
    let text = text.trim().as_bytes();
    if text.len() != 40 {
        return None;
    }
    let mut key = [0; 32];
    for (five, four) in text.chunks_exact(5).zip(key.chunks_exact_mut(4)) {
        let mut value: u32 = 0;
        for letter in five {
            let digit = LETTERS.iter().position(|l| l == letter)?;
            value = value.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        four.copy_from_slice(&value.to_be_bytes());
    }
    Some(key)
}

/// A key as 40 characters.
pub fn text(key: &[u8; 32]) -> String {
    let mut text = String::with_capacity(40);
    for four in key.chunks_exact(4) {
        let mut value = four.iter().fold(0_u32, |value, byte| (value << 8) | u32::from(*byte));
        let mut five = [0; 5];
        for place in five.iter_mut().rev() {
            *place = LETTERS.get((value % 85) as usize).copied().unwrap_or(b'0');
            value /= 85;
        }
        text.extend(five.iter().map(|b| char::from(*b)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_the_specification_writes_them() {
        // The test key of RFC 32 itself, and one of CURVE's examples.
        let bytes = [
            0x8E, 0x0B, 0xDD, 0x69, 0x76, 0x28, 0xB9, 0x1D, 0x8F, 0x24, 0x55, 0x87, 0xEE, 0x95, 0xC5, 0xB0, 0x4D, 0x48,
            0x96, 0x3F, 0x79, 0x25, 0x98, 0x77, 0xB4, 0x9C, 0xD9, 0x06, 0x3A, 0xEA, 0xD3, 0xB7,
        ];
        let known = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
        assert_eq!(text(&bytes), known);
        assert_eq!(key(known), Some(bytes));
        assert_eq!(key(&text(&[0; 32])), Some([0; 32]));
        assert_eq!(key(&text(&[255; 32])), Some([255; 32]));
        for wrong in ["", "short", &"#".repeat(40), &" ".repeat(40), &"~".repeat(40)] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
