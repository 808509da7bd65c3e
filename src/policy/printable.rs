//! Text on its way to a terminal or a log: one line, in which control characters of remote text do not act.

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
