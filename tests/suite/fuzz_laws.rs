//! The fuzz targets of tests/fuzz over their seeds and what comes of changing them: what `scripts/fuzz` does for long, for a moment.
//! Those of private parsers are tried beside them (`fuzzed.rs` in their rooms).

#[path = "../fuzz/inputs.rs"]
mod inputs;
#[path = "../fuzz/targets.rs"]
mod targets;

use inputs::try_inputs;

#[test]
fn life_of_a_link_is_bounded_whatever_it_says() {
    try_inputs("link_expiry", targets::link_expiry);
}

#[test]
fn name_is_one_that_linux_can_hold_whatever_the_service_calls_it() {
    try_inputs("name", targets::name);
}

#[test]
fn answer_to_a_range_is_used_only_if_it_is_that_range() {
    try_inputs("range", targets::range);
}

#[test]
fn size_is_believed_only_as_content_range_says_it() {
    try_inputs("content_range", targets::content_range);
}

#[test]
fn dates_and_pauses_are_read_without_panic() {
    try_inputs("headers", targets::headers);
}

/// A target that is in no law, has no seeds or is not run by `scripts/fuzz` is none.
#[test]
fn every_target_has_a_binary_and_seeds() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names = |folder: &str| -> Vec<String> {
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let binaries = names("fuzz_targets");
    assert_eq!(binaries, names("seeds"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for binary in &binaries {
        assert!(manifest.contains(&format!("fuzz_targets/{binary}.rs")), "{binary} is not in the manifest");
    }
}
