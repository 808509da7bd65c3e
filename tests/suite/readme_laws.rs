//! The README tells people nothing that is not so: its tests exist, and its options are those of the command.

use std::collections::BTreeSet;
use std::path::Path;

use crate::mount_bench::run;
use crate::mounted::koofs;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = readme();
    // Code blocks are fenced by three backquotes, which is an odd number.
    let named: BTreeSet<&str> = readme.lines().flat_map(quoted).filter(|text| text.contains("_laws::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let (file, law) = name.split_once("::").unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/suite/{file}.rs"));
        let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(source.contains(&format!("#[test]\nfn {law}()")), "{name} is no test");
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
