//! The rooms of `src/`: who may know what. Reads the sources and fails on a forbidden word.
//!
//! A new arrow between rooms is a line in [`ARROWS`], a new owner of a word a line in [`RULES`]; both in a commit of their own.
//! Comments, texts and `#[cfg(test)]` modules are not looked at.

use std::path::Path;

/// Which rooms each room may name. What is not here is forbidden; a room that is not here has to be added.
const ARROWS: &[(&str, &[&str])] = &[
    // Pure arithmetic and parsing, known by all.
    ("policy", &[]),
    // `policy` for the hash that stands for a share's code.
    ("config", &["policy"]),
    // How locks are taken.
    ("sync", &[]),
    // `policy` for when to try again.
    ("clock", &["policy", "sync"]),
    // `clock` for the deadlines of those who wait.
    ("single_flight", &["clock", "sync"]),
    // `policy` for which failure is worth another attempt.
    ("jobs", &["clock", "policy", "stats", "sync"]),
    ("remote", &["policy"]),
    // What the rooms count of themselves; `remote` for the kinds of failures.
    ("stats", &["policy", "remote"]),
    // `--metrics`: `clock` for how long a question may take; `stats` for how long requests took.
    ("metrics", &["clock", "config", "stats"]),
    // Files and commands that hold secrets; `policy` for what a message says to type.
    ("secrets", &["config", "policy"]),
    // Blobs on the disk: neither what a listing holds nor who reads.
    ("store", &["clock", "jobs", "policy", "sync"]),
    ("http", &["clock", "config", "policy", "remote", "stats"]),
    ("koodrive", &["clock", "config", "http", "policy", "remote", "secrets", "single_flight", "stats", "sync"]),
    // `http` only in content/object_store.rs, behind the trait ObjectStore (see RULES).
    // `store` only in content/kept.rs: what outlives the mount.
    ("content", &["clock", "http", "jobs", "policy", "remote", "single_flight", "stats", "store", "sync"]),
    // `store` only in fs/remembered.rs: what outlives the mount.
    ("fs", &["clock", "content", "jobs", "policy", "remote", "stats", "store", "sync"]),
    // `content` and `remote` for the types in fs's own results: bytes that were read, kinds of nodes and of failures.
    ("kernel", &["content", "fs", "policy", "remote"]),
    // `koofs ls`, beside the filesystem.
    ("listing", &["clock", "config", "policy", "remote"]),
    // `koofs doctor`: it tries what a mount would do, by the same clients.
    ("doctor", &["clock", "config", "http", "koodrive", "policy", "remote"]),
    ("spaces", &["koodrive", "policy"]),
    // `koofs status`: asks through `kernel`.
    ("status", &["clock", "config", "kernel", "policy"]),
    // `koofs warm`: it asks a mount by `kernel`.
    ("warm", &["bars", "config", "kernel", "policy", "sync"]),
    // `koofs cache`.
    ("stored", &["bars", "config", "policy", "store"]),
    // Bars and lines for who waits.
    ("bars", &["policy", "sync"]),
    // `policy` for lines that are fit for a terminal.
    ("cli", &["config", "policy"]),
    // A drive that may be out of reach: `policy` for when it is.
    ("offline", &["clock", "policy", "remote", "sync"]),
    // The composition root: every constructor, but not what the user typed.
    (
        "mount",
        &[
            "clock", "config", "content", "fs", "http", "jobs", "kernel", "koodrive", "listing", "metrics", "offline",
            "policy", "remote", "stats", "store", "sync",
        ],
    ),
    (
        "main",
        &[
            "cli", "clock", "config", "doctor", "kernel", "koodrive", "listing", "mount", "policy", "secrets",
            "spaces", "status", "stored", "warm",
        ],
    ),
    ("lib", &[]),
];

/// Where a word may stand.
enum Place {
    /// Only in files whose path below `src/` starts with one of these.
    Only(&'static [&'static str]),
    /// Anywhere but in files whose path below `src/` starts with one of these.
    NotIn(&'static [&'static str]),
    Nowhere,
}

use Place::{NotIn, Nowhere, Only};

/// A word, where it may stand, and why it must not stand elsewhere.
struct Rule {
    word: &'static str,
    place: Place,
    reason: &'static str,
}

const fn rule(word: &'static str, place: Place, reason: &'static str) -> Rule {
    Rule { word, place, reason }
}

