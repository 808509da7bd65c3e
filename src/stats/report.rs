//! A report on its way from a mount to whoever asks: lines of a name, a tabulator and a value of JSON. A dot in a name stands for one
//! level of JSON below the other, a number for a place in a list.

use std::fmt::{Display, Write};

use crate::policy::printable::json_text;

/// A report that is being written.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
}

impl Report {
    /// `name` is a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.line(name, value);
    }

    /// `name` is a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.line(name, json_text(value));
    }

    fn line(&mut self, name: &str, value: impl Display) {
        // A String takes what it is given.
        let _ = writeln!(self.text, "{name}\t{value}");
    }

    /// What was written, as many whole lines as fit into `max` bytes.
    pub fn into_bytes(self, max: usize) -> Vec<u8> {
        let mut bytes = self.text.into_bytes();
        if bytes.len() > max {
            let end = bytes[..max].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(end);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn report_is_lines_and_what_does_not_fit_is_left_out_by_the_line() {
        let mut report = Report::default();
        report.number("a.b", 7);
        report.text("c", "x\t\"\n");
        let whole = report.text.clone();
        assert_eq!(whole, "a.b\t7\nc\t\"x\\u0009\\\"\\u000a\"\n");
        for max in 0..whole.len() {
            let mut cut = Report::default();
            cut.text.clone_from(&whole);
            let bytes = cut.into_bytes(max);
            assert!(bytes.is_empty() || bytes == b"a.b\t7\n", "{max}");
        }
    }
}
