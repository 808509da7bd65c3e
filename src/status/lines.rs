//! The lines of a report: names with dots, each with a value of JSON; and the JSON that they stand for.

use std::fmt::Write;

/// A report, in the order of its lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Vec<(String, String)>);

/// A value, or what lies below a name.
enum Node<'a> {
    Value(&'a str),
    Below(Vec<(&'a str, Node<'a>)>),
}

impl Lines {
    /// What is no line of a name and a value is left out.
    pub(super) fn parse(text: &str) -> Lines {
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Lines(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The number called `name`; 0 if there is none.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The text called `name`, as JSON writes it but without its quotes: fit for a terminal.
    pub(super) fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default().trim_matches('"')
    }

    /// Whether there is a value called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// What lies below `prefix`, which ends with a dot: the rest of each name, and its value.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// One object on one line, which begins with `first`, names and their JSON.
    pub(super) fn json(&self, first: &[(&str, String)]) -> String {
        let mut root = Vec::new();
        for (name, value) in first {
            root.push((*name, Node::Value(value)));
        }
        for (name, value) in &self.0 {
            insert(&mut root, name, value);
        }
        let mut text = String::new();
        Node::Below(root).write(&mut text);
        text
    }
}

fn insert<'a>(nodes: &mut Vec<(&'a str, Node<'a>)>, name: &'a str, value: &'a str) {
    let Some((head, rest)) = name.split_once('.') else { return nodes.push((name, Node::Value(value))) };
    match nodes.iter_mut().find(|(other, _)| *other == head) {
        Some((_, Node::Below(below))) => insert(below, rest, value),
        Some((_, Node::Value(_))) => {}
        None => {
            let mut below = Vec::new();
            insert(&mut below, rest, value);
            nodes.push((head, Node::Below(below)));
        }
    }
}

impl Node<'_> {
    /// Numbers for names make a list.
    fn write(&self, text: &mut String) {
        let below = match self {
            Node::Value(value) => return text.push_str(value),
            Node::Below(below) => below,
        };
        let is_list = below.iter().all(|(name, _)| name.bytes().all(|digit| digit.is_ascii_digit()));
        text.push(if is_list { '[' } else { '{' });
        for (index, (name, node)) in below.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            if !is_list {
                // A String takes what it is given.
                let _ = write!(text, "\"{name}\":");
            }
            node.write(text);
        }
        text.push(if is_list { ']' } else { '}' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_nested_json_and_numbers_for_names_a_list() {
        let lines = Lines::parse("a\t1\nb.c\t\"x\"\nb.d.e\t2\ngarbage\nf.0.p\t\"q\"\nf.1.p\t3\na.z\t9\n");
        let json = lines.json(&[("m", "\"/mnt\"".to_owned())]);
        assert_eq!(json, r#"{"m":"/mnt","a":1,"b":{"c":"x","d":{"e":2}},"f":[{"p":"q"},{"p":3}]}"#);
        assert_eq!((lines.number("b.d.e"), lines.text("b.c"), lines.number("none")), (2, "x", 0));
        assert_eq!(lines.below("b.").collect::<Vec<_>>(), [("c", "\"x\""), ("d.e", "2")]);
    }
}