const RULES: &[Rule] = &[
    rule("fuser", Only(&["kernel/", "mount/mod.rs"]), "the filesystem is free of kernel types; fuser can be replaced"),
    rule("libc::E", Only(&["kernel/errno.rs"]), "kernel/errno.rs is the only errno table"),
    rule("Errno::", Only(&["kernel/errno.rs"]), "kernel/errno.rs is the only errno table"),
    rule("reqwest", Only(&["http/"]), "one room knows the HTTP library, its time limits and its traps"),
    rule("tokio", Only(&["http/"]), "names are looked up on the runtime of the HTTP library, and nothing else is"),
    rule("serde", Only(&["koodrive/wire"]), "serialisable types stop at koodrive/wire.rs and what is below it"),
    rule("serde_json", Only(&["koodrive/wire"]), "JSON stops at koodrive/wire.rs and what is below it"),
    rule(
        "clap",
        Only(&["cli.rs", "cli/guidance.rs", "cli/helper.rs", "cli/settings.rs"]),
        "the command line is known to cli only",
    ),
    rule("indicatif", Only(&["bars.rs"]), "one file draws bars"),
    rule("toml", Only(&["cli/file.rs"]), "one file knows the language of the configuration"),
    rule("now(", NotIn(&["policy/"]), "policy has no clock: its caller says what time it is"),
    rule("std::fs", NotIn(&["policy/", "remote/", "koodrive/", "content/", "fs/"]), "files are not its business"),
    rule(
        "std::thread",
        NotIn(&["policy/", "remote/", "koodrive/", "content/", "fs/", "kernel/"]),
        "threads come from jobs, clock and mount",
    ),
    rule(
        "std::env",
        Only(&["cli.rs", "cli/", "main.rs", "mount/", "kernel/unmount.rs", "secrets/command.rs"]),
        "configuration comes as values",
    ),
    rule(
        "std::net",
        NotIn(&["policy/", "remote/", "koodrive/", "content/", "fs/", "kernel/"]),
        "http alone talks to the network",
    ),
    rule("NodeId", NotIn(&["kernel/"]), "the kernel room never sees the service's ids"),
    rule("Link", NotIn(&["kernel/", "fs/"]), "links are the content room's: fs hands them on unseen"),
    rule("Ino", NotIn(&["remote/", "koodrive/", "content/", "http/"]), "the remote side never sees an inode number"),
    rule(
        "crate::http",
        NotIn(&["content/blocks.rs", "content/fetcher.rs", "content/reader.rs", "content/links.rs"]),
        "content reads through the trait ObjectStore",
    ),
    rule("secret_url", Only(&["remote/link.rs", "http/object.rs"]), "a signed link is shown to nobody but its request"),
    rule("expose", Only(&["config.rs", "koodrive/", "http/"]), "a secret is shown to nobody but its request"),
    rule(
        "unsafe",
        Only(&["clock.rs", "kernel/", "mount/", "secrets/", "cli/environment.rs", "cli/file.rs", "main.rs"]),
        "system calls live where Linux is met, and where its clocks are read",
    ),
    rule(".unwrap()", Nowhere, "remote data cannot panic us"),
    rule(".expect(", Nowhere, "remote data cannot panic us"),
    rule("todo!", Nowhere, "what is here works"),
    rule("unimplemented!", Nowhere, "what is here works"),
    rule("dbg!", Nowhere, "the log is for people"),
    rule("crate::{", Nowhere, "one arrow on a line, so that this test sees each"),
    rule("map_err(|_|", Only(&["cli.rs", "cli/"]), "a cause is never thrown away; what was typed is its own"),
];

/// Words that stand where they must not, each with its reason: file, the words around, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("kernel/notify.rs", "std::thread", "telling the kernel may block, so it has a thread of its own"),
    ("kernel/adapter.rs", "Errno::ENOSYS", "the kernel remembers that a call is not implemented, and asks no more"),
    ("koodrive/signature.rs", "new_from_slice(app_secret.as_bytes()).expect(", "the key is ours, and any is good"),
    ("koodrive/wire.rs", "serde_json::to_vec(request).expect(", "our own types of strings and numbers: no remote data"),
    ("http/exchange.rs", "std::fs::File", "certificates are read where they are trusted"),
    ("http/proxy.rs", "std::env::var(name)", "the proxies' variables, which every program of a machine obeys"),
];

