//! Percent-encoding as RFC 3986 has it, the way signatures and paths need it.

/// `text` with every byte that is not unreserved (letters, digits, `-`, `.`, `_`, `~`) as `%XY`, in upper case.
pub fn percent_encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                encoded.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])])
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(percent_encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(percent_encoded(" +/?#%&=:"), "%20%2B%2F%3F%23%25%26%3D%3A");
        assert_eq!(percent_encoded("é\u{0}"), "%C3%A9%00");
        assert_eq!(percent_encoded(""), "");
    }
}
