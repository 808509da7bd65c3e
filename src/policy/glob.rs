//! Which entries of a drive are shown, by patterns for their names: a small part of what rclone's filters know.
//!
//! `*` is any text, `?` one character, `[a-z]` and `[^a-z]` one of some or of all others, `{a,b}` either, `\` takes the meaning from the
//! character after it. A pattern is for files, or with `/` or `/**` at its end for directories; it is for the name, at every depth.

use super::hash::stable_hash;

/// The longest pattern, in characters, and the most alternatives that its braces make: a name is compared with each of them, in a time that
/// grows with the product of their lengths.
const MAX_CHARS: usize = 256;
const MAX_ALTERNATIVES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    Any,
    /// Any text.
    Star,
    /// One of these ranges, or none of them.
    Of {
        is_not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern for names of files or of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    is_for_directories: bool,
    alternatives: Vec<Vec<Token>>,
}

impl Glob {
    /// The pattern that `text` stands for.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Glob, String> {
        if text.chars().count() > MAX_CHARS {
            return Err(format!("is longer than {MAX_CHARS} characters"));
        }
        let name = text.strip_suffix("/**").or(text.strip_suffix('/'));
        let is_for_directories = name.is_some();
        let name = name.unwrap_or(text);
        if name.is_empty() {
            return Err("is empty".to_owned());
        }
        if name.contains('/') {
            return Err("is for names at every depth: no / but at the end, for directories".to_owned());
        }
        let alternatives = expanded(name)?.iter().map(|plain| tokens(plain)).collect::<Result<_, _>>()?;
        Ok(Glob { text: text.to_owned(), is_for_directories, alternatives })
    }

    fn matches(&self, name: &str, is_directory: bool) -> bool {
        let name: Vec<char> = name.chars().collect();
        is_directory == self.is_for_directories && self.alternatives.iter().any(|tokens| fits(tokens, &name))
    }
}

/// What braces stand for: each of their alternatives in turn. They do not nest.
fn expanded(pattern: &str) -> Result<Vec<Vec<char>>, String> {
    let mut all: Vec<Vec<char>> = vec![Vec::new()];
    let mut inside: Option<Vec<Vec<char>>> = None;
    let mut chars = pattern.chars();
    let append = |texts: &mut [Vec<char>], c: char| texts.iter_mut().for_each(|text| text.push(c));
    while let Some(c) = chars.next() {
        match (c, &mut inside) {
            ('\\', inside) => {
                let escaped = chars.next().ok_or("ends with a backslash")?;
                for c in ['\\', escaped] {
                    match inside {
                        Some(parts) => parts.last_mut().into_iter().for_each(|part| part.push(c)),
                        None => append(&mut all, c),
                    }
                }
            }
            ('{', None) => inside = Some(vec![Vec::new()]),
            ('{', Some(_)) => return Err("has braces in braces".to_owned()),
            (',', Some(parts)) => parts.push(Vec::new()),
            ('}', Some(parts)) => {
                all = all.iter().flat_map(|text| parts.iter().map(move |part| [&text[..], part].concat())).collect();
                if all.len() > MAX_ALTERNATIVES {
                    return Err(format!("stands for more than {MAX_ALTERNATIVES} patterns"));
                }
                inside = None;
            }
            ('}', None) => return Err("closes a brace that is not open".to_owned()),
            (c, Some(parts)) => parts.last_mut().into_iter().for_each(|part| part.push(c)),
            (c, None) => append(&mut all, c),
        }
    }
    if inside.is_some() { Err("opens a brace and does not close it".to_owned()) } else { Ok(all) }
}

fn tokens(plain: &[char]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = plain.iter().copied().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Star) => continue,
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::One(chars.next().ok_or("ends with a backslash")?),
            '[' => {
                let is_not = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let open = "opens a bracket and does not close it";
                    let from = match chars.next().ok_or(open)? {
                        ']' if !ranges.is_empty() => break,
                        '\\' => chars.next().ok_or(open)?,
                        from => from,
                    };
                    let mut to = from;
                    if chars.peek() == Some(&'-') && chars.clone().nth(1).is_some_and(|next| next != ']') {
                        chars.next();
                        to = chars.next().ok_or(open)?;
                    }
                    ranges.push((from, to));
                }
                Token::Of { is_not, ranges }
            }
            c => Token::One(c),
        });
    }
    Ok(tokens)
}

