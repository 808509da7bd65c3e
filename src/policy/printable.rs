//! Text on its way to a terminal, a log or a program: one line, in which control characters of remote text do not act.

use std::borrow::Cow;
use std::error::Error;

/// `text` with its control characters written as escapes (`\n`, `\u{1b}`); unchanged, and not copied, where it has none.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// `error` and its causes as one line that is fit for a terminal.
pub fn one_line(error: &dyn Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    printable(&chain).into_owned()
}

/// `text` as a JSON string (RFC 8259 section 7): quotes, backslashes and control characters escaped.
pub fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        for (text, want) in [
            ("", ""),
            ("päth \\ to 'x'", "päth \\ to 'x'"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\u{1b}[31m\u{7f}\u{9b}", "\\u{1b}[31m\\u{7f}\\u{9b}"),
        ] {
            assert_eq!(printable(text), want);
        }
    }

    #[test]
    fn json_text_is_what_a_parser_reads_back() {
        for text in ["", "plain", "q\"b\\n", "\u{0}\u{1f}\u{7f}\u{9f}\n", "ä😀\u{202e}"] {
            let back: String =
                serde_json::from_str(&json_text(text)).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(back, text);
        }
    }
}
