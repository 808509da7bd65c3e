//! `koofs spaces`: what a login can see, on standard output, in the form that `koofs mount` takes. Touches no network.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::koodrive::VisibleSpace;
use crate::policy::printable::{json_text, printable};
use crate::policy::size::human_size;

/// Prints `spaces` as a table, or as one JSON object on a line. With `is_terminal`, control characters in names are shown
/// escaped.
///
/// # Errors
/// Those of `out`.
pub fn print(spaces: &[VisibleSpace], is_json: bool, is_terminal: bool, out: &mut dyn Write) -> io::Result<()> {
    if is_json {
        for space in spaces {
            writeln!(out, "{}", json(space))?;
        }
        return out.flush();
    }
    let rows: Vec<[String; 4]> = spaces.iter().map(|space| row(space, is_terminal)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (of_source, of_used, of_total) = (width(0), width(1), width(2));
    for [source, used, total, name] in &rows {
        let line = format!("{source:of_source$}  {used:>of_used$} / {total:>of_total$}  {name}");
        writeln!(out, "{}", line.trim_end())?;
    }
    out.flush()
}

fn row(space: &VisibleSpace, is_terminal: bool) -> [String; 4] {
    let text = |text: &str| if is_terminal { printable(text).into_owned() } else { text.to_owned() };
    // A line is a space, wherever it goes.
    let name = match space.name.contains('\n') {
        true => printable(&space.name),
        false => Cow::Borrowed(space.name.as_str()),
    };
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), human_size);
    let (used, total) = sizes(space);
    [text(&space.source), size(used), size(total), text(&name)]
}

/// Used and total bytes, if the service tells.
fn sizes(space: &VisibleSpace) -> (Option<u64>, Option<u64>) {
    (space.capacity.map(|figures| figures.used_bytes), space.capacity.map(|figures| figures.total_bytes))
}

fn json(space: &VisibleSpace) -> String {
    let (source, name) = (json_text(&space.source), json_text(&space.name));
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "null".to_owned(), |bytes| bytes.to_string());
    let (used, total) = sizes(space);
    let (used, total) = (size(used), size(total));
    format!(r#"{{"source":{source},"name":{name},"used":{used},"total":{total}}}"#)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::koodrive::VisibleKind;
    use crate::remote::Capacity;

    fn printed(is_json: bool, is_terminal: bool) -> String {
        let spaces = [
            VisibleSpace {
                source: "space:IAAE1".to_owned(),
                name: "mine".to_owned(),
                kind: VisibleKind::Individual,
                capacity: Some(Capacity { used_bytes: 1536, total_bytes: 800 << 30 }),
            },
            VisibleSpace {
                source: "team:42".to_owned(),
                name: "a\n\u{1b}b".to_owned(),
                kind: VisibleKind::Team,
                capacity: None,
            },
        ];
        let mut out = Vec::new();
        print(&spaces, is_json, is_terminal, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table_has_a_line_for_each_space() {
        let want = "space:IAAE1  1.5K / 800G  mine\nteam:42         ? /    ?  a\\n\\u{1b}b\n";
        assert_eq!(printed(false, true), want);
        assert_eq!(printed(false, false), want);
    }

    #[test]
    fn json_has_an_object_on_each_line() {
        let want = concat!(
            r#"{"source":"space:IAAE1","name":"mine","used":1536,"total":858993459200}"#,
            "\n",
            r#"{"source":"team:42","name":"a\u000a\u001bb","used":null,"total":null}"#,
            "\n"
        );
        assert_eq!(printed(true, true), want);
    }
}