/// Whether all of `name` is what `tokens` stand for. Goes back to the last star only: no more steps than the product of both lengths.
fn fits(tokens: &[Token], name: &[char]) -> bool {
    let (mut at, mut place, mut retry) = (0, 0, None);
    while place < name.len() {
        let is_one = match tokens.get(at) {
            Some(Token::Star) => {
                retry = Some((at, place));
                at += 1;
                continue;
            }
            Some(Token::Any) => true,
            Some(Token::One(c)) => *c == name[place],
            Some(Token::Of { is_not, ranges }) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&name[place])) != *is_not
            }
            None => false,
        };
        match (is_one, retry) {
            (true, _) => (at, place) = (at + 1, place + 1),
            (false, Some((star, from))) => {
                retry = Some((star, from + 1));
                (at, place) = (star + 1, from + 1);
            }
            (false, None) => return false,
        }
    }
    tokens[at..].iter().all(|token| *token == Token::Star)
}

/// Which entries are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Files, or directories, that are not.
    pub exclude: Option<Glob>,
    /// Files that are; all others are not. Directories that are not excluded always are.
    pub include: Option<Glob>,
}

impl Shown {
    /// Whether all of them are.
    pub fn is_all(&self) -> bool {
        self.exclude.is_none() && self.include.is_none()
    }

    /// Whether the entry called `name` is shown.
    pub fn shows(&self, name: &str, is_directory: bool) -> bool {
        let is_excluded = self.exclude.as_ref().is_some_and(|glob| glob.matches(name, is_directory));
        let is_included = is_directory || self.include.as_ref().is_none_or(|glob| glob.matches(name, is_directory));
        !is_excluded && is_included
    }

    /// What tells this choice from others: nothing if all are shown.
    pub fn mark(&self) -> String {
        let text = |glob: &Option<Glob>| glob.as_ref().map_or(String::new(), |glob| glob.text.clone());
        let (exclude, include) = (text(&self.exclude), text(&self.include));
        let hash = stable_hash(&[exclude.as_bytes(), include.as_bytes()]);
        if self.is_all() { String::new() } else { format!(" shown {hash:016x}") }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pattern_matches_what_rclone_says() {
        for (pattern, name, want) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.jpg.txt", false),
            ("*.jpg", ".jpg", true),
            ("*.jpg", "a.JPG", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**", "anything", true),
            ("?", "é", true),
            ("?", "", false),
            ("[a-cx].t", "b.t", true),
            ("[a-cx].t", "x.t", true),
            ("[^a-c].t", "b.t", false),
            ("[]-]", "-", true),
            ("{*.tmp,.DS_Store,~$*}", ".DS_Store", true),
            ("{*.tmp,.DS_Store,~$*}", "a.tmp", true),
            ("{*.tmp,.DS_Store,~$*}", "a.tmpx", false),
            ("x{1,2}{a,b}", "x2a", true),
            ("x{1,2}{a,b}", "x12", false),
            ("\\*\\{", "*{", true),
            ("\\*", "a", false),
            ("{a\\,b}", "a,b", true),
        ] {
            let glob = Glob::parse(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(glob.matches(name, false), want, "{pattern}: {name}");
            assert!(!glob.matches(name, true), "{pattern} is for files");
        }
        for pattern in ["cache/", "cache/**"] {
            let glob = Glob::parse(pattern).unwrap();
            assert!(glob.matches("cache", true) && !glob.matches("cache", false), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "a".repeat(MAX_CHARS + 1);
        let many = "{a,b}".repeat(6);
        for text in ["", "/", "a/b", "/a", "{a", "a}", "{{a}}", "[a", "a\\", "[", "{a,b\\", &long, &many] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn worst_patterns_end_soon() {
        let glob = Glob::parse(&"*a".repeat(MAX_CHARS / 2)).unwrap();
        assert!(!glob.matches(&"a".repeat(100), false));
        assert!(glob.matches(&"ab".repeat(127).replace('b', "ba"), false));
    }

    #[test]
    fn files_are_shown_by_both_and_directories_unless_they_are_excluded() {
        let shown = |exclude: &str, include: &str| {
            let glob = |text: &str| (!text.is_empty()).then(|| Glob::parse(text).unwrap());
            Shown { exclude: glob(exclude), include: glob(include) }
        };
        let all = shown("", "");
        assert!(all.is_all() && all.shows("a", false) && all.shows("a", true) && all.mark().is_empty());
        let some = shown("*.tmp", "*.{jpg,tmp}");
        assert!(some.shows("a.jpg", false) && !some.shows("a.tmp", false) && !some.shows("a", false));
        assert!(some.shows("a.tmp", true) && some.shows("a", true));
        assert!(!shown("a/", "").shows("a", true) && shown("a/", "").shows("a", false));
        assert_ne!(some.mark(), shown("*.{jpg,tmp}", "*.tmp").mark());
    }
}
