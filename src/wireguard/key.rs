//! Public keys of WireGuard: 32 bytes, written as base64 (RFC 4648) by `wg` and as hex digits in UAPI answers.

use std::fmt;

use crate::encoding::{STANDARD, hex_array};
use crate::text::Text;

/// A public key; private and preshared keys are never kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// A key as `wg` writes it: 43 digits of base64 and `=`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        STANDARD.decode_array(text).map(Self)
    }

    /// The key as `wg` writes it.
    pub fn text(&self) -> [u8; 44] {
        let mut text = [0; 44];
        STANDARD.encode_bytes(&self.0, &mut text);
        text
    }

    /// A key as 64 hex digits.
    pub fn from_hex(digits: &[u8; 64]) -> Option<Self> {
        hex_array(digits).map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text::new(&self.text()).fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_and_written_as_wg_does() {
        // `wg pubkey` of the private key in RFC 7748, 6.1.
        let hex = b"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        let text = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
        let key = Key::from_hex(hex).expect("a key");
        assert_eq!((key.to_string().as_str(), Key::parse(text.as_bytes())), (text, Some(key)));
        for byte in 0..=u8::MAX {
            let mut key = Key([byte; 32]);
            key.0[31] = byte.rotate_left(3);
            assert_eq!(Key::parse(key.to_string().as_bytes()), Some(key));
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in [
            "",
            "=",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmoo=",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp=",
            "hSDwCYkwp1R0i33ctD73Wg2-Og0mOBr066SpjqqbTmo=",
        ] {
            assert_eq!(Key::parse(text.as_bytes()), None, "{text:?}");
        }
        for odd in [b'g', b'/', b':', b'@', b'G', b'`', b'\n', 0xff] {
            for at in [0, 31, 63] {
                let mut digits = [b'8'; 64];
                digits[at] = odd;
                assert_eq!(Key::from_hex(&digits), None, "{odd} at {at}");
            }
        }
    }
}
