//! README and promises tell people nothing that is not so: their tests exist, its configuration files pass the check, and its options
//! are those of the command.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::mount_bench::run;
use crate::mounted::koofs;

pub(crate) fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The promises, each with its test.
fn promises() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/PROMISES.md")).unwrap()
}

/// The fenced blocks of a language.
pub(crate) fn fenced<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let open = format!("```{language}\n");
    let blocks: Vec<&str> =
        text.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    blocks.into_iter()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether `text` has the form of a test's name: `file::law`, or `room/file::law`.
fn is_law(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    text.split_once("::").is_some_and(|(file, law)| file.split('/').all(is_word) && is_word(law))
}

/// Whether the file below this repository has a test of this name.
fn has_test(path: &str, law: &str) -> bool {
    let Ok(source) = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)) else { return false };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.windows(2).any(|two| two[0] == "#[test]" && two[1].starts_with(&format!("fn {law}()")))
}

#[test]
fn every_test_that_the_readme_or_a_promise_names_exists() {
    let readme = readme() + &promises();
    // Code blocks are fenced by three backquotes, which is an odd number.
    let named: BTreeSet<&str> = readme.lines().flat_map(quoted).filter(|text| is_law(text)).collect();
    assert!(named.len() > 60, "{named:?}");
    for name in named {
        let (file, law) = name.split_once("::").unwrap();
        let places = [format!("tests/suite/{file}.rs"), format!("src/{file}.rs")];
        assert!(places.iter().any(|path| has_test(path, law)), "{name} is no test");
    }
}

#[test]
fn every_promise_names_a_test_in_its_row() {
    let tables = promises();
    let rows = tables.lines().filter(|line| line.starts_with("| ") && *line != "| Promise | Test |");
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len() > 100, "{} promises", rows.len());
    let bare: Vec<&str> = rows.into_iter().filter(|row| !quoted(row).any(is_law)).collect();
    assert_eq!(bare, Vec::<&str>::new());
}

#[test]
fn configuration_files_of_the_readme_pass_the_check() {
    let readme = readme();
    let files: Vec<&str> = fenced(&readme, "toml").collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let home = tempfile::tempdir().unwrap();
        for (name, content, mode) in
            [("config.toml", file, 0o644), ("work.password", "s3cret", 0o600), (".photos", "a1B2c3D4", 0o600)]
        {
            let path = home.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = home.path().join("config.toml");
        let mut check = koofs(&["config", "check", "--config", path.to_str().unwrap()]);
        check.env("HOME", home.path());
        run(check).well();
    }
}

#[test]
fn every_option_of_a_mount_stands_in_the_readme() {
    let readme = readme();
    let help = run(koofs(&["mount", "--help"])).well();
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let options: BTreeSet<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    assert!(options.len() > 8, "{options:?}");
    for option in options.iter().filter(|option| **option != "--help") {
        assert!(
            quoted(&readme).any(|text| text.split([' ', ',']).any(|word| word == *option)),
            "{option} is not in the README"
        );
    }
}
