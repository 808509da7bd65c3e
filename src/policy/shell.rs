//! Words for a shell: what a message says to type can be typed as it stands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// `text` as one word of a command line: as it is where that is safe, else in quotes. Bytes that are no text and control characters
/// are written as escapes in `$'…'`, which bash, zsh, ksh and POSIX.1-2024 know, so the word is always one line that can be shown.
pub fn shell_word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        Ok(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(bytes),
    }
}

/// Whether no shell sees anything in `text` but a word: letters of any language, digits, and marks without a meaning.
fn is_plain(text: &str) -> bool {
    let is_safe =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | '@' | '%' | ',' | ':' | '=');
    // A word that begins with `=` is a command's path to zsh.
    !text.is_empty() && !text.starts_with('=') && text.chars().all(is_safe)
}

fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => word.extend(['\\', c]),
                '\n' => word.push_str("\\n"),
                '\t' => word.push_str("\\t"),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word.push_str(&octal(byte))),
                c => word.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| word.push_str(&octal(*byte)));
    }
    word.push('\'');
    word
}

/// Three digits always, so that what follows is not taken for one of them.
fn octal(byte: u8) -> String {
    format!("\\{byte:03o}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn word_is_quoted_only_where_it_must_be_and_stays_one_line() {
        for (text, want) in [
            ("/mnt/share-1_a.b", "/mnt/share-1_a.b"),
            ("/mnt/Büro/字", "/mnt/Büro/字"),
            ("work:/a", "work:/a"),
            ("", "''"),
            ("/mnt/my share", "'/mnt/my share'"),
            ("~/share", "'~/share'"),
            ("/a'b", r"'/a'\''b'"),
            ("/a$b`c\"d", "'/a$b`c\"d'"),
            ("/a\nb", r"$'/a\nb'"),
            ("/a\u{1b}1'\\", r"$'/a\0331\'\\'"),
        ] {
            assert_eq!(shell_word(text), want, "{text:?}");
        }
    }

    #[test]
    fn bash_makes_the_text_of_every_word_again() {
        let texts: [&[u8]; 9] = [
            b"plain",
            b"",
            b"two  blanks ",
            b"*?[a]{b,c}!#~",
            b"a'b\"c`d$(e)\\f;g&h|i<j>k",
            b"line\nbreak\ttab\r",
            b"\x01\x7f\xc2\x85",
            b"\xff\xfe2",
            "ä\u{202e}字".as_bytes(),
        ];
        for bytes in texts {
            let word = shell_word(OsString::from_vec(bytes.to_vec()));
            assert!(!word.contains(char::is_control), "{word}");
            let echo = format!("printf %s {word}");
            let output = std::process::Command::new("bash").args(["-c", &echo]).output();
            let output = output.unwrap_or_else(|error| panic!("bash: {error}"));
            assert_eq!(output.stdout, bytes, "{word}");
        }
    }
}