/// What is wrong with a source file: `path` is below `src/`.
fn offences(path: &str, source: &str) -> Vec<String> {
    let mut code = code_of(source);
    for (file, words, _) in EXCEPTIONS {
        if *file == path {
            code = code.replace(words, "");
        }
    }
    let mut found = Vec::new();
    let stands_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let run_time = without_constants(&code);
    for Rule { word, place, reason } in RULES {
        let is_allowed = match place {
            Only(places) => stands_in(places),
            NotIn(places) => !stands_in(places),
            Nowhere => false,
        };
        // A constant that cannot be is found by the compiler.
        let code = if word.starts_with('.') { &run_time } else { &code };
        if !is_allowed && let Some(line) = line_of(code, word) {
            found.push(format!("src/{path}:{line}: `{word}`: {reason}"));
        }
    }
    let room = path.split(['/', '.']).next().unwrap();
    match ARROWS.iter().find(|(name, _)| *name == room) {
        None => found.push(format!("src/{path}: the room `{room}` has no line in ARROWS (tests/suite/layers.rs)")),
        Some((_, known)) => {
            for (other, _) in ARROWS.iter().filter(|(other, _)| *other != room && !known.contains(other)) {
                // `super` is the crate in a room's first file only; deeper, no room has a module called like a room.
                for arrow in [format!("crate::{other}"), format!("koofs::{other}"), format!("super::{other}")] {
                    if let Some(line) = line_of(&code, &arrow) {
                        found.push(format!("src/{path}:{line}: `{arrow}`: {room} must not know {other}"));
                    }
                }
            }
        }
    }
    found
}

/// The line on which `word` stands by itself, not as a part of a longer word.
fn line_of(code: &str, word: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // `libc::E` and `Errno::` go on in the word that they are about.
    let is_open = word.ends_with("::E") || !word.ends_with(is_word);
    code.match_indices(word).find_map(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = is_open || !after.is_some_and(is_word);
        (starts && ends).then(|| code[..at].matches('\n').count() + 1)
    })
}

/// The source without comments, without what texts say, and without modules for tests. Lines stay lines. A file that is for tests
/// as a whole has no code.
pub(crate) fn code_of(source: &str) -> String {
    if source.lines().any(|line| line == "#![cfg(test)]") {
        return String::new();
    }
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") && !code.ends_with(|c: char| c.is_alphanumeric()) {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            rest[2 + hashes..].find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if let Some(len) = char_literal(rest) {
            len
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        // A text stays a text, so that `.expect("…")` stays a call; its lines are kept.
        code.push_str(if c == '"' || c == 'r' { "\"\"" } else { "" });
        code.extend(rest[..len].chars().filter(|c| *c == '\n'));
        rest = &rest[len..];
    }
    without_test_modules(&code)
}

/// The length of a character literal at the start; `None` for a lifetime and for anything else.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    let end = if first == '\\' { 2 + inner[2..].find('\'')? } else { first.len_utf8() };
    inner[end..].starts_with('\'').then_some(end + 2)
}

fn without_test_modules(code: &str) -> String {
    let Some(start) = code.find("#[cfg(test)]") else { return code.to_owned() };
    let Some(open) = code[start..].find('{') else { return code[..start].to_owned() };
    let mut depth = 0;
    let end = code[start + open..].char_indices().find_map(|(at, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(start + open + at + 1)
    });
    let end = end.unwrap_or(code.len());
    let lines: String = code[start..end].chars().filter(|c| *c == '\n').collect();
    format!("{}{lines}{}", &code[..start], without_test_modules(&code[end..]))
}

/// The code without the values of constants. Lines stay lines.
fn without_constants(code: &str) -> String {
    let mut rest = String::with_capacity(code.len());
    let mut in_constant = false;
    for line in code.split_inclusive('\n') {
        let words = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
        in_constant |= words.starts_with("const ") && !words.starts_with("const fn ");
        rest.push_str(if in_constant { "\n" } else { line });
        in_constant &= !line.trim_end().ends_with(';');
    }
    rest
}

