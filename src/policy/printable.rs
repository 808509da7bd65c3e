//! Remote text on its way to a terminal or a log line: control characters must not act there.

use std::borrow::Cow;

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
}
