//! No file of `src/` needs another that needs it, straight or by way of others: within a room and between rooms.
//!
//! An arrow is a name that a file takes from another: `use`, or a path in the code. A name that a `mod.rs` only hands on leads to the
//! file that has it. Declaring a module is no arrow. Comments, texts and `#[cfg(test)]` modules are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::{below_the_crate, code_of, sources};

/// Files by the path of their module, `fs::dir::cache`; the crate's own is the empty path.
struct House {
    files: BTreeMap<Vec<String>, String>,
    codes: BTreeMap<String, String>,
    /// What a module hands on: module, name, the path that it has it from.
    handed_on: BTreeMap<(Vec<String>, String), Vec<String>>,
}

impl House {
    fn new(sources: &[(String, String)]) -> House {
        let mut house = House { files: BTreeMap::new(), codes: BTreeMap::new(), handed_on: BTreeMap::new() };
        for (file, source) in sources.iter().filter(|(file, _)| file != "main.rs") {
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("lib");
            let module: Vec<String> = module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            house.files.insert(module, file.clone());
            house.codes.insert(file.clone(), code_of(source));
        }
        for (module, file) in &house.files {
            for (path, is_public) in uses(&house.codes[file]) {
                if is_public && let Some((name, from)) = path.split_last() {
                    house.handed_on.insert((module.clone(), name.clone()), from.to_vec());
                }
            }
        }
        house
    }

    /// The file that `path`, as written in `module`, leads to; `None` outside of the crate.
    fn target(&self, module: &[String], path: &[String]) -> Option<String> {
        let mut at = module.to_vec();
        let mut rest = path;
        let is_submodule = |at: &[String], name: &str| self.files.contains_key(&[at, &[name.to_owned()]].concat());
        match rest.first().map(String::as_str) {
            Some("crate" | "koofs") => {
                at.clear();
                rest = &rest[1..];
            }
            Some("super" | "self") => {
                while let Some(word @ ("super" | "self")) = rest.first().map(String::as_str) {
                    if word == "super" {
                        at.pop();
                    }
                    rest = &rest[1..];
                }
            }
            Some(name) if is_submodule(&at, name) => {}
            _ => return None,
        }
        while let Some((name, after)) = rest.split_first() {
            if is_submodule(&at, name) {
                at.push(name.clone());
                rest = after;
            } else if let Some(from) = self.handed_on.get(&(at.clone(), name.clone())) {
                let path = [from.as_slice(), std::slice::from_ref(name)].concat();
                return self.target(&at, &path).or_else(|| self.files.get(&at).cloned());
            } else {
                break;
            }
        }
        self.files.get(&at).cloned()
    }

    /// Which file takes names from which.
    fn arrows(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, file) in &self.files {
            let to = arrows.entry(file.clone()).or_default();
            let code = &self.codes[file];
            for path in uses(code).into_iter().map(|(path, _)| path).chain(inline_paths(code)) {
                to.extend(self.target(module, &path).filter(|target| target != file));
            }
        }
        arrows
    }

    /// The shortest circles, each once: every file of one, in the order of its arrows.
    fn circles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let mut found = BTreeMap::new();
        for start in arrows.keys() {
            let mut seen: BTreeMap<&String, &String> = BTreeMap::new();
            let mut next = vec![start];
            while !next.is_empty() && !seen.contains_key(start) {
                let mut after = Vec::new();
                for file in next {
                    for target in &arrows[file] {
                        if !seen.contains_key(target) {
                            seen.insert(target, file);
                            after.push(target);
                        }
                    }
                }
                next = after;
            }
            if seen.contains_key(start) {
                let mut way = vec![start.as_str()];
                let mut at = seen[start];
                while at != start {
                    way.push(at.as_str());
                    at = seen[at];
                }
                way.reverse();
                let members: BTreeSet<String> = way.iter().map(|file| (*file).to_owned()).collect();
                found.entry(members).or_insert_with(|| way.join(" -> "));
            }
        }
        found.into_values().collect()
    }
}

/// The paths of all `use` declarations, and whether they hand the name on.
fn uses(code: &str) -> Vec<(Vec<String>, bool)> {
    let mut found = Vec::new();
    for statement in code.split([';', '}']).flat_map(|part| part.split("{\n")) {
        let statement = statement.trim();
        let is_public =
            statement.starts_with("pub use ") || statement.starts_with("pub(") && statement.contains(") use ");
        if let Some(at) = statement.find("use ").filter(|at| *at == 0 || is_public) {
            // The statement was cut at its braces, if it has any: found again in the whole.
            let start = code.find(statement).unwrap_or(0) + at + 4;
            let end = code[start..].find(';').map_or(code.len(), |end| start + end);
            found.extend(expand(&code[start..end]).into_iter().map(|path| (path, is_public)));
        }
    }
    found
}

/// `a::{b, c::d as e}` to `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()];
    };
    let before: Vec<String> =
        tree[..open].split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|path| [before.clone(), path].concat()).collect()
}

/// Paths such as `super::store_busy` or `attr::Owner` in the code.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_path(c));
    // A visibility, as in `pub(in crate::fs)`, takes no name.
    let paths = words.clone().zip(words.skip(1)).filter(|(before, _)| *before != "in").map(|(_, word)| word);
    // One that ends so is the beginning of a group in a `use`.
    let paths = paths.filter(|word| word.contains("::") && !word.starts_with(':') && !word.ends_with(':'));
    paths.map(|path| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let circles = House::new(&sources(&below_the_crate("src"))).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn planted_circles_are_found() {
    let house = |files: &[(&str, &str)]| {
        let sources: Vec<(String, String)> = files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        House::new(&sources).circles()
    };
    // A name that is only handed on is no arrow to who hands it on.
    let handed_on = [
        ("a/mod.rs", "mod b;\nmod c;\npub use c::{C, D as E};\nuse b::B;"),
        ("a/b.rs", "use super::C;\nfn b() {}"),
        ("a/c.rs", "pub struct C;"),
    ];
    assert_eq!(house(&handed_on), [""; 0]);
    let own = [("a/mod.rs", "mod b;\nuse b::B;\npub struct A;"), ("a/b.rs", "use super::A;")];
    assert_eq!(house(&own), ["a/mod.rs -> a/b.rs"]);
    let inline = [("a.rs", "fn f() { crate::b::f() }"), ("b.rs", "use crate::{\n    a::f,\n};")];
    assert_eq!(house(&inline), ["b.rs -> a.rs"]);
    let rooms = [
        ("a/x.rs", "use crate::b::Y;"),
        ("a/z.rs", "fn z() {}"),
        ("b/mod.rs", "mod y;\npub use y::Y;"),
        ("b/y.rs", "use crate::a::z;"),
    ];
    assert_eq!(house(&rooms), [""; 0]);
}