/// Every Rust file below `root`: its path from there, and its text.
pub(crate) fn sources(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn below_the_crate(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn rooms_know_only_what_they_may() {
    let sources = sources(&below_the_crate("src"));
    assert!(sources.len() > 40, "{} files", sources.len());
    let found: Vec<String> = sources.iter().flat_map(|(path, source)| offences(path, source)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn exceptions_and_arrows_are_still_needed() {
    let sources = sources(&below_the_crate("src"));
    for (file, words, reason) in EXCEPTIONS {
        let source = sources.iter().find(|(path, _)| path == file);
        assert!(source.is_some_and(|(_, source)| code_of(source).contains(words)), "{file}: {words} ({reason})");
    }
    for (room, known) in ARROWS {
        let code: String = sources
            .iter()
            .filter(|(path, _)| path.split(['/', '.']).next() == Some(room))
            .map(|(_, source)| code_of(source))
            .collect();
        for other in *known {
            let is_used = ["crate::", "koofs::"].iter().any(|from| line_of(&code, &format!("{from}{other}")).is_some());
            assert!(is_used, "no file of {room} names {other} any more: remove the arrow");
        }
    }
}

#[test]
fn no_test_is_left_out() {
    let ignored = concat!("#[", "ignore");
    for (path, source) in [sources(&below_the_crate("src")), sources(&below_the_crate("tests"))].concat() {
        assert!(
            !code_of(&source).contains(ignored) || path == "suite/layers.rs",
            "{path}: a test that is not run holds nothing"
        );
    }
}

#[test]
fn planted_offences_are_caught_and_their_namesakes_are_not() {
    for (path, source, want) in [
        ("fs/dir.rs", "use fuser::FileAttr;", "free of kernel types"),
        ("fs/mod.rs", "fn f() { g(libc::EIO) }", "only errno table"),
        ("kernel/adapter.rs", "reply.error(Errno::EIO)", "only errno table"),
        ("koodrive/calls.rs", "let client = reqwest::blocking::Client::new();", "HTTP library"),
        ("koodrive/convert.rs", "#[derive(serde::Deserialize)]", "wire.rs"),
        ("config.rs", "use clap::Parser;", "cli only"),
        ("policy/retry.rs", "let now = Instant::now();", "no clock"),
        ("policy/retry.rs", "use std::fs;", "not its business"),
        ("policy/name.rs", "std::thread::sleep(pause)", "threads come from"),
        ("kernel/adapter.rs", "use crate::remote::NodeId;", "never sees the service's ids"),
        ("content/reader.rs", "fn f(ino: Ino) {}", "never sees an inode number"),
        ("content/reader.rs", "use crate::fs::Attr;", "content must not know fs"),
        ("content/mod.rs", "use super::kernel::errno;", "content must not know kernel"),
        ("fs/mod.rs", "use crate::koodrive::OpenError;", "fs must not know koodrive"),
        ("fs/mod.rs", "use crate::http::HttpError;", "fs must not know http"),
        ("remote/mod.rs", "use crate::clock::Clock;", "remote must not know clock"),
        ("content/fetcher.rs", "log::debug!(\"{}\", link.secret_url());", "shown to nobody"),
        ("fs/mod.rs", "let a = b.unwrap();", "cannot panic us"),
        ("http/mod.rs", "let a = b.expect(\"c\");", "cannot panic us"),
        ("http/mod.rs", "const fn f(a: Option<u8>) -> u8 { a.expect(\"c\") }", "cannot panic us"),
        ("http/mod.rs", "const A: u8 = 1;\na.unwrap();", "src/http/mod.rs:2:"),
        ("listing.rs", "todo!()", "works"),
        ("fs/mod.rs", "use crate::{content, http};", "one arrow"),
        ("attic/mod.rs", "", "no line in ARROWS"),
        ("fs/mod.rs", "let c = '\"'; b.unwrap(); let d = '\"';", "cannot panic us"),
        ("fs/mod.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nfn f() { b.unwrap() }", "src/fs/mod.rs:3:"),
        ("fs/mod.rs", "/* a\n */ let r = r#\"x\"#;\nb.unwrap();", "src/fs/mod.rs:3:"),
    ] {
        let found = offences(path, source);
        assert!(found.iter().any(|line| line.contains(want)), "{path}: {source}: {found:?}");
    }
    for (path, source) in [
        ("fs/mod.rs", "// fuser would be wrong here: libc::EIO"),
        ("fs/mod.rs", "/* reqwest */ let a = \"clap \\\" serde\"; let b = r#\"fuser\" \"#;"),
        ("fs/mod.rs", "#[cfg(test)]\nmod tests {\n    fn f() { if a { b.unwrap() } }\n}\n"),
        ("fs/mod.rs", "let path = fusermount(); let inode = Inode::new(); let a = b.unwrap_or(c);"),
        ("kernel/adapter.rs", "reply.error(Errno::ENOSYS)"),
        ("http/mod.rs", "pub const A: NonZeroUsize =\n    NonZeroUsize::new(1).expect(\"not zero\");"),
        ("policy/retry.rs", "fn known(a: u64) {} fn f<'a>(b: &'a str) {}"),
        ("content/reader.rs", "use crate::remote::NodeId;"),
        ("mount/stack.rs", "use crate::koodrive::OpenError;"),
    ] {
        assert_eq!(offences(path, source), [""; 0], "{source}");
    }
}
