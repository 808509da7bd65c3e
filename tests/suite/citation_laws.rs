//! What a comment or a page sends its reader to is in the repository: documents, and the sections of those that have numbers.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The documents whose sections are cited by number.
const NUMBERED: [&str; 2] = ["src/koodrive/API.md", "src/kernel/LINUX.md"];

/// Where texts are that cite.
const PLACES: [&str; 5] = ["src", "tests", "scripts", "README.md", "Cargo.toml"];

/// What a script writes where it is told to.
const WRITTEN: [&str; 1] = ["run.md"];

fn below_the_crate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every text below `path`: its path from the crate's root, and what it says.
fn texts(path: &Path, found: &mut Vec<(PathBuf, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            texts(&entry.unwrap().path(), found);
        }
    } else if let Ok(text) = fs::read_to_string(path) {
        found.push((path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned(), text));
    }
}

fn all_texts() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    PLACES.iter().for_each(|place| texts(&below_the_crate(place), &mut found));
    found
}

/// The names of documents in `text`, each with what follows it. Web addresses are no names of ours.
fn documents(text: &str) -> Vec<(&str, &str)> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let ends = text.match_indices(".md").map(|(at, ending)| at + ending.len());
    let named = ends.filter(|end| !text[*end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    let names = named.map(|end| {
        let start = text[..end].rfind(|c: char| !is_of_a_name(c)).map_or(0, |at| at + 1);
        let start = (start..=end).find(|at| text.is_char_boundary(*at)).unwrap_or(end);
        (&text[start..end], &text[end..])
    });
    names.filter(|(name, _)| !name.contains("://") && name.len() > ".md".len()).collect()
}

/// The document that a text at `path` means by `name`: beside it, or from the root.
fn meant(path: &Path, name: &str) -> Option<PathBuf> {
    let beside = path.parent().unwrap_or(Path::new("")).join(name);
    [beside, PathBuf::from(name)].into_iter().find(|candidate| below_the_crate(candidate.to_str().unwrap()).is_file())
}

/// The numbers of a document's sections: of its headings, and of the points below each.
fn sections(document: &Path) -> HashSet<String> {
    let (mut found, mut current) = (HashSet::new(), String::new());
    for line in fs::read_to_string(document).unwrap().lines() {
        let heading = line.trim_start_matches('#');
        let number = heading.trim_start().split(' ').next().unwrap_or_default().trim_end_matches('.');
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if heading.len() < line.len() {
            current = number.to_owned();
            found.insert(current.clone());
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            found.insert(format!("{current}.{number}"));
        }
    }
    found
}

/// The numbers cited right behind a document's name: `, section 5.4`, `, sections 4.1 and 14`, `, 1.3`.
fn cited(behind: &str) -> Vec<String> {
    let words = behind.replace("\n", " ").replace("///", " ").replace("//!", " ").replace("//", " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(list) = words.strip_prefix(", ") else { return vec![] };
    let list = list.trim_start_matches("sections ").trim_start_matches("section ");
    let mut numbers = Vec::new();
    for word in list.split(' ') {
        let number = word.trim_end_matches([',', ')', '.', ';', ':', '*']);
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        match (is_number, word) {
            (true, _) => numbers.push(number.to_owned()),
            (false, "and") => continue,
            (false, _) => break,
        }
        if !word.ends_with(',') && number.len() < word.len() {
            break;
        }
    }
    numbers
}

#[test]
fn documents_that_are_cited_are_in_the_repository() {
    let missing: Vec<String> = all_texts()
        .iter()
        .flat_map(|(path, text)| documents(text).into_iter().map(move |(name, _)| (path, name)))
        .filter(|(path, name)| !path.ends_with("citation_laws.rs") && !WRITTEN.contains(name))
        .filter(|(path, name)| meant(path, name).is_none())
        .map(|(path, name)| format!("{}: there is no {name}", path.display()))
        .collect();
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn sections_that_are_cited_are_in_their_documents() {
    let mut checked = 0;
    let numbered: Vec<(PathBuf, HashSet<String>)> =
        NUMBERED.iter().map(|name| (PathBuf::from(name), sections(&below_the_crate(name)))).collect();
    for (path, text) in all_texts() {
        for (name, behind) in documents(&text) {
            let document = meant(&path, name);
            let Some((_, sections)) = numbered.iter().find(|(known, _)| Some(known) == document.as_ref()) else {
                continue;
            };
            for number in cited(behind) {
                assert!(sections.contains(&number), "{}: {name} has no section {number}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "{checked} citations");
    // The short form of the room that the document belongs to.
    let api = &numbered[0].1;
    for (path, text) in all_texts().iter().filter(|(path, _)| path.starts_with("src/koodrive")) {
        for comment in text.lines().filter_map(|line| line.trim_start().strip_prefix("///")) {
            let inside = comment.split('(').skip(1).filter_map(|rest| rest.split([')', ',', ';', ':']).next());
            let is_number = |text: &&str| text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.');
            for number in inside.filter(is_number) {
                assert!(api.contains(number), "{}: API.md has no section {number}", path.display());
            }
        }
    }
}

#[test]
fn planted_citations_are_found() {
    let text = "//! see koodrive/API.md, sections 4.1 and 14), `a/b.md`; https://h/x.md, not.mdx (LINUX.md, 1.3).";
    let found = documents(text);
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["koodrive/API.md", "a/b.md", "LINUX.md"]);
    assert_eq!(cited(found[0].1), ["4.1", "14"]);
    assert_eq!(cited(found[1].1), [""; 0]);
    assert_eq!(cited(found[2].1), ["1.3"]);
    assert_eq!(cited(", section 12,\n/// row 9)"), ["12"]);
}
